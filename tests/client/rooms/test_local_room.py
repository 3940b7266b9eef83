"""One room when something fails: on this machine's disk, because the relay says no, or has lost entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import StoreDamaged
from clave_client.rooms.batch_report import CommitResult
from clave_client.values import Phase
from clave_crypto.mls import Remove
from clave_wire.messages import Code, Kind, Rejected
from client.memory_relay import (
    Log,
    Member,
    agree,
    brings_in,
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

FIRST, SECOND, THIRD = b"the first one...", b"another one.....", b"the third one..."
"""Incarnations of a relay."""

# --- the disk ------------------------------------------------------------------------------------------


@contextmanager
def failing_disk(member: Member) -> Iterator[None]:
    """Have every write fail at its last moment, when all of it is to become durable."""
    member.store.connection.set_commit_hook(lambda: True)
    try:
        with pytest.raises(StoreDamaged, match="check the disk"):
            yield
    finally:
        member.store.connection.set_commit_hook(None)


@pytest.mark.parametrize("adds", [False, True])
def test_a_commit_that_could_not_be_stored_leaves_no_trace(tmp_path: Path, adds: bool) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    record = red.room.record
    proposals = [Member(tmp_path, "white").add()] if adds else []
    with failing_disk(red):
        red.room.prepare_commit(proposals)
    assert red.room.commits.newest is None
    assert red.room.commits.successor is None
    assert not red.room.intent
    assert red.room.record == record
    assert not red.room.in_flight
    assert red.room.may_commit
    assert red.room.may_send
    log.append(red, red.room.prepare_commit(proposals))
    settle(log, red, blue)
    agree(red, blue)


def test_a_second_rekey_that_could_not_be_stored_leaves_the_first(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    first = rekey(log, red)
    deliver(log, red, blue)
    with failing_disk(red):
        red.room.prepare_commit(())
    assert red.room.commits.newest is not None
    assert red.room.commits.newest.payload == first.payload
    assert red.room.commits.earlier == []
    settle(log, blue, red)
    agree(red, blue)


@pytest.mark.parametrize("kind", Kind)
def test_a_batch_that_could_not_be_stored_is_read_again(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    match kind:
        case Kind.APPLICATION:
            say(log, red, "hello")
        case Kind.COMMIT:
            log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()]))
        case Kind.REKEY | Kind.CONFIRM:
            rekey(log, red)
            if kind is Kind.CONFIRM:
                deliver(log, blue, green)
                confirm(log, blue)
        case Kind.PROPOSAL:
            blue.room.start_leaving()
            log.append(blue, blue.room.prepare_leave())
        case Kind.LOST:
            log.append(red, red.room.prepare_rejoin_request())
        case Kind.GROUP_INFO:
            log.append(red, red.room.prepare_rejoin_info(green.device))
    before, cursor = green.everything(), green.room.record.cursor
    with failing_disk(green):
        deliver(log, green)
    green.room.reload()
    assert green.everything() == before
    assert green.room.record.cursor == cursor
    resume(green, log)
    deliver(log, red, green)
    settle(log, red, green)
    agree(red, green)


@pytest.mark.parametrize("what", ["prepare_messages", "prepare_leave", "prepare_commit", "start_leaving"])
def test_after_a_failed_write_the_room_is_what_the_disk_says(tmp_path: Path, what: str) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("waits")
    with failing_disk(red):
        getattr(red.room, what)(*([()] if what == "prepare_commit" else []))
    record = red.room.record
    assert (red.room.commits.newest, red.room.in_flight) == (None, {})
    say(log, blue, "meanwhile")
    deliver(log, red)
    red.restarts()
    resume(red, log)
    assert red.room.record == msgspec.structs.replace(record, cursor=2)
    red.room.start_leaving()
    red.room.prepare_leave()
    red.restarts()
    assert len(red.room.group.pending_proposals) == 1, "the group's state is written whole"


# --- refusals of changes -------------------------------------------------------------------------------


def leave(member: Member) -> int:
    member.room.start_leaving()
    return member.room.prepare_leave().submission


@pytest.mark.parametrize("code", [Code.LIMIT, Code.BAD_REQUEST])
def test_a_refused_leave_is_reported_and_the_room_continues(tmp_path: Path, code: Code) -> None:
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


def test_a_leave_of_a_non_member_is_complete(tmp_path: Path) -> None:
    _, (_, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    outcome = feed(blue, [Rejected(blue.room.id, number, Code.NOT_MEMBER, "no member")])
    assert kinds(outcome) == ["RoomClosed"]


@pytest.mark.parametrize("code", [Code.STORAGE, Code.RENUMBER, Code.STALE, Code.PACE])
def test_a_leave_refused_for_now_is_submitted_again(tmp_path: Path, code: Code) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    is_due = blue.room.leave_due
    assert not is_due, "it is on its way"
    assert feed(blue, [Rejected(blue.room.id, number, code, "later")]).events == []
    pending = blue.room.group.pending_proposals
    assert pending == ()
    assert blue.room.leave_due
    submit = blue.room.prepare_leave()
    assert submit.submission == number, "the number was not taken"
    assert len(blue.room.group.pending_proposals) == 1
    log.append(blue, submit)
    (from_red, from_blue) = deliver(log, red, blue)
    assert kinds(from_red) == ["MemberLeft"]
    assert kinds(from_blue) == ["RoomClosed"]


def test_a_leave_is_proposed_again_in_each_epoch(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    number = leave(blue)
    log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()]))
    feed(blue, [*log.since(blue), Rejected(blue.room.id, number, Code.STALE, "moved on")])
    assert blue.room.leave_due
    submit = blue.room.prepare_leave()
    assert log.take(blue, submit) is None
    assert [kinds(outcome)[-1] for outcome in deliver(log, red, blue)] == ["MemberLeft", "RoomClosed"]


def test_a_cancelled_commit_allows_the_next(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.room.prepare_commit([Remove(red.leaf_of(blue))])
    red.room.cancel_commit()
    red.room.in_flight.clear()
    red.restarts()
    assert red.room.commits.newest is None
    assert not red.room.intent
    resume(red, log)
    log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, red, blue)
    agree(red, blue)


@pytest.mark.parametrize("kind", ["commit", "rekey"])
def test_a_stale_commit_of_the_present_epoch_is_resubmitted_unchanged(tmp_path: Path, kind: str) -> None:
    log, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    submit = red.room.prepare_commit([Member(tmp_path, "white").add()] if kind == "commit" else ())
    log.append(blue, blue.room.prepare_rejoin_request())
    feed(red, [*log.since(red), Rejected(red.room.id, submit.submission, Code.STALE, "")])
    can_resubmit = red.room.can_resubmit_commit
    assert can_resubmit
    again = red.room.submit_commit()
    assert (again.payload, again.welcome) == (submit.payload, submit.welcome)
    assert not red.room.can_resubmit_commit, "it is on its way"
    assert log.take(red, again) is None


def test_a_commit_of_another_epoch_is_dropped(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.room.prepare_commit(())
    log.append(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    outcome = deliver(log, red)[0]
    assert outcome.commit_result is CommitResult.SUPERSEDED
    assert red.room.commits.newest is None


def test_a_commit_refused_for_good_is_reported(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    submit = red.room.prepare_commit([Remove(red.leaf_of(blue))])
    outcome = feed(red, [Rejected(red.room.id, submit.submission, Code.LIMIT, "too\x1bmany")])
    assert (outcome.commit_result, outcome.reason) == (CommitResult.REFUSED, "too<U+001B>many")
    assert red.room.commits.newest is None
    assert not red.room.retry_due, "what is refused for good is not tried again"


# --- a relay that has lost entries ---------------------------------------------------------------------


def loses(log: Log, upto: int) -> None:
    """Have the relay forget all entries after `upto`, as after a restore from a backup."""
    del log.entries[upto:]


def comes_back(log: Log, member: Member, restored: int) -> list[events.Event]:
    return resume(member, log, SECOND, [(FIRST, restored)])


def test_lost_messages_are_reported_once_and_sent_again_in_order(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for member in (red, blue):
        resume(member, log, FIRST)
    for member, text in ((red, "one"), (blue, "two"), (red, "three"), (red, "four")):
        say(log, member, text)
        deliver(log, red, blue)
    red.says("not sent yet")
    loses(log, 2)
    (told,) = comes_back(log, red, 2)
    assert told == events.RelayRestored(red.room.id, "friends", 3)
    assert red.room.record.cursor == 2
    assert comes_back(log, red, 2) == [], "once"
    assert comes_back(log, blue, 2) == [events.RelayRestored(blue.room.id, "friends", 3)]
    waiting = [item.body for item in red.room.outbox.waiting()]
    assert waiting == ["three", "four", "not sent yet"], "in the order in which they were said"
    assert [item.body for item in blue.room.outbox.waiting()] == ["two"]
    told_all = settle(log, red, blue)
    assert [lies(*one) for one in told_all] == [[], []]
    shown = [event.text for event in told_all[1] if isinstance(event, events.Message)]
    assert shown == ["not sent yet"], "what was shown before is not shown again"
    for member in (red, blue):
        assert member.texts() == ["one", "two", "three", "four", "not sent yet"]
        assert not member.room.outbox


def test_lost_messages_reach_members_that_had_not_read_them(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for member in (red, blue):
        resume(member, log, FIRST)
    say(log, red, "one")
    deliver(log, red)
    loses(log, 1)
    assert len(comes_back(log, red, 1)) == 1
    assert comes_back(log, blue, 1) == []
    settle(log, red, blue)
    assert red.texts() == blue.texts() == ["one"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_restored_log_that_grew_again_is_recognised_by_its_incarnation(
    tmp_path: Path, restart: bool
) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, blue, green):
        resume(member, log, FIRST)
    for text in ("one", "two", "three"):
        say(log, red, text)
        deliver(log, red, green)
    loses(log, 2)
    comes_back(log, blue, 2)
    deliver(log, blue)
    for text in ("other two", "other three", "other four"):
        say(log, blue, text)
        deliver(log, blue)
    if restart:
        green.restarts()
    assert [type(event).__name__ for event in comes_back(log, green, 2)] == ["RelayRestored"]
    assert green.room.record.cursor == 2
    comes_back(log, red, 2)
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    said = ["one", "two", "three", "other two", "other three", "other four"]
    assert green.texts() == said, "history keeps both, the older era first"
    assert sorted(blue.texts()) == sorted(said)
    lines = green.store.history(green.room.id)
    assert [line.seq >> 40 for line in lines] == [0, 0, 0, 1, 1, 1]
    assert green.room.chain.seen() == blue.room.chain.seen() == red.room.chain.seen()


@pytest.mark.parametrize("restart", [False, True])
def test_after_two_restores_a_device_rolls_back_to_the_first(tmp_path: Path, restart: bool) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, blue, green):
        resume(member, log, FIRST)
    for text in ("one", "two", "three"):
        say(log, green, text)
        deliver(log, red, green)
    loses(log, 2)
    comes_back(log, blue, 2)
    deliver(log, blue)
    for text in ("other two", "other three"):
        say(log, blue, text)
        deliver(log, blue)
    loses(log, 3)
    third: list[tuple[bytes, int]] = [(FIRST, 2), (SECOND, 3)]
    assert resume(blue, log, THIRD, third) == [events.RelayRestored(blue.room.id, "friends", 1)]
    for member in (red, green):
        if restart:
            member.restarts()
        assert resume(member, log, THIRD, third) == [events.RelayRestored(member.room.id, "friends", 2)]
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    said = sorted(["one", "two", "three", "other two", "other three"])
    assert [sorted(member.texts()) for member in (red, blue, green)] == [said, said, said]
    assert green.room.chain.seen() == blue.room.chain.seen() == red.room.chain.seen()
    if restart:
        blue.restarts()
    loses(log, 2)  # the first backup once more, which knows nothing of the second
    assert [type(event).__name__ for event in resume(blue, log, b"the fourth one..", [(FIRST, 2)])] == [
        "RelayRestored"
    ]
    assert blue.room.record.cursor == 2


def test_the_same_incarnation_loses_nothing(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    resume(red, log, FIRST)
    say(log, red, "one")
    deliver(log, red)
    assert resume(red, log, FIRST, [(SECOND, 1)]) == []
    assert red.room.record.cursor == 2
    red.restarts()
    assert resume(red, log, THIRD, [(SECOND, 1)]) == [events.RelayRestored(red.room.id, "friends", 1)], (
        "known by now"
    )


@pytest.mark.parametrize("restart", [False, True])
def test_a_lost_leave_proposal_is_withdrawn(tmp_path: Path, restart: bool) -> None:
    log, (red, blue, green, grey) = in_one_room(tmp_path, "red", "blue", "green", "grey")
    for member in (red, blue, green, grey):
        resume(member, log, FIRST)
    before = len(log.entries)
    for leaver in (green, grey):
        leaver.room.start_leaving()
        log.append(leaver, leaver.room.prepare_leave())
        deliver(log, red)
    loses(log, before + 1)
    if restart:
        red.restarts()
    comes_back(log, red, before + 1)
    assert [red.room.member(green.device).leaf_index] == list(red.room.roster.leavers()), (
        "which is still there"
    )
    for member in (blue, green, grey):
        comes_back(log, member, before + 1)
    told = settle(log, red, blue, grey)
    assert not [event for events_of in told for event in events_of if isinstance(event, events.Notice)]
    assert red.room.roster.members().keys() == blue.room.roster.members().keys()
    assert not red.room.roster.has(green.device)


def test_a_lost_waiting_rekey_is_dropped(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, blue, green):
        resume(member, log, FIRST)
    rekey(log, red, green)
    deliver(log, red, blue, green)
    say(log, red, "in its epoch")
    deliver(log, red, blue, green)
    loses(log, 1)
    for member in (red, blue, green):
        comes_back(log, member, 1)
        assert list(member.room.rekeys) == []
    assert red.room.commits.newest is None
    assert red.room.retry_due, "it is made anew"
    assert [item.body for item in red.room.outbox.waiting()] == ["in its epoch"], "queued once"
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    agree(red, blue)
    assert green.room.record.phase is Phase.CLOSED
    assert red.texts() == blue.texts() == ["in its epoch"]


def test_a_new_member_whose_commit_was_lost_reports_no_inconsistency(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    guest = Member(tmp_path, "guest")
    for text in ("one", "two"):
        say(log, red, text)
        deliver(log, red, blue)
    brings_in(log, red, guest)
    deliver(log, blue)
    for member in (red, blue, guest):
        resume(member, log, FIRST)
    loses(log, 3)
    for member in (red, blue, guest):
        comes_back(log, member, 3)
    for member in (blue, guest, red):
        member.says("hello")
        assert [lies(*one) for one in settle(log, red, blue, guest)] == [[], [], []]
    agree(red, blue, guest)


# --- what the person decides ---------------------------------------------------------------------------


def test_an_invitation_is_answered_once(tmp_path: Path) -> None:
    _, (_, blue) = in_one_room(tmp_path, "red", "blue")
    with pytest.raises(Exception, match="no open invitation"):
        blue.room.accept()


def test_a_message_is_shown_once(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    deliver(log, blue)
    (line,) = blue.store.history(blue.room.id)
    assert blue.room.mark_shown(line.seq)
    assert not blue.room.mark_shown(line.seq)
    blue.restarts()
    assert not blue.room.mark_shown(line.seq)


def test_a_room_fallen_behind_keeps_its_history_and_no_keys(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    deliver(log, blue)
    blue.says("never sent")
    blue.room.fall_behind()
    assert blue.room.record.phase is Phase.BEHIND
    assert blue.store.part(blue.room.id, "epoch") is None
    assert blue.texts() == ["hello"]
    assert len(blue.room.unsent) == 1


def test_a_member_added_again_continues_its_submission_numbers(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for text in ("one", "two"):
        say(log, green, text)
    deliver(log, red, blue, green)
    rekey(log, red, green)
    settle(log, red, blue, green)
    assert green.room.record.phase is Phase.CLOSED
    brings_in(log, red, green)
    deliver(log, blue)
    agree(red, blue, green)
    entry = say(log, green, "back")
    assert entry.submission == 3
    assert lies(*deliver(log, red, blue, green)) == []
    assert blue.texts() == ["one", "two", "back"]
