"""Rooms that the version before left behind, in the middle of things, go on by the new rules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from clave_client.formats.welcome import JoinPoint, parse_invitation
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.schema import MIGRATIONS
from clave_client.values import Phase
from clave_crypto.keys import Secret
from clave_crypto.mls import Group
from clave_wire.messages import Entry, Kind
from client.memory_relay import (
    Log,
    Member,
    agree,
    clock,
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

STORED = Path(__file__).parents[1] / "stored"
FRIENDS, SECOND, INVITED, UNTAKEN = (letter * 16 for letter in (b"r", b"s", b"t", b"u"))


class Left(Member):
    """Somebody as the version before left them."""

    def __init__(self, folder: Path, name: str, room: bytes) -> None:
        self.name, self.folder = name, folder
        path = folder / f"{name}.db"
        shutil.copyfile(STORED / f"version-1-{name}.db", path)
        self.store = Store(path, Secret(b"k" * 32))
        self.account = Account.load_or_create(self.store, name)
        record = self.store.room(room)
        if record is not None:
            self.opens(LocalRoom.load(self.store, record, clock))


def before(name: str) -> Log:
    """Return a log of protocol 3."""
    stored = json.loads((STORED / "version-1.json").read_text())["logs"][name]
    return Log(
        *(
            Entry(
                bytes.fromhex(room),
                seq,
                bytes.fromhex(sender),
                number,
                Kind(kind),
                epoch,
                bytes.fromhex(data),
            )
            for room, seq, sender, number, kind, epoch, data in stored
        )
    )


def test_a_database_of_version_1_is_migrated(tmp_path: Path) -> None:
    red = Left(tmp_path, "red", FRIENDS)
    assert red.store.connection.pragma("user_version") == len(MIGRATIONS)
    assert {record.title: record.phase for record in red.store.rooms()} == {
        "friends": Phase.JOINED,
        "second": Phase.JOINED,
        "invited": Phase.INVITED,
    }
    assert {record.legacy for record in red.store.rooms()} == {-1}, "the relay has yet to tell"
    assert red.texts() == ["hello", "hi"]
    assert red.room.outbox.ids()


@pytest.mark.parametrize("restart", [False, True])
def test_a_migrated_room_continues_by_the_new_rules(tmp_path: Path, restart: bool) -> None:
    red, blue, log = Left(tmp_path, "red", FRIENDS), Left(tmp_path, "blue", FRIENDS), before("friends")
    told = [resume(member, log) for member in (red, blue)]
    assert told == [[], []]
    assert red.room.prepare_messages() == [], "nothing is sent before the log is read"
    for seq in range(4, 7):
        outcome = feed(red, [log.entries[seq - 1]])
        if seq == 4:
            assert kinds(outcome) == ["Sent"], "what was in the log was delivered"
        if restart:
            red.restarts()
            resume(red, log)
    agree(red, blue)
    assert red.texts() == blue.texts() == ["hello", "hi", "in the log", "after"]
    assert red.room.record.title == blue.room.record.title == "team"
    assert red.room.commits.newest is None
    assert red.room.part("pending") is None
    assert [item.body for item in red.room.outbox.waiting()] == ["lost on the way", "not sealed"]
    assert [item.payload for item in red.room.outbox.waiting()] == [None, None]
    assert red.room.chain.seen() == blue.room.chain.seen()
    assert red.room.record.read == 6
    for events_of in settle(log, red, blue):
        assert lies(*events_of) == []
    assert (
        red.texts() == blue.texts() == ["hello", "hi", "in the log", "after", "lost on the way", "not sealed"]
    )
    rekey(log, blue)
    deliver(log, red)
    confirm(log, red)
    deliver(log, red, blue)
    agree(red, blue)
    for member in (red, blue):
        say(log, member, "by the new rules")
        assert lies(*deliver(log, red, blue)) == []


@pytest.mark.parametrize("end", [4, 5], ids=["message", "commit"])
def test_an_own_last_entry_of_protocol_3_is_accepted(tmp_path: Path, end: int) -> None:
    red, log = Left(tmp_path, "red", FRIENDS), Log(*before("friends").entries[:end])
    resume(red, log)
    assert kinds(deliver(log, red)[0]) == ["Sent", "RoomChanged"][: end - 3]
    assert red.texts() == ["hello", "hi", "in the log"]
    assert red.room.group.epoch == end - 3
    assert red.room.part("pending") is None
    assert [item.body for item in red.room.outbox.waiting()] == ["lost on the way", "not sealed"]


def test_an_own_commit_that_the_relay_repeats_is_applied_once(tmp_path: Path) -> None:
    red, log = Left(tmp_path, "red", FRIENDS), before("friends")
    commit = next(e for e in log.entries[3:] if e.kind is Kind.COMMIT and e.sender == red.device)
    again = [msgspec.structs.replace(commit, seq=len(log.entries) + n) for n in (1, 2)]
    log = Log(*log.entries, *again)
    resume(red, log)
    deliver(log, red)
    assert red.room.record.cursor == len(log.entries)
    assert red.room.record.title == "team"
    assert red.texts() == ["hello", "hi", "in the log", "after"]


def test_what_was_not_in_the_log_is_dropped(tmp_path: Path) -> None:
    red, blue, log = Left(tmp_path, "red", SECOND), Left(tmp_path, "blue", SECOND), before("second")
    assert red.room.part("pending") is not None
    for member in (red, blue):
        resume(member, log)
    deliver(log, red, blue)
    agree(red, blue)
    assert red.room.record.title == "third", "blue's commit was the first"
    assert red.room.part("pending") is None
    told = settle(log, red, blue)
    assert [lies(*one) for one in told] == [[], []]
    assert blue.texts() == red.texts() == ["sealed in the old epoch"]


@pytest.mark.parametrize("accept", [False, True])
def test_an_open_invitation_can_be_answered(tmp_path: Path, accept: bool) -> None:
    red, blue, log = Left(tmp_path, "red", INVITED), Left(tmp_path, "blue", INVITED), before("invited")
    (red.room.accept if accept else red.room.decline)()
    for member in (red, blue):
        resume(member, log)
    deliver(log, red, blue)
    assert red.texts() == ["welcome"]
    told = settle(log, red, blue)
    assert [lies(*one) for one in told] == [[], []]
    if not accept:
        assert red.room.record.phase is Phase.CLOSED
        assert [person.name for person in blue.room.roster.people().values()] == ["blue"]
        return
    agree(red, blue)
    for member in (red, blue):
        say(log, member, "hello")
        assert lies(*deliver(log, red, blue)) == []
    assert blue.texts() == red.texts() == ["welcome", "hello", "hello"]


def test_a_welcome_of_protocol_3_can_still_be_used(tmp_path: Path) -> None:
    red, blue, log = Left(tmp_path, "red", UNTAKEN), Left(tmp_path, "blue", UNTAKEN), before("untaken")
    welcome = parse_invitation(bytes.fromhex(json.loads((STORED / "version-1.json").read_text())["welcome"]))
    assert isinstance(welcome, bytes)
    group = Group.join(welcome, red.account.bundle, policy=RoomPolicy(), other_groups=(), limits=ROOM_LIMITS)
    red.opens(LocalRoom.join(red.store, group, JoinPoint(None, 1), clock))
    assert red.room.invitation().inviter.name == "blue"
    red.room.accept()
    for member in (red, blue):
        resume(member, log)
    deliver(log, red, blue)
    assert red.texts() == ["hi there"]
    say(log, blue, "by the new rules")
    assert lies(*deliver(log, red, blue)) == []
    say(log, red, "too")
    assert lies(*deliver(log, red, blue)) == []
    assert blue.texts() == red.texts() == ["hi there", "by the new rules", "too"]


def test_protocol_3_entries_are_refused_after_its_last_entry(tmp_path: Path) -> None:
    red, blue, log = Left(tmp_path, "red", INVITED), Left(tmp_path, "blue", INVITED), before("invited")
    red.room.accept()
    last = log.entries[-1]
    log = Log(*log.entries[:-1])
    log.entries.append(last)
    for member in (red, blue):
        resume(member, log)
    before_it = red.everything()
    outcome = deliver(log, red)[0]
    assert kinds(outcome) == ["Notice"]
    assert red.texts() == []
    assert red.everything() == before_it


@pytest.mark.parametrize(
    "change", [{"epoch": 9}, {"kind": Kind.COMMIT}, {"payload": b"garbage"}, {"sender": b"x" * 32}]
)
def test_entries_refused_by_protocol_3_are_refused_now(tmp_path: Path, change: dict[str, object]) -> None:
    red, log = Left(tmp_path, "red", INVITED), before("invited")
    red.room.accept()
    log.entries[-1] = msgspec.structs.replace(log.entries[-1], **change)
    resume(red, log)
    group = red.room.group.state()
    deliver(log, red)
    if "sender" not in change:  # the envelope was not compared with the signature then
        assert red.texts() == []
        assert red.room.group.state() == group
    assert red.room.record.cursor == 2


def test_a_new_room_has_no_legacy_entries(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    assert (red.room.record.legacy, blue.room.record.legacy) == (0, 0)
