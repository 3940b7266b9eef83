"""The chain over the log: every lie shows at the next message of whoever saw otherwise, and none else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.events import Inconsistency
from clave_client.formats.payload import header_digest
from clave_client.rooms import log_chain as chain_module
from clave_client.rooms.log_chain import LogChain
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_wire.header import Header, Seen, pack_header
from clave_wire.messages import Entry, Kind, Rejected
from client.memory_relay import (
    Forged,
    Log,
    Member,
    agree,
    brings_in,
    confirm,
    deliver,
    feed,
    in_one_room,
    join,
    lies,
    rekey,
    resume,
    say,
)

ROOM = b"r" * 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db", Secret(b"k" * 32))
    yield store
    store.close()


def entry(seq: int, **fields: object) -> Entry:
    return msgspec.structs.replace(Entry(ROOM, seq, b"d" * 32, 3, Kind.APPLICATION, 0, b"payload"), **fields)


# --- the chain itself ----------------------------------------------------------------------------------


def test_the_chain_is_computed_as_documented(store: Store) -> None:
    chain = LogChain(store, ROOM, 0)
    start = hashlib.sha256(b"clave 4 log chain" + ROOM).digest()
    assert chain.seen() == Seen(0, start)
    chain.extend(entry(1))
    numbers = (1).to_bytes(8, "big"), (3).to_bytes(8, "big")
    payload = hashlib.sha256(b"payload").digest()
    linked = b"clave 4 log chain" + start + numbers[0] + b"d" * 32 + numbers[1] + payload
    assert chain.seen() == Seen(1, hashlib.sha256(linked).digest())


@pytest.mark.parametrize("fields", [{"sender": b"e" * 32}, {"submission": 4}, {"payload": b"other"}])
def test_the_chain_covers_what_makes_an_entry(store: Store, fields: dict[str, object]) -> None:
    one, other = LogChain(store, ROOM, 0), LogChain(store, b"s" * 16, 0)
    one.begin(Seen(0, b"h" * 32))
    other.begin(Seen(0, b"h" * 32))
    one.extend(entry(1))
    other.extend(entry(1, **fields))
    assert one.seen() != other.seen()


def test_a_view_older_than_the_kept_hashes_is_not_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_module, "HASHES_KEPT", 50)
    chain = LogChain(store, ROOM, 0)
    for seq in range(1, 301):
        chain.extend(entry(seq))
        if seq % 30 == 0:
            chain.save()
    assert not chain.contradicts(Seen(100, b"x" * 32))
    assert chain.contradicts(Seen(299, b"x" * 32))
    assert not chain.contradicts(chain.seen())
    assert not chain.contradicts(Seen(301, b"x" * 32)), "what is not read yet cannot be compared"


def test_the_chain_is_truncated_and_loaded(store: Store) -> None:
    chain = LogChain(store, ROOM, 0)
    for seq in range(1, 6):
        chain.extend(entry(seq))
    chain.save()
    at_three = Seen(3, store.chain_hash(ROOM, 3) or b"")
    assert LogChain(store, ROOM, 5).seen() == chain.seen()
    chain.truncate(3)
    assert chain.seen() == at_three
    assert not chain.contradicts(Seen(4, b"x" * 32))
    chain.start_after(9)
    chain.save()
    assert LogChain(store, ROOM, 9).seen() == chain.seen()
    assert chain.seen().hash != LogChain(store, b"s" * 16, 9).seen().hash


# --- a relay that shows two logs -----------------------------------------------------------------------


class Forked(Log):
    """What a relay shows one member instead of the log."""

    def __init__(self, log: Log, upto: int) -> None:
        super().__init__()
        self.entries = log.entries[:upto]

    def shows(self, *entries: Entry) -> None:
        """Append entries, numbered as an honest relay would."""
        for one in entries:
            self.entries.append(msgspec.structs.replace(one, seq=len(self.entries) + 1))


CASES = ["omission", "repetition", "swap", "other bytes"]


def forked(log: Log, case: str, one: Entry, two: Entry) -> Forked:
    """Return what is shown instead of `one` and `two`, the last entries of the log."""
    other = Forked(log, len(log.entries) - 2)
    match case:
        case "omission":
            other.shows(two)
        case "repetition":
            other.shows(one, one, two)
        case "swap":
            other.shows(two, one)
        case _:
            garbage = msgspec.structs.replace(one, payload=one.payload[:-1] + bytes([one.payload[-1] ^ 1]))
            other.shows(garbage, two)
    return other


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("between", ["nothing", "a commit", "a rekey"])
@pytest.mark.parametrize("case", CASES)
def test_another_history_is_noticed_at_the_next_message(
    tmp_path: Path, case: str, between: str, restart: bool
) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    red.says("one")
    red.says("two")
    for submit in red.room.prepare_messages():
        log.append(red, submit)
    other = forked(log, case, *log.entries[-2:])
    deliver(log, red, blue)
    told = deliver(other, green)
    assert Inconsistency.HISTORY not in lies(*told)
    if between == "a commit":  # by who has not seen the messages, so that its own view says nothing
        other.shows(log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()])))
        told = deliver(other, green)
    if between == "a rekey":
        other.shows(rekey(log, red))
        deliver(log, blue)
        told = deliver(other, green)
        other.shows(confirm(log, blue))
        told += deliver(other, green)
    deliver(log, red, blue)
    agree(red, blue, green)
    if restart:
        green.restarts()
        resume(green, other)
        told = []
    say(log, blue, "hello green")
    other.shows(log.entries[-1])
    outcome = deliver(other, green)[0]
    assert "hello green" in green.texts(), "it is read all the same"
    found = lies(*told, outcome)
    assert (Inconsistency.IMPOSSIBLE if case == "omission" else Inconsistency.HISTORY) in found, (
        "of a log too short more was seen"
    )
    accused = [event.person for event in outcome.events if isinstance(event, events.Diverged)]
    assert between != "nothing" or [person and person.name for person in accused] == ["blue"]


@pytest.mark.parametrize("case", CASES)
def test_both_sides_notice(tmp_path: Path, case: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    red.says("one")
    red.says("two")
    for submit in red.room.prepare_messages():
        log.append(red, submit)
    other = forked(log, case, *log.entries[-2:])
    deliver(log, red, blue)
    deliver(other, green)
    green.says("what I make of it")
    (submit,) = green.room.prepare_messages()
    while len(log.entries) < len(other.entries):
        say(log, blue, "more")
    log.append(green, submit)
    assert Inconsistency.HISTORY in lies(*deliver(log, red))


def test_an_equal_view_is_not_reported(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    one = say(log, red, "for all")
    deliver(log, red, blue)
    feed(green, [msgspec.structs.replace(one, payload=b"something else")])
    assert lies(*deliver(log, red)) == []
    say(log, blue, "hello green")
    assert lies(*deliver(log, red)) == []
    assert lies(feed(green, [log.entries[-1]])) == [Inconsistency.HISTORY]
    say(log, blue, "again")
    assert lies(feed(green, [log.entries[-1]])) == [], "of each person it is told once"


def test_different_last_messages_before_a_commit_are_noticed(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    say(log, red, "one")
    deliver(log, red, blue)
    other = Forked(log, 1)
    commit = log.append(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    other.shows(commit)
    assert lies(*deliver(other, green)) == [Inconsistency.IMPOSSIBLE], (
        "its maker has seen more than there was"
    )
    deliver(log, red, blue)
    agree(red, blue, green)


def test_a_view_of_later_entries_is_reported(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    one = say(log, red, "one")
    deliver(log, red, blue)
    two = say(log, red, "two")
    other = Forked(log, 1)
    other.shows(two, one)
    assert lies(*deliver(other, green)) == [Inconsistency.IMPOSSIBLE, Inconsistency.ORDER]


def forged_message(member: Member, **fields: object) -> Forged:
    """Return a message that says something else of the log than it should."""
    header = member.header(Kind.APPLICATION, **fields)
    packed = pack_header(header)
    member.says("forged")
    (item,) = member.room.outbox.waiting()
    return Forged(
        Kind.APPLICATION,
        packed + member.villain().encrypt(item.data, authenticated_data=header_digest(packed)),
    )


@pytest.mark.parametrize(
    ("fields", "lie"),
    [
        ({"seen": Seen(2, b"x" * 32), "count": 1}, Inconsistency.IMPOSSIBLE),
        ({"seen": Seen(2**52, b"x" * 32), "count": 1}, Inconsistency.IMPOSSIBLE),
        ({"seen": Seen(1, b"x" * 32), "count": 1}, Inconsistency.HISTORY),
        ({"count": 0}, Inconsistency.ORDER),
    ],
)
def test_a_false_view_of_a_member_is_reported_and_changes_nothing(
    tmp_path: Path, fields: dict[str, object], lie: Inconsistency
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    log.append(red, forged_message(red, **fields))
    assert lies(*deliver(log, blue)) == [lie]
    assert blue.texts() == ["forged"], "what it says of the log decides alarms, never whether it counts"


def test_counts_are_per_sender(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, blue, red, blue):
        say(log, member, "hello")
        assert lies(*deliver(log, red, blue, green)) == []
    assert [green.store.last_count(ROOM, member.device) for member in (red, blue, green)] == [2, 2, 0]


def test_reordered_messages_are_reported_across_epochs_and_restarts(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for text in ("one", "two"):
        say(log, red, text)
        deliver(log, red, blue)
    brings_in(log, blue, Member(tmp_path, "white"))
    deliver(log, red)
    blue.restarts()
    resume(blue, log)
    log.append(red, forged_message(red, count=2))
    assert lies(*deliver(log, blue)) == [Inconsistency.ORDER]


# --- who joins -----------------------------------------------------------------------------------------


def welcomed(log: Log, host: Member, guest: Member, seq: int) -> list[Inconsistency]:
    """Have a guest come in by the last commit, as entry `seq` by the relay's word; return what it notices."""
    submit = host.room.prepare_commit([guest.add()])
    log.append(host, submit)
    deliver(log, host)
    guest.opens(join(guest, submit.welcome, seq))
    guest.room.accept()
    return lies(*resume(guest, log))


def test_a_new_member_starts_the_chain_from_its_inviters_view(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "before")
    deliver(log, red)
    guest = Member(tmp_path, "guest")
    say(log, blue, "on its way beside the commit")
    welcomed(log, red, guest, 4)
    deliver(log, guest, blue)
    agree(red, blue, guest)
    assert guest.room.chain.seen() == red.room.chain.seen() == blue.room.chain.seen()
    for member in (blue, guest, red):
        say(log, member, "hello")
        assert lies(*deliver(log, red, blue, guest)) == []
    assert guest.texts() == ["hello"] * 3


def test_a_wrong_join_position_does_not_hide_another_history(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    guest = Member(tmp_path, "guest")
    submit = red.room.prepare_commit([guest.add()])
    log.append(red, submit)
    deliver(log, red, blue)
    guest.opens(join(guest, submit.welcome, 10**9))
    guest.room.accept()
    assert lies(*resume(guest, log)) == [Inconsistency.PLACE]
    deliver(log, guest)
    hidden = [rekey(log, red)]
    deliver(log, red, blue)
    hidden.append(confirm(log, blue))
    deliver(log, red, blue)
    entry = say(log, blue, "in the next epoch")
    renumbered = msgspec.structs.replace(entry, seq=hidden[0].seq)
    assert lies(feed(guest, [renumbered])) == [Inconsistency.AHEAD]


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_a_wrong_join_position_is_reported(tmp_path: Path, shift: int) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for text in ("one", "two"):
        say(log, red, text)
        deliver(log, red, blue)
    guest = Member(tmp_path, "guest")
    true_place = len(log.entries) + 1
    told = welcomed(log, red, guest, true_place + shift)
    deliver(log, blue)
    for text in ("three", "four"):
        say(log, blue, text)
        deliver(log, blue)
    assert {Inconsistency.PLACE, Inconsistency.AHEAD} & {*told, *lies(*deliver(log, guest))}


def test_a_missing_join_commit_is_reported(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    guest = Member(tmp_path, "guest")
    welcomed(log, red, guest, 2)
    other = Forked(log, 1)
    deliver(log, blue)
    other.shows(say(log, blue, "hello"))
    assert Inconsistency.PLACE in lies(*deliver(other, guest))


@pytest.mark.parametrize("case", CASES)
def test_a_new_member_notices_another_history_before_its_join(tmp_path: Path, case: str) -> None:
    """Its inviter tells it the chain before it came, so what others see of that is compared."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    red.says("one")
    red.says("two")
    for submit in red.room.prepare_messages():
        log.append(red, submit)
    other = forked(log, case, *log.entries[-2:])
    deliver(log, red, blue)
    deliver(other, green)
    guest = Member(tmp_path, "guest")
    place = len(log.entries) + 1
    welcomed(log, red, guest, place)
    deliver(log, guest)
    other.shows(log.entries[-1])
    deliver(other, green)
    green.says("hello from elsewhere")
    (submit,) = green.room.prepare_messages()
    while len(log.entries) < len(other.entries):
        say(log, red, "more")
        deliver(log, red)
    log.append(green, submit)
    told = lies(*deliver(log, guest))
    assert Inconsistency.HISTORY in told


def test_header_fields_match_the_wire() -> None:
    assert Header.__struct_fields__ == ("kind", "head", "seen", "count", "add", "remove", "ref")
    assert Rejected.__struct_fields__ == ("room", "submission", "code", "text")
