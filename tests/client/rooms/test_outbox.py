"""What waits to be sent, and what becomes of it when the relay refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.formats.composing import Composer
from clave_client.rooms.outbox import WINDOW, Outbox
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_wire.header import split_payload
from clave_wire.messages import Code, Kind, Rejected, Submit
from client.memory_relay import (
    Log,
    Member,
    agree,
    confirm,
    deliver,
    feed,
    in_one_room,
    lies,
    rekey,
    resume,
    say,
)

ROOM = b"r" * 16


def refuses(member: Member, submit: Submit, code: Code = Code.STALE) -> None:
    assert feed(member, [Rejected(member.room.id, submit.submission, code, "no")]).events == []


def take(log: Log, member: Member, submits: list[Submit]) -> None:
    for submit in submits:
        assert log.take(member, submit) is None


def test_logged_messages_wait_to_be_confirmed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", Secret(b"k" * 32))
    outbox = Outbox(store, ROOM)
    compose = Composer(ROOM, b"a" * 32)
    contents = [*(compose.text(str(number)) for number in range(3)), compose.joined()]
    for number, content in enumerate(contents):
        outbox.append(content, number)
    *ids, joined = [content.id for content in contents]
    assert [item.id for item in outbox.waiting()] == [*ids, joined]
    assert list(outbox.texts()) == ids, "only texts are named"
    assert outbox.ids() == {*ids, joined}
    for item in outbox.waiting()[:2]:
        outbox.store_ciphertext(item, item.id, b"h" * 32)
    one = outbox.find(ids[0])
    assert one is not None
    outbox.mark_logged(one, 7)
    assert outbox.find(ids[0]) is None
    assert list(outbox.texts()) == ids[1:]
    outbox.confirm(b"o" * 32)
    assert list(outbox.texts()) == ids, "in another epoch it is to be said anew"
    outbox.store_ciphertext(one, b"again", b"h" * 32)
    outbox.mark_logged(one, 9)
    outbox.confirm(b"h" * 32)
    assert list(outbox.texts()) == ids[1:]
    for item in outbox.waiting():
        outbox.drop(item)
    assert not outbox
    store.close()


def test_at_most_a_window_is_in_flight(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    texts = [str(number) for number in range(WINDOW + 5)]
    for text in texts:
        red.says(text)
    submits = red.room.prepare_messages()
    assert len(submits) == WINDOW
    assert [submit.submission for submit in submits] == list(range(2, WINDOW + 2))
    assert red.room.prepare_messages() == []
    take(log, red, submits)
    deliver(log, red)
    take(log, red, red.room.prepare_messages())
    deliver(log, red, blue)
    assert blue.texts() == texts


def test_stale_messages_of_the_same_epoch_are_resubmitted_unchanged(tmp_path: Path) -> None:
    log, (red, _, green) = in_one_room(tmp_path, "red", "blue", "green")
    for text in ("one", "two", "three"):
        red.says(text)
    first = red.room.prepare_messages()
    rekey(log, green)  # which is no new epoch yet
    for submit, code in zip(first, (Code.STALE, Code.OUT_OF_ORDER, Code.OUT_OF_ORDER), strict=True):
        assert red.room.prepare_messages() == []
        refuses(red, submit, code)
    ratchets = red.room.group.state().ratchets
    second = red.room.prepare_messages()
    assert [submit.payload for submit in second] == [submit.payload for submit in first]
    assert [submit.submission for submit in second] == [submit.submission for submit in first]
    assert red.room.group.state().ratchets == ratchets
    assert second[0].read == first[0].read, "it has not read the other entry yet"


def test_stale_messages_of_another_epoch_are_encrypted_again_with_their_id(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    ids = [red.says(text) for text in ("one", "two")]
    first = red.room.prepare_messages()
    log.append(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, blue)
    feed(red, log.since(red))
    assert red.room.prepare_messages() == [], "not before the relay has answered"
    for submit, code in zip(first, (Code.STALE, Code.OUT_OF_ORDER), strict=True):
        refuses(red, submit, code)
    second = red.room.prepare_messages()
    headers = [split_payload(submit.payload)[0] for submit in second]
    assert {header.head for header in headers} == {red.room.head}
    assert [header.count for header in headers] == [3, 4]
    take(log, red, second)
    from_red, from_blue = deliver(log, red, blue)
    assert lies(from_red, from_blue) == []
    assert [event.id for event in from_red.events if isinstance(event, events.Sent)] == ids
    assert [event.id for event in from_blue.events if isinstance(event, events.Message)] == ids
    assert red.texts() == blue.texts() == ["one", "two"]


def test_messages_after_one_encrypted_again_are_encrypted_again_too(tmp_path: Path) -> None:
    """Or its count would be lower than that of what now goes before it."""
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for text in ("one", "two"):
        red.says(text)
    one, two = red.room.prepare_messages()
    refuses(red, one)
    refuses(red, two, Code.OUT_OF_ORDER)
    first, _ = red.room.outbox.waiting()
    red.store.put_ciphertext(first.position, None, None)
    take(log, red, red.room.prepare_messages())
    outcome = deliver(log, blue)[0]
    assert lies(outcome) == []
    assert blue.texts() == ["one", "two"]


@pytest.mark.parametrize("codes", [(Code.STALE, Code.OUT_OF_ORDER), (Code.STORAGE, Code.OUT_OF_ORDER)])
def test_nothing_is_submitted_while_refusals_are_drained(tmp_path: Path, codes: tuple[Code, Code]) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    red.says("two")
    one, two = red.room.prepare_messages()
    refuses(red, one, codes[0])
    assert red.room.draining
    is_open = red.room.is_open
    assert not is_open
    assert not red.room.may_commit
    assert red.room.prepare_messages() == []
    red.room.start_leaving()
    assert not red.room.leave_due
    red.room.set(phase=blue.room.record.phase)
    refuses(red, two, codes[1])
    assert red.room.is_open
    assert [submit.submission for submit in red.room.prepare_messages()] == [2, 3]
    assert log.last(red) == 1


def test_refusals_do_not_change_the_order(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    texts = [str(number) for number in range(12)]
    for text in texts:
        red.says(text)
    for round_of in range(4):
        submits = red.room.prepare_messages()
        if round_of == 1:
            rekey(log, blue)
        if round_of == 2:
            deliver(log, green)
            confirm(log, green)
        answers = [log.take(red, submit) for submit in submits[:3]]
        log_answers = [answer for answer in answers if answer is not None]
        later = [Rejected(red.room.id, s.submission, Code.OUT_OF_ORDER, "") for s in submits[3:]]
        outcome = feed(red, [*log.since(red), *log_answers, *later])
        assert lies(outcome) == []
        if red.room.confirmable is not None:
            assert red.room.prepare_messages() == []
    while submits := red.room.prepare_messages():
        take(log, red, submits)
        deliver(log, red)
    for outcome in deliver(log, blue, green):
        assert lies(outcome) == []
    agree(red, blue, green)
    assert red.texts() == blue.texts() == green.texts() == texts


def test_a_thousand_refusals_use_up_no_keys(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("at last")
    (first,) = red.room.prepare_messages()
    before = red.room.group.state().ratchets
    for _ in range(1000):
        refuses(red, Submit(ROOM, first.submission, 0, Kind.APPLICATION, b""))
        (submit,) = red.room.prepare_messages()
        assert submit.payload == first.payload
    assert red.room.group.state().ratchets == before
    assert red.room.record.count == 1
    assert log.take(red, submit) is None
    deliver(log, red, blue)
    say(log, red, "and the next")
    deliver(log, red, blue)
    assert blue.texts() == ["at last", "and the next"]


def test_refusals_across_a_restart_use_up_no_keys(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    red.says("two")
    sent = red.room.prepare_messages()
    for _ in range(5):
        red.restarts()
        resume(red, log)
        assert red.room.prepare_messages() == sent, "nothing is encrypted twice"
        assert red.room.prepare_messages() == []
    take(log, red, sent)
    deliver(log, red, blue)
    assert not red.room.outbox
    assert blue.texts() == ["one", "two"]


def test_messages_accepted_before_a_disconnect_are_not_sent_again(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    red.says("two")
    one, _ = red.room.prepare_messages()
    take(log, red, [one])
    resume(red, log)
    assert red.room.prepare_messages() == [], "it reads first"
    deliver(log, red)
    (two,) = red.room.prepare_messages()
    assert two.submission == 3
    take(log, red, [two])
    assert lies(*deliver(log, red, blue)) == []
    assert blue.texts() == red.texts() == ["one", "two"]


@pytest.mark.parametrize("code", [Code.PACE, Code.STORAGE])
def test_a_relay_that_asks_for_a_pause_gets_one(tmp_path: Path, code: Code) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    (submit,) = red.room.prepare_messages()
    outcome = feed(red, [Rejected(red.room.id, submit.submission, code, "later")])
    assert outcome.pause
    assert outcome.events == []
    assert red.room.outbox
