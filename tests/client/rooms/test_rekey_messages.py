"""What is said while a rekey waits: kept by the others, and said again if it comes to nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.events import Inconsistency
from clave_client.rooms import rekeys
from clave_client.values import Phase
from client.memory_relay import (
    Member,
    agree,
    confirm,
    deliver,
    feed,
    in_one_room,
    kinds,
    lies,
    rekey,
    resume,
    say,
    settle,
)


def test_messages_in_an_unconfirmed_epoch_are_read_once_it_is_confirmed(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    deliver(log, red, blue, green)
    for text in ("one", "two"):
        say(log, red, text)
    from_red, from_blue, from_green = deliver(log, red, blue, green)
    assert kinds(from_red) == ["Sent", "Sent"]
    assert (kinds(from_blue), kinds(from_green)) == ([], [])
    assert lies(from_blue, from_green) == []
    assert blue.texts() == []
    confirm(log, blue)
    from_red, from_blue, _ = deliver(log, red, blue, green)
    assert kinds(from_blue) == ["MemberRemoved", "Message", "Message"]
    assert kinds(from_red) == ["MemberRemoved"], "nothing is told twice"
    assert red.texts() == blue.texts() == ["one", "two"]
    assert [line.seq for line in red.store.history(red.room.id)] == [
        line.seq for line in blue.store.history(blue.room.id)
    ]
    assert green.texts() == [], "whoever is removed never reads it"
    assert not red.room.outbox
    say(log, red, "three")
    say(log, blue, "four")
    deliver(log, red, blue)
    assert red.texts() == blue.texts() == ["one", "two", "three", "four"]


def test_messages_of_a_dropped_rekey_are_sent_again_once_in_order(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    deliver(log, red, blue, green)
    ids = [red.says(text) for text in ("one", "two")]
    for submit in red.room.prepare_messages():
        log.append(red, submit)
    deliver(log, red, blue)
    ids.append(red.says("three"))
    first = [item.payload for item in red.store.outbox(red.room.id, -1)]
    log.append(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, red, blue, green)
    items = red.store.outbox(red.room.id, -1)
    assert [item.id for item in items] == ids
    assert [(item.payload, item.placed) for item in items] == [(None, None)] * 3
    red.room.drop_intent()
    submits = red.room.prepare_messages()
    assert not {submit.payload for submit in submits} & set(first)
    for submit in submits:
        log.append(red, submit)
    from_red, from_blue, from_green = deliver(log, red, blue, green)
    assert lies(from_red, from_blue, from_green) == []
    assert [event.id for event in from_blue.events if isinstance(event, events.Message)] == ids
    assert red.texts() == blue.texts() == green.texts() == ["one", "two", "three"]
    assert not red.room.outbox


def test_messages_of_a_replaced_rekey_are_sent_again_once(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    deliver(log, red, blue, green)
    say(log, red, "one")
    red.says("in flight beside the next")
    (in_flight,) = red.room.prepare_messages()
    second = red.room.prepare_commit(())
    log.append(red, in_flight)
    log.append(red, second)
    deliver(log, red, blue, green)
    told = settle(log, red, blue, green)
    agree(red, blue)
    assert red.texts() == blue.texts() == ["one", "in flight beside the next"]
    assert [lies(*one) for one in told] == [[], [], []]
    assert green.room.record.phase is Phase.CLOSED


def test_messages_are_buffered_only_of_the_account_whose_rekey_waits(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red)
    deliver(log, red, blue, green)
    assert red.room.commits.successor is not None
    entry = say(log, red, "ahead")
    under_another_name = msgspec.structs.replace(entry, sender=blue.device)
    outcome = feed(green, [under_another_name])
    assert lies(outcome) == [Inconsistency.AHEAD]
    assert len(green.store.waiting(green.room.id)) == 1


@pytest.mark.parametrize(
    ("texts", "least", "most"),
    [
        ([str(number) for number in range(300)], 200, 256),
        ([f"{number} " + 65_000 * "x" for number in range(70)], 22, 61),
    ],
    ids=["number", "size"],
)
def test_no_more_is_sent_unconfirmed_than_others_buffer(
    tmp_path: Path, texts: list[str], least: int, most: int
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    rekey(log, red)
    deliver(log, red, blue)
    for text in texts:
        red.says(text)
    while submits := red.room.prepare_messages():  # as a full window goes, answers come one by one
        for submit in submits:
            log.append(red, submit)
            assert lies(*deliver(log, red)) == []
    assert least <= len(red.texts()) <= most
    deliver(log, blue)
    assert blue.texts() == []
    assert red.room.outbox, "the rest waits"
    settle(log, red, blue)
    assert blue.texts() == red.texts() == texts
    assert not red.room.outbox


@pytest.mark.parametrize(("bound", "value"), [("MOST_BUFFERED", 3), ("MOST_BUFFERED_BYTES", 1500)])
def test_messages_beyond_the_buffer_are_refused_by_everyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(rekeys, bound, value)
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red)
    deliver(log, red, blue, green)
    for number in range(5):
        say(log, red, str(number))
        deliver(log, red)
    deliver(log, blue, green)
    green.restarts()
    resume(green, log)
    confirm(log, blue)
    deliver(log, blue, green)
    assert blue.texts() == green.texts() == ["0", "1", "2"]


def test_the_buffer_is_per_device(tmp_path: Path) -> None:
    log, (red, desk, blue) = in_one_room(tmp_path, "red", "red/desk", "blue")
    for device in (red, desk):  # the second one is what can be confirmed
        rekey(log, device)
        deliver(log, red, desk, blue)
    texts = [str(number) for number in range(150)]
    for device in (red, desk):
        for text in texts:
            device.says(f"{device.name} {text}")
        while submits := device.room.prepare_messages():
            for submit in submits:
                log.append(device, submit)
            deliver(log, red, desk)
    deliver(log, blue)
    settle(log, blue, red, desk)
    agree(red, desk, blue)
    assert sorted(blue.texts()) == sorted(f"{name} {text}" for name in ("red", "desk") for text in texts)


def test_answers_to_a_full_window_are_all_handled(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    rekey(log, red)
    deliver(log, red, blue)
    for number in range(199):
        red.says(str(number))
    while submits := red.room.prepare_messages():
        for submit in submits:
            log.append(red, submit)
        deliver(log, red)
    for number in range(199, 240):
        red.says(str(number))
    window = red.room.prepare_messages()
    assert len(window) == 32
    for submit in window:
        log.append(red, submit)
    outcome = deliver(log, red)[0]
    assert lies(outcome) == [], "its own posts are its own"
    assert kinds(outcome) == ["Sent"] * 32
    settle(log, red, blue)
    assert blue.texts() == [str(number) for number in range(240)]
