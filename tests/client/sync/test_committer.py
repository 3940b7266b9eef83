"""Commits, and members that leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.rooms import policy
from clave_client.rooms.batch_report import CommitResult
from clave_client.rooms.policy import RoomPolicy
from clave_client.rooms.state_change import StateChange
from clave_client.values import Phase
from clave_crypto.mls import PolicyRejected, Remove
from clave_wire.header import split_payload
from clave_wire.messages import Accepted, Code, Kind, Rejected
from client.memory_relay import (
    NOW,
    Log,
    Member,
    agree,
    confirm,
    deliver,
    feed,
    in_one_room,
    kinds,
    rekey,
    resume,
    say,
    settle,
)

# --- commits -------------------------------------------------------------------------------------------


def test_a_commit_without_a_path_applies_at_once(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    head = red.room.head
    entry = log.append(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    assert entry.kind is Kind.COMMIT
    from_blue, from_red, _ = deliver(log, blue, red, green)
    assert from_blue.commit_result is CommitResult.APPLIED
    assert kinds(from_red) == ["MemberAdded"]
    agree(red, blue, green)
    assert red.room.head != head
    say(log, red, "hello team")
    deliver(log, blue, green)
    assert green.texts() == blue.texts() == ["hello team"]


def test_a_title_change_has_a_path_and_needs_a_second_account(tmp_path: Path) -> None:
    """RFC 9420 asks for a path where a commit changes the group's extensions (section 12.4)."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = log.append(blue, blue.room.prepare_commit([blue.room.proposal_of(StateChange(title="team"))[0]]))
    assert entry.kind is Kind.REKEY
    assert [kinds(outcome) for outcome in deliver(log, red, green)] == [[], []]
    confirm(log, green)
    assert [kinds(outcome) for outcome in deliver(log, red, blue, green)] == [["RoomChanged"]] * 3
    agree(red, blue, green)
    assert red.room.record.title == blue.room.record.title == "team"


def test_a_commit_without_a_path_renews_no_keys(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    submit = red.room.prepare_commit([Member(tmp_path, "white").add()])
    assert submit.kind is Kind.COMMIT
    assert red.room.commits.successor is not None
    leaf = red.room.group.own_leaf
    assert red.room.commits.successor.member(leaf).leaf == red.room.group.member(leaf).leaf


def test_an_own_commit_is_applied_from_the_log_after_a_restart(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()]))
    red.restarts()
    assert red.room.commits.newest is not None
    resume(red, log)
    outcome = feed(red, log.entries[red.room.record.cursor :])
    assert outcome.commit_result is CommitResult.APPLIED
    deliver(log, blue)
    agree(red, blue)


def test_the_first_commit_in_the_log_applies_and_the_other_is_made_again(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    lost = red.room.prepare_commit([Member(tmp_path, "white").add()])
    log.append(blue, blue.room.prepare_commit([Member(tmp_path, "black").add()]))
    outcome = deliver(log, red)[0]
    assert outcome.commit_result is CommitResult.SUPERSEDED
    assert red.room.commits.newest is None
    assert feed(red, [Rejected(red.room.id, lost.submission, Code.STALE, "")]).events == []
    deliver(log, blue)
    agree(red, blue)
    log.append(red, red.room.prepare_commit([Member(tmp_path, "grey").add()]))
    deliver(log, red, blue)
    agree(red, blue)
    assert "white" not in [person.name for person in red.room.roster.people().values()]


def test_a_room_takes_no_more_devices_than_the_relay_can_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    monkeypatch.setattr(policy, "MAX_DEVICES", 4)
    newcomers = [Member(tmp_path, name).add() for name in ("white", "black")]
    assert len(blue.room.group.commit(newcomers[:1], now=int(NOW)).added) == 1
    assert len(red.room.group.commit([*newcomers, Remove(2)], now=int(NOW)).added) == 2
    with pytest.raises(PolicyRejected, match="at most 4 devices"):
        red.room.group.commit(newcomers, now=int(NOW))


def test_nobody_changes_identity(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    leaves = [member.leaf for member in red.room.group.members()]
    with pytest.raises(PolicyRejected, match="change identity"):
        RoomPolicy().check_successor(*leaves)
    RoomPolicy().check_successor(leaves[0], leaves[0])


# --- leaving -------------------------------------------------------------------------------------------


def leaves(log: Log, member: Member) -> None:
    member.room.start_leaving()
    log.append(member, member.room.prepare_leave())


def test_leaving_is_a_proposal_that_the_others_commit(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    blue.room.start_leaving()
    submit = blue.room.prepare_leave()
    assert split_payload(submit.payload)[0].remove == [blue.device]
    entry = log.append(blue, submit)
    assert kinds(feed(blue, [Accepted(blue.room.id, submit.submission, entry.seq)])) == ["RoomClosed"]
    assert blue.room.record.phase is Phase.CLOSED
    assert blue.store.part(blue.room.id, "epoch") is None, "the keys are gone"
    for other in (red, green):
        assert kinds(deliver(log, other)[0]) == ["MemberLeft"]
        assert other.room.commit_due
        assert not other.room.may_send, "nothing is said to who has left"
    everyone = [member.device for member in (red, blue, green)]
    assert (red.room.roster.own_rank(everyone), green.room.roster.own_rank(everyone)) == (0, 1)
    assert green.room.roster.own_rank([]) == 0, "who is not there is not waited for"
    rekey(log, red)
    assert log.entries[-1].kind is Kind.REKEY
    deliver(log, red, green)
    confirm(log, green)
    for outcome in deliver(log, red, green):
        assert "MemberRemoved" not in kinds(outcome), "leaving is not being thrown out"
    assert [person.name for person in green.room.roster.people().values()] == ["red", "green"]
    agree(red, green)


def test_the_only_remaining_member_needs_no_confirmation(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    leaves(log, blue)
    deliver(log, red)
    rekey(log, red)
    assert deliver(log, red)[0].commit_result is CommitResult.APPLIED
    assert red.room.may_send
    assert red.room.roster.devices() == [red.device]


@pytest.mark.parametrize("when", ["refused", "waiting"])
@pytest.mark.parametrize("others", [1, 2])
def test_a_member_that_leaves_during_a_rekey_is_removed_in_the_end(
    tmp_path: Path, when: str, others: int
) -> None:
    """A rekey from before somebody left does not take it out, so it is neither confirmed nor waited for."""
    log, (red, *rest) = in_one_room(tmp_path, "red", "blue", "green", "white")
    leaver, outcast = rest[0], rest[1]
    left = [red, *rest[2 : 1 + others]]
    submit = red.room.prepare_commit([Remove(red.leaf_of(outcast))])
    if when == "waiting":
        log.append(red, submit)
        deliver(log, *left, leaver)
        leaves(log, leaver)
    else:
        leaves(log, leaver)
        feed(red, [*log.since(red), Rejected(red.room.id, submit.submission, Code.STALE, "")])
    if others == 1:
        leaves_too = rest[2]
        deliver(log, leaves_too)
        leaves(log, leaves_too)
    settle(log, *left)
    agree(*left)
    for member in left:
        assert member.room.roster.devices() == [one.device for one in left]
        assert member.room.commits.newest is None
        assert member.room.may_send


def test_a_rekey_made_before_a_leave_is_not_confirmed(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red)
    deliver(log, red, blue, green)
    confirmable = green.room.confirmable
    assert confirmable is not None
    leaves(log, blue)
    deliver(log, red, green)
    assert green.room.confirmable is None
    assert green.room.commit_due
    assert red.room.commit_due, "its own rekey does not take the leaver out"
    settle(log, green, red)
    agree(red, green)
    assert not red.room.roster.has(blue.device)


def test_no_commit_without_a_path_is_made_during_a_leave(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    submit = red.room.prepare_commit([Member(tmp_path, "white").add()])
    leaves(log, blue)
    feed(red, [*log.since(red), Rejected(red.room.id, submit.submission, Code.STALE, "")])
    assert not red.room.can_resubmit_commit
    assert red.room.commit_is_stale, "it would have let the leaver stay"
    red.room.drop_commit()
    with pytest.raises(Exception, match="nobody can be added before"):
        red.room.prepare_commit([Member(tmp_path, "black").add()])
    settle(log, red, green)
    assert not red.room.roster.has(blue.device)


def test_a_removed_member_keeps_its_keys_until_the_removal_is_confirmed(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, blue)
    assert kinds(deliver(log, blue)[0]) == []
    assert blue.room.record.phase is Phase.JOINED
    say(log, green, "before it is confirmed")
    assert kinds(deliver(log, blue)[0]) == ["Message"]
    deliver(log, green)
    confirm(log, green)
    outcome = deliver(log, blue)[0]
    (closed,) = outcome.events
    assert isinstance(closed, events.RoomClosed)
    assert closed.by is not None
    assert closed.by.name == "red"
    assert blue.store.part(blue.room.id, "epoch") is None


def test_unsent_messages_of_a_closed_room_are_reported(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    blue.says("too late")
    rekey(log, red, blue)
    deliver(log, green)
    confirm(log, green)
    assert "RoomClosed" in kinds(deliver(log, blue)[0])
    assert len(blue.room.unsent) == 1
