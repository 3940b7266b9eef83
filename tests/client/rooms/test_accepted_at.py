"""When the relay says that it accepted an entry: known while the entry is handled, and never believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from clave_client.errors import RelayFault
from clave_client.rooms.log_reader import LogMessage, LogReader
from clave_wire.messages import AcceptedAt, Entry
from client.memory_relay import (
    Log,
    Member,
    confirm,
    deliver,
    feed,
    in_one_room,
    kinds,
    rekey,
    say,
)
from client.rooms.test_batch_verification import badly_signed

NOON = 1_800_000_000_000
WILD = (2**53 - 1, 0, 5, NOON, 1, 2**52, NOON - 1)


@pytest.fixture(autouse=True)
def handled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Note (device's name, seq, time) of each entry that is handled."""
    noted: list[tuple[str, int, int]] = []
    handle = LogReader._handle_entry

    def noting(reader: LogReader, entry: Entry) -> None:
        noted.append((reader._room.roster.own_device.hex(), entry.seq, reader.log.accepted_at))
        handle(reader, entry)

    monkeypatch.setattr(LogReader, "_handle_entry", noting)
    return noted


def times(handled: Sequence[tuple[str, int, int]], member: Member) -> list[tuple[int, int]]:
    return [(seq, at) for device, seq, at in handled if device == member.device.hex()]


def at(member: Member, time: int) -> AcceptedAt:
    return AcceptedAt(member.room.id, time)


def with_times(log: Log, member: Member, wild: Iterator[int]) -> list[LogMessage]:
    """Return what the relay sends a member, with a time before each."""
    return [each for message in log.since(member) for each in (at(member, next(wild)), message)]


def test_each_entry_is_handled_with_its_time(tmp_path: Path, handled: list[tuple[str, int, int]]) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entries = [say(log, red, str(number)) for number in range(5)]
    first = entries[0].seq
    handled.clear()
    feed(blue, entries[:1])
    feed(blue, [at(blue, NOON), *entries[1:3], at(blue, NOON + 5), entries[3]])
    feed(blue, [entries[4]])
    expected = [0, NOON, NOON, NOON + 5, NOON + 5]
    assert times(handled, blue) == list(enumerate(expected, first))


def test_an_acknowledgement_is_handled_with_its_time(
    tmp_path: Path, handled: list[tuple[str, int, int]]
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    mine, others = say(log, red, "mine"), say(log, blue, "others")
    handled.clear()
    own, other = log.since(red)
    assert not isinstance(own, Entry)
    assert kinds(feed(red, [at(red, NOON), own, at(red, NOON + 1), other])) == ["Sent", "Message"]
    assert times(handled, red) == [(mine.seq, NOON), (others.seq, NOON + 1)]


def test_a_batch_that_is_read_twice_begins_with_the_same_time(
    tmp_path: Path, handled: list[tuple[str, int, int]]
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entries = [say(log, red, "good"), badly_signed(log, red, "bad"), say(log, red, "good too")]
    feed(blue, [at(blue, NOON)])
    handled.clear()
    feed(blue, [*entries[:2], at(blue, NOON + 1), entries[2]])
    once = list(zip((entry.seq for entry in entries), (NOON, NOON, NOON + 1), strict=True))
    assert times(handled, blue) == once * 2
    assert blue.texts() == ["good", "good too"]


def test_a_batch_that_fails_leaves_the_time_as_it_was(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    feed(blue, [at(blue, NOON)])
    entries = [say(log, red, "left out"), say(log, red, "sent")]
    with pytest.raises(RelayFault):
        feed(blue, [at(blue, NOON + 1), entries[1]])
    assert blue.reader.log.accepted_at == NOON


def test_a_single_message_with_its_time_is_verified_at_once(
    tmp_path: Path, handled: list[tuple[str, int, int]]
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    bad = badly_signed(log, red, "bad")
    handled.clear()
    feed(blue, [at(blue, NOON), bad])
    assert times(handled, blue) == [(bad.seq, NOON)], "it was read once"


def test_what_waited_for_a_confirmation_has_no_time(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    deliver(log, red, blue, green)
    waiting = say(log, red, "in the epoch that is not confirmed")
    deliver(log, red)
    feed(blue, [at(blue, NOON), waiting])
    confirmed = confirm(log, blue)
    deliver(log, red)
    after = say(log, red, "after")
    feed(blue, [at(blue, NOON + 1), confirmed, after])
    assert [line.accepted_at for line in blue.store.history(blue.room.id)] == [0, NOON + 1]
