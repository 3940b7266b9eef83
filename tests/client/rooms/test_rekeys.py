"""Commits with a path: they wait for another account, and what cannot be opened disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clave_client.formats.payload import rekey_id, sign_payload
from clave_client.rooms.batch_report import CommitResult
from clave_client.rooms.rekeys import RekeyEffect
from clave_client.rooms.state_change import StateChange
from clave_client.values import Phase
from clave_crypto.mls import Remove
from clave_wire.header import pack_header, split_payload
from clave_wire.messages import Kind
from client.memory_relay import (
    Forged,
    Log,
    Member,
    agree,
    confirm,
    confirmation,
    deliver,
    feed,
    forge_wrong_tag,
    in_one_room,
    kinds,
    lies,
    rekey,
    resume,
    say,
    settle,
    spoil_path,
    stored_group,
    submit_due,
)


def fates(member: Member) -> list[RekeyEffect]:
    return [rekey.effect for rekey in member.room.rekeys]


# --- waiting and confirming ----------------------------------------------------------------------------


def test_a_rekey_applies_once_confirmed(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    head = red.room.head
    rekey(log, red)
    from_red, *_ = deliver(log, red, blue, green)
    assert from_red.commit_result is CommitResult.LOGGED
    assert {member.room.head for member in (red, blue, green)} == {head}
    assert (fates(red), fates(blue), fates(green)) == (
        [RekeyEffect.OWN],
        [RekeyEffect.OPENS],
        [RekeyEffect.OPENS],
    )
    confirm(log, blue)
    assert deliver(log, red, blue, green)[0].commit_result is CommitResult.APPLIED
    agree(red, blue, green)
    assert red.room.head != head
    assert (fates(red), fates(blue), fates(green)) == ([], [], [])


def test_members_confirm_before_they_send(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    rekey(log, red)
    deliver(log, red, blue)
    blue.says("hello")
    assert blue.room.prepare_messages() == []
    settle(log, blue, red)
    agree(red, blue)
    assert red.texts() == ["hello"]


@pytest.mark.parametrize("who", ["the author", "a twin of the author", "the removed device"])
def test_confirmations_that_are_refused(tmp_path: Path, who: str) -> None:
    log, (red, twin, blue, green) = in_one_room(tmp_path, "red", "red/desk", "blue", "green")
    made = rekey(log, red, green)
    deliver(log, red, twin, blue, green)
    confirmer = {"the author": red, "a twin of the author": twin, "the removed device": green}[who]
    assert confirmer.room.confirmable is None, "an honest one does not try"
    head = blue.room.head
    confirmation(log, confirmer, made)
    deliver(log, red, twin, blue, green)
    assert {member.room.head for member in (red, twin, blue, green)} == {head}
    phase = green.room.record.phase
    assert phase is Phase.JOINED
    assert fates(blue) == [RekeyEffect.OPENS], "it waits on"
    confirm(log, blue)
    deliver(log, red, twin, blue, green)
    agree(red, twin, blue)
    assert green.room.record.phase is Phase.CLOSED


def test_another_device_of_the_removed_account_can_confirm(tmp_path: Path) -> None:
    log, (red, green, twin) = in_one_room(tmp_path, "red", "green", "green/desk")
    rekey(log, red, green)
    deliver(log, red, green, twin)
    confirm(log, twin)
    deliver(log, red, green, twin)
    agree(red, twin)
    assert green.room.record.phase is Phase.CLOSED


@pytest.mark.parametrize("what", ["signature", "another's signature", "head", "ref", "no member"])
def test_an_invalid_confirmation_changes_nothing(tmp_path: Path, what: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    made = rekey(log, red)
    deliver(log, red, blue, green)
    before, head = green.everything(), red.room.head
    match what:
        case "signature":
            header = blue.header(Kind.CONFIRM, ref=rekey_id(made.payload))
            entry = log.append(blue, Forged(Kind.CONFIRM, pack_header(header) + bytes(64)))
        case "another's signature":
            entry = confirmation(log, red, made)
            log.entries[-1] = entry = msgspec.structs.replace(entry, sender=blue.device)
        case "head":
            entry = confirmation(log, blue, made, head=b"h" * 32)
        case "ref":
            entry = confirmation(log, blue, made, ref=b"r" * 32)
        case _:
            stranger = Member(tmp_path, "stranger")
            header = blue.header(Kind.CONFIRM, ref=rekey_id(made.payload))
            payload = sign_payload(blue.room.id, header, stranger.account.device)
            log.append(blue, Forged(Kind.CONFIRM, payload))
            log.entries[-1] = entry = msgspec.structs.replace(log.entries[-1], sender=stranger.device)
    outcome = feed(green, [entry])
    assert outcome.routing_suspect == (what in ("no member", "head")), (
        "whom the relay routes to is looked at anew"
    )
    deliver(log, red)
    assert green.everything() == before
    assert (green.room.head, red.room.head) == (head, head)


def test_a_confirmation_before_its_rekey_is_ignored(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    submit = red.room.prepare_commit(())
    early = blue.header(Kind.CONFIRM, ref=rekey_id(submit.payload))
    log.append(blue, Forged(Kind.CONFIRM, sign_payload(blue.room.id, early, blue.account.device)))
    log.append(red, msgspec.structs.replace(submit, submission=1))
    deliver(log, green)
    assert fates(green) == [RekeyEffect.OPENS]


def test_the_newest_rekey_of_an_account_is_the_one_that_waits(tmp_path: Path) -> None:
    log, (red, twin, blue) = in_one_room(tmp_path, "red", "red/desk", "blue")
    first = rekey(log, red)
    deliver(log, red, twin, blue)
    second = rekey(log, twin)
    assert deliver(log, twin, blue)[0].commit_result is CommitResult.LOGGED
    (waiting,) = blue.room.rekeys
    assert waiting.ref == rekey_id(second.payload)
    head = blue.room.head
    confirmation(log, blue, first)
    deliver(log, red, twin, blue)
    assert {member.room.head for member in (red, twin, blue)} == {head}, "the one before is no longer there"
    confirm(log, blue)
    deliver(log, red, twin, blue)
    agree(red, twin, blue)


def test_rekeys_of_several_accounts_wait_beside_each_other(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    submits = [member.room.prepare_commit(()) for member in (red, blue)]
    for member, submit in zip((red, blue), submits, strict=True):
        log.append(member, submit)
    deliver(log, red, blue, green)
    assert fates(green) == [RekeyEffect.OPENS, RekeyEffect.OPENS]
    settle(log, red, blue, green)
    agree(red, blue, green)
    assert [fates(member) for member in (red, blue, green)] == [[], [], []]


def test_a_rekey_that_removes_somebody_is_confirmed_first(tmp_path: Path) -> None:
    log, (red, blue, green, _) = in_one_room(tmp_path, "red", "blue", "green", "white")
    update = red.room.prepare_commit(())
    removal = blue.room.prepare_commit([Remove(3)])
    log.append(red, update)
    log.append(blue, removal)
    deliver(log, green)
    assert green.room.confirmable is not None
    assert green.room.confirmable.ref == rekey_id(removal.payload)


@pytest.mark.parametrize("by", ["commit", "confirm"])
def test_a_waiting_rekey_is_gone_once_another_epoch_begins(tmp_path: Path, by: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    other = blue.room.prepare_commit([Member(tmp_path, "white").add()] if by == "commit" else ())
    made = rekey(log, red)
    log.append(blue, other)
    if by == "confirm":
        confirmation(log, green, log.entries[-1])
    outcome = deliver(log, red, blue, green)[0]
    assert outcome.commit_result is CommitResult.SUPERSEDED
    agree(red, blue, green)
    assert [fates(member) for member in (red, blue, green)] == [[], [], []]
    assert green.store.waiting(green.room.id) == []
    assert red.room.commits.newest is None
    assert red.room.part("tip") is None, "the keys of what is not to be are gone"
    head = red.room.head
    confirmation(log, green, made)
    deliver(log, red, blue, green)
    assert red.room.head == head


def test_a_rekey_of_the_only_account_applies_at_once(tmp_path: Path) -> None:
    log, (red, twin) = in_one_room(tmp_path, "red", "red/desk")
    rekey(log, red)
    assert deliver(log, red, twin)[0].commit_result is CommitResult.APPLIED
    agree(red, twin)
    rekey(log, red, twin)
    assert [kinds(outcome) for outcome in deliver(log, red, twin)] == [["MemberRemoved"], ["RoomClosed"]]


def test_in_a_room_of_two_a_removal_applies_at_once(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    rekey(log, red, blue)
    assert [kinds(outcome) for outcome in deliver(log, red, blue)] == [["MemberRemoved"], ["RoomClosed"]]


def test_a_rekey_of_two_is_no_removal_and_waits(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    head = red.room.head
    rekey(log, red)
    deliver(log, red, blue)
    assert red.room.head == blue.room.head == head


def test_the_next_rekey_does_what_a_superseded_one_was_to_do(tmp_path: Path) -> None:
    log, (red, blue, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    title = red.room.proposal_of(StateChange(title="team"))[0]
    log.append(red, red.room.prepare_commit([title, Remove(3)]))
    deliver(log, red)
    log.append(green, green.room.prepare_commit([Member(tmp_path, "black").add()]))
    deliver(log, red, blue, green, white)
    assert red.room.retry_due
    red.restarts()
    resume(red, log)
    assert red.room.retry_due, "also after a restart"
    settle(log, red, blue, green, white)
    agree(red, blue, green)
    assert white.room.record.phase is Phase.CLOSED
    assert green.room.record.title == "team"
    assert not red.room.intent


def test_a_second_rekey_of_a_device_includes_the_intent_of_the_first(tmp_path: Path) -> None:
    log, (red, _, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    rekey(log, red, green)
    deliver(log, red)
    second = rekey(log, red, white)
    removed = split_payload(second.payload)[0].remove
    assert removed == sorted([green.device, white.device])


def test_an_intent_that_is_not_allowed_is_dropped(tmp_path: Path) -> None:
    _, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    red.room.prepare_commit([Remove(red.leaf_of(blue))])
    red.room.drop_commit()
    assert red.room.retry_due
    red.room.drop_intent()
    red.restarts()
    assert not red.room.intent


def test_nobody_is_added_while_a_removal_waits(tmp_path: Path) -> None:
    log, (red, _, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    deliver(log, red)
    with pytest.raises(Exception, match="nobody can be added before another member has confirmed"):
        red.room.prepare_commit([Member(tmp_path, "white").add()])


# --- paths that do not open ----------------------------------------------------------------------------


def test_a_rekey_that_opens_for_nobody_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    log.append(red, spoil_path(monkeypatch, lambda: red.room.prepare_commit(())))
    deliver(log, blue, green)
    assert (fates(blue), fates(green)) == ([RekeyEffect.FAILS], [RekeyEffect.FAILS])
    for member in (blue, green):
        assert member.room.confirmable is None
        assert member.room.may_send
        assert member.room.may_commit
    say(log, blue, "we go on")
    log.append(green, green.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, blue, green)
    agree(blue, green)
    assert green.texts() == ["we go on"]


def test_a_wrong_tag_is_confirmed_by_nobody_who_can_tell(tmp_path: Path) -> None:
    log, (red, blue, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    header = red.header(Kind.REKEY, remove=[green.device])
    log.append(red, forge_wrong_tag(red, header, Remove(red.leaf_of(green))))
    deliver(log, blue, green, white)
    assert (fates(blue), fates(white), fates(green)) == (
        [RekeyEffect.FAILS],
        [RekeyEffect.FAILS],
        [RekeyEffect.REMOVES],
    )
    settle(log, blue, green, white)
    assert green.room.record.phase is Phase.JOINED, "nobody is removed by a commit nobody can follow"
    agree(blue, green, white)
    say(log, green, "still here")
    deliver(log, blue)
    assert blue.texts() == ["still here"]


def test_a_path_that_opens_for_some_cuts_off_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    log.append(red, spoil_path(monkeypatch, lambda: red.room.prepare_commit(()), 0))
    deliver(log, red, blue, green)
    assert (fates(blue), fates(green)) == ([RekeyEffect.FAILS], [RekeyEffect.OPENS])
    before = stored_group(blue)
    confirm(log, green)
    _, from_blue, _ = deliver(log, red, blue, green)
    agree(red, green)
    assert from_blue.epoch_suspect
    assert blue.room.cannot_follow
    assert blue.room.record.lost == 3
    assert stored_group(blue) == before, "it keeps what it had"
    assert lies(from_blue) == []
    assert not blue.room.may_send
    assert not blue.room.may_commit


def test_keys_stay_until_a_removal_is_confirmed_also_after_a_restart(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, blue)
    deliver(log, blue, green)
    assert fates(blue) == [RekeyEffect.REMOVES]
    before = stored_group(blue)
    blue.restarts()
    resume(blue, log)
    assert fates(blue) == [RekeyEffect.REMOVES]
    assert stored_group(blue) == before
    confirm(log, green)
    assert kinds(deliver(log, blue)[0]) == ["RoomClosed"]
    assert blue.store.part(blue.room.id, "epoch") is None


# --- restarts at every point ---------------------------------------------------------------------------


def scene(log: Log, red: Member, blue: Member, green: Member) -> list[Callable[[], object]]:
    """Return the steps of a removal in whose epoch is spoken before it is confirmed."""

    def each(*members: Member) -> None:
        deliver(log, *members)

    def send(member: Member) -> None:
        for submit in submit_due(log, member):
            assert log.take(member, submit) is None

    return [
        lambda: red.says("zero"),
        lambda: send(red),
        lambda: each(red, blue, green),
        lambda: red.room.prepare_commit([Remove(red.leaf_of(green))]),
        lambda: resume(red, log),
        lambda: send(red),
        lambda: each(red),
        lambda: red.says("one"),
        lambda: send(red),
        lambda: each(blue),
        lambda: each(red, green),
        lambda: red.says("two"),
        lambda: red.room.prepare_messages(),
        lambda: resume(red, log),
        lambda: send(red),
        lambda: each(blue),
        lambda: send(blue),
        lambda: each(green),
        lambda: each(red),
        lambda: each(blue),
        lambda: red.says("three"),
        lambda: send(red),
        lambda: each(red, blue),
    ]


@pytest.mark.parametrize("at", [*range(23), -1])
def test_a_restart_anywhere_changes_nothing(tmp_path: Path, at: int) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for number, step in enumerate(scene(log, red, blue, green)):
        step()
        if at in (number, -1):
            for member in (red, blue, green):
                if member.room.record.phase is Phase.JOINED:
                    before = member.everything()
                    member.restarts()
                    assert member.everything() == before
                    assert lies(*resume(member, log)) == []
    told = settle(log, red, blue)
    assert [lies(*one) for one in told] == [[], []]
    agree(red, blue)
    assert red.texts() == blue.texts() == ["zero", "one", "two", "three"]
    assert green.texts() == ["zero"]
    assert green.room.record.phase is Phase.CLOSED
    assert not red.room.outbox
