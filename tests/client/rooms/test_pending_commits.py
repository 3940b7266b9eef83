"""Two rekeys of one device, the second on its way while the first waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.rooms.batch_report import CommitResult
from clave_client.values import Phase
from clave_crypto.mls import Remove
from clave_wire.messages import Code, Rejected
from client.memory_relay import (
    agree,
    confirm,
    confirmation,
    deliver,
    feed,
    in_one_room,
    lies,
    rekey,
    resume,
    say,
    settle,
)


@pytest.mark.parametrize("restart", [False, True])
def test_the_first_rekey_applies_if_confirmed_before_the_second_is_logged(
    tmp_path: Path, restart: bool
) -> None:
    log, (red, blue, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    rekey(log, red, green)
    deliver(log, red, blue, green, white)
    say(log, red, "in the first")
    deliver(log, red, blue)
    second = red.room.prepare_commit([Remove(red.leaf_of(white))])
    if restart:
        red.restarts()
        resume(red, log)
    confirm(log, blue)
    refusal = Rejected(red.room.id, second.submission, Code.STALE, "another change came first")
    outcome = feed(red, [*log.since(red), refusal])
    assert outcome.commit_result is CommitResult.SUPERSEDED, "the second is to be made anew"
    deliver(log, blue, green, white)
    agree(red, blue, white)
    assert red.room.retry_due
    told = settle(log, red, blue, white)
    assert [lies(*one) for one in told] == [[], [], []]
    agree(red, blue)
    assert white.room.record.phase is Phase.CLOSED
    assert red.texts() == blue.texts() == ["in the first"]
    assert not red.room.outbox


def test_the_first_rekey_is_dropped_once_the_second_is_logged(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    first = rekey(log, red, green)
    deliver(log, red, blue, green)
    say(log, red, "in the first")
    deliver(log, red)
    assert red.room.outbox.waiting() == []
    rekey(log, red)
    deliver(log, red, blue, green)
    assert [item.body for item in red.room.outbox.waiting()] == ["in the first"]
    assert red.room.part("formers") is None
    confirmation(log, blue, first)
    deliver(log, red, blue, green)
    assert red.room.commits.awaits_confirmation
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    agree(red, blue)
    assert red.texts() == blue.texts() == ["in the first"]


def test_the_first_rekey_waits_on_if_the_second_is_refused(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    first = rekey(log, red, green)
    deliver(log, red, blue, green)
    say(log, red, "in the first")
    deliver(log, red)
    second = red.room.prepare_commit(())
    outcome = feed(red, [Rejected(red.room.id, second.submission, Code.BAD_REQUEST, "no")])
    assert outcome.commit_result is CommitResult.REFUSED
    assert red.room.commits.newest is not None
    assert red.room.commits.newest.payload == first.payload
    assert red.room.commits.awaits_confirmation
    red.restarts()
    resume(red, log)
    say(log, red, "and still")
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    agree(red, blue)
    assert blue.texts() == ["in the first", "and still"]
