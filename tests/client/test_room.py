"""One room when something fails: on this machine's disk, or because the relay says no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import StoreDamaged
from clave_client.store import Phase
from clave_wire.messages import Code, Rejected
from client.memory_relay import Member, deliver, feed, in_one_room, kinds, resume, say


@contextmanager
def failing_disk(member: Member) -> Iterator[None]:
    """Have every write fail at its last moment, when all of it is to become durable."""
    member.store._db.set_commit_hook(lambda: True)
    try:
        with pytest.raises(StoreDamaged, match="check the disk"):
            yield
    finally:
        member.store._db.set_commit_hook(None)


def test_a_commit_that_could_not_be_stored_leaves_nothing_behind(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    record = red.room.record
    with failing_disk(red):
        red.room.prepare_commit(())
    assert red.room.pending is None
    assert red.room.record == record
    assert red.room.may_commit
    assert red.room.may_send
    log.append(red, red.room.prepare_commit(()))
    deliver(log, red, blue)
    assert red.room.group.epoch_authenticator == blue.room.group.epoch_authenticator


@pytest.mark.parametrize("what", ["prepare_messages", "prepare_leave", "prepare_commit", "start_leaving"])
def test_after_a_failed_write_the_room_is_what_the_disk_says(tmp_path: Path, what: str) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("waits")
    with failing_disk(red):
        getattr(red.room, what)(*([()] if what == "prepare_commit" else []))
    record = red.room.record
    assert (red.room.pending, red.room.leave_submission) == (None, None)
    say(log, blue, "meanwhile")
    deliver(log, red)
    red.restarts()
    resume(red, log)
    assert red.room.record == msgspec.structs.replace(record, cursor=2)
    red.room.start_leaving()
    red.room.prepare_leave()
    red.restarts()
    assert len(red.room.group.pending_proposals) == 1, "the group's state is written whole"


def leave(member: Member) -> int:
    member.room.start_leaving()
    return member.room.prepare_leave().submission


@pytest.mark.parametrize("code", [Code.LIMIT, Code.BAD_REQUEST])
def test_a_refused_leave_is_told_and_the_room_goes_on(tmp_path: Path, code: Code) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    assert blue.room.group.pending_proposals
    (notice,) = feed(blue, [Rejected(blue.room.id, number, code, "no\x1bt now")]).events
    assert isinstance(notice, events.Notice)
    assert notice.text == "you are still in friends: the relay refused to let you leave (no<U+001B>t now)"
    assert blue.room.group.pending_proposals == ()
    assert blue.room.record.phase is Phase.JOINED
    assert blue.room.may_send
    blue.restarts()
    resume(blue, log)
    assert blue.room.group.pending_proposals == (), "nor after a restart"
    say(log, blue, "still here")
    deliver(log, red, blue)
    assert red.texts() == ["still here"]


@pytest.mark.parametrize("code", [Code.STORAGE, Code.RENUMBER])
def test_a_leave_that_may_be_tried_again_is(tmp_path: Path, code: Code) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    assert feed(blue, [Rejected(blue.room.id, number, code, "later")]).events == []
    assert blue.room.group.pending_proposals == ()
    assert blue.room.leave_due
    submit = blue.room.prepare_leave()
    assert submit.submission > number
    assert len(blue.room.group.pending_proposals) == 1
    log.append(blue, submit)
    (from_red, from_blue) = deliver(log, red, blue)
    assert kinds(from_red) == ["MemberLeft"]
    assert kinds(from_blue) == ["RoomClosed"]


def test_a_leave_of_a_past_epoch_waits_for_the_next(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    log.append(red, red.room.prepare_commit(()))
    feed(blue, [Rejected(blue.room.id, number, Code.STALE_EPOCH, "moved on")])
    assert not blue.room.leave_due
    deliver(log, blue)
    assert blue.room.leave_due


def test_a_commit_taken_back_makes_way_for_the_next(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.room.prepare_commit(())
    red.room.take_back_commit()
    red.restarts()
    assert red.room.pending is None
    resume(red, log)
    log.append(red, red.room.prepare_commit(()))
    deliver(log, red, blue)
    assert red.room.group.epoch_authenticator == blue.room.group.epoch_authenticator
