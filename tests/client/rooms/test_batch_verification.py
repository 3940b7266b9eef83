"""Signatures that are verified together: what counts of a batch is what would have counted one by one."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.payload import header_digest
from clave_client.rooms import log_reader
from clave_client.rooms.batch_report import BatchResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.log_reader import LogReader
from clave_client.rooms.signature_checks import SignatureChecks
from clave_client.store.connection import StoreConnection
from clave_crypto.keys import Secret
from clave_crypto.mls import MLSError
from clave_wire.header import pack_header, split_payload
from clave_wire.messages import Entry, Kind
from client.memory_relay import (
    Forged,
    Log,
    Member,
    clock,
    deliver,
    feed,
    in_one_room,
    kinds,
    resume,
    say,
)


def badly_signed(log: Log, member: Member, text: str) -> Entry:
    """Have the relay take a message that another key signed, with the message key that the next one has."""
    group = member.villain()
    group._epoch = dataclasses.replace(group._epoch, signature_secret=Secret(os.urandom(32)))
    header = member.header(Kind.APPLICATION, count=member.room.record.count + 1)
    content = encode_former(FormerContent(os.urandom(16), FormerKind.TEXT, text, b"", 0))
    packed = pack_header(header)
    body = group.encrypt(content, authenticated_data=header_digest(packed))
    entry = log.entry(member, Forged(Kind.APPLICATION, packed + body))
    # A submission number of nobody's, so that the member's own next one is still free.
    log.entries.append(msgspec.structs.replace(entry, submission=0))
    return log.entries[-1]


def twin(member: Member, log: Log) -> Member:
    """Return the same device once more, on a copy of its store."""
    member.store.run("PRAGMA wal_checkpoint(truncate)")
    folder = member.folder / f"twin of {member.name}"
    folder.mkdir()
    shutil.copyfile(member.folder / f"{member.name}.db", folder / f"{member.name}.db")
    copied = Member(folder, member.name)
    (record,) = copied.store.rooms()
    copied.opens(LocalRoom.load(copied.store, record, clock))
    resume(copied, log)
    return copied


def check_like_one_by_one(log: Log, member: Member) -> BatchResult:
    """Feed all that is new in one batch; check that a twin that reads one by one ends up with the same."""
    other = twin(member, log)
    new = log.entries[member.room.record.cursor :]
    outcome = feed(member, new)
    told = [event for entry in new for event in feed(other, [entry]).events]
    assert [type(event) for event in outcome.events] == [type(event) for event in told]
    assert member.everything() == other.everything()
    assert member.room.chain.seen() == other.room.chain.seen()
    assert member.room.record == other.room.record
    member.restarts()
    assert member.everything() == other.everything()
    return outcome


@pytest.mark.parametrize("bad", [(0,), (5,), (11,), (0, 1), (10, 11), (3, 7, 8), tuple(range(12))])
def test_of_a_batch_only_badly_signed_messages_are_refused(tmp_path: Path, bad: tuple[int, ...]) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for number in range(12):
        writer = (red, blue)[number % 2]
        if number in bad:
            badly_signed(log, writer, f"bad {number}")
        else:
            say(log, writer, f"good {number}")
    outcome = check_like_one_by_one(log, green)
    assert green.texts() == [f"good {number}" for number in range(12) if number not in bad]
    assert kinds(outcome).count("Message") == 12 - len(bad)


def test_a_message_key_that_a_bad_message_used_is_free_for_the_true_one(tmp_path: Path) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    say(log, red, "one")
    badly_signed(log, red, "forged")
    say(log, red, "two")
    say(log, red, "three")
    check_like_one_by_one(log, green)
    assert green.texts() == ["one", "two", "three"]


@pytest.mark.parametrize("bad", [None, 1, 3, 5])
def test_a_commit_in_the_middle_of_a_batch(tmp_path: Path, bad: int | None) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    white = Member(tmp_path, "white")
    steps: list[Callable[[], object]] = [
        lambda: say(log, red, "one"),
        lambda: say(log, blue, "two"),
        lambda: (deliver(log, red, blue), log.append(red, red.room.prepare_commit([white.add()]))),
        lambda: (deliver(log, red, blue), say(log, red, "three")),
        lambda: say(log, blue, "four"),
    ]
    for number, step in enumerate(steps):
        if number == bad:
            badly_signed(log, blue, "bad")
        step()
    if bad == len(steps):
        badly_signed(log, blue, "bad")
    outcome = check_like_one_by_one(log, green)
    assert green.texts() == ["one", "two", "three", "four"]
    assert kinds(outcome).count("MemberAdded") == 1
    assert green.room.head == red.room.head


def test_an_own_commit_in_the_middle_of_a_batch_is_not_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pending commit can be merged once, so nothing of the batch may fail as a whole after it."""
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    say(log, red, "one")
    deliver(log, green)
    say(log, red, "two")
    log.append(green, green.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, red)
    say(log, red, "three")
    badly_signed(log, red, "bad")
    entered: list[int] = []
    enter = LogContext.enter_epoch

    def entering(context: LogContext, *rest: Any) -> None:
        entered.append(1)
        enter(context, *rest)

    monkeypatch.setattr(LogContext, "enter_epoch", entering)
    outcome = feed(green, log.since(green))
    assert kinds(outcome) == ["Message", "MemberAdded", "Message", "Notice"]
    assert green.room.head == red.room.head
    assert entered == [1]


@pytest.mark.parametrize("bad", [False, True])
def test_a_message_that_comes_twice_in_a_batch_counts_once(tmp_path: Path, bad: bool) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    entry = say(log, red, "one")
    log.entries.append(msgspec.structs.replace(entry, seq=entry.seq + 1))
    if bad:
        badly_signed(log, red, "bad")
    say(log, red, "two")
    outcome = check_like_one_by_one(log, green)
    assert green.texts() == ["one", "two"]
    assert "Notice" in kinds(outcome)


def test_nothing_is_committed_before_all_signatures_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    for number in range(20):
        say(log, red, str(number))
    steps: list[str] = []
    finish, run = SignatureChecks.finish, StoreConnection.run

    def finishing(checks: SignatureChecks) -> None:
        finish(checks)
        steps.append("verified")

    def running(store: StoreConnection, sql: str, *values: bytes) -> None:
        steps.extend([sql] if sql in ("BEGIN IMMEDIATE", "COMMIT") else [])
        run(store, sql, *values)

    monkeypatch.setattr(SignatureChecks, "finish", finishing)
    monkeypatch.setattr(StoreConnection, "run", running)
    deliver(log, green)
    assert steps == ["BEGIN IMMEDIATE", "verified", "COMMIT"]


def test_after_a_bad_signature_no_batch_is_tried_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every batch could be made to cost twice as much, and a group to be restored for it."""
    monkeypatch.setattr(log_reader, "_ONE_BY_ONE", 10)
    tries: list[int] = []
    read = LogReader._read

    def reading(reader: LogReader, batch: Sequence[Entry], checks: SignatureChecks | None) -> BatchResult:
        tries.append(0 if checks is None else len(batch))
        return read(reader, batch, checks)

    monkeypatch.setattr(LogReader, "_read", reading)
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    tries.clear()
    for batch in range(4):
        badly_signed(log, red, "bad")
        for number in range(4):
            say(log, red, f"{batch} {number}")
        feed(green, log.entries[green.room.record.cursor :])
    assert tries == [5, 0, 0, 5, 0, 0]
    assert len(green.texts()) == 16


def test_without_a_batch_every_signature_is_verified_at_once(tmp_path: Path) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    assert kinds(feed(green, [badly_signed(log, red, "bad")])) == ["Notice"]
    assert green.texts() == []


def test_a_defect_in_a_batch_leaves_no_check_to_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    for text in ("one", "two"):
        say(log, red, text)
    with monkeypatch.context() as broken:
        broken.setattr(LogContext, "compare_views", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            deliver(log, green)
    assert green.reader.log.checks is None
    green.restarts()
    resume(green, log)
    deliver(log, green)
    assert green.texts() == ["one", "two"]


def test_unverified_data_is_what_the_group_returns_until_its_check_is_called(tmp_path: Path) -> None:
    log, (red, green) = in_one_room(tmp_path, "red", "green")
    _, _, body = split_payload(badly_signed(log, red, "bad").payload)
    waiting: list[Callable[[], None]] = []
    green.villain().receive(body, verify_later=waiting.append)
    (check,) = waiting
    with pytest.raises(MLSError, match="signature"):
        check()
