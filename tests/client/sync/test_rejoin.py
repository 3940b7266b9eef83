"""Devices that cannot follow the others, and how they come back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import PeerError
from clave_client.events import Inconsistency
from clave_client.formats.payload import epoch_id, rekey_id, sign_payload
from clave_client.formats.welcome import RejoinInfo, parse_invitation
from clave_client.rooms.rekeys import RekeyEffect
from clave_client.values import Phase
from clave_crypto.mls import MLSError
from clave_wire.messages import Code, Kind, Rejected, Submit
from client.memory_relay import (
    NOW,
    Forged,
    Log,
    Member,
    agree,
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
    spoil_path,
    stored_group,
)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Log, Member, Member, Member]:
    """Return a room in which blue cannot follow red and green."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    log.append(red, spoil_path(monkeypatch, lambda: red.room.prepare_commit(()), 0))
    deliver(log, red, blue, green)
    confirm(log, green)
    outcome = deliver(log, red, blue, green)[1]
    assert outcome.epoch_suspect
    assert kinds(outcome) == ["Notice"]
    assert blue.room.cannot_follow
    return log, red, blue, green


def helped(log: Log, helper: Member, lost: Member) -> RejoinInfo:
    """Have a member help a lost one; return what that gets."""
    submit = helper.room.prepare_rejoin_info(lost.device)
    log.append(helper, submit)
    rejoin_info = parse_invitation(submit.welcome)
    assert isinstance(rejoin_info, RejoinInfo)
    return rejoin_info


def ahead(member: Member, head: bytes) -> Forged:
    """Return an entry of an epoch that nobody else was shown."""
    header = member.header(Kind.CONFIRM, head=head)
    return Forged(Kind.CONFIRM, sign_payload(member.room.id, header, member.account.device))


def returns(lost: Member, rejoin_info: RejoinInfo) -> Submit:
    return lost.room.prepare_rejoin(
        lost.room.open_rejoin_info(rejoin_info), rejoin_info.head, lost.account.identity
    )


def test_a_rejoin_request_is_reported_to_members_that_can_answer(
    room: tuple[Log, Member, Member, Member],
) -> None:
    log, red, blue, green = room
    log.append(blue, blue.room.prepare_rejoin_request())
    from_red, from_blue, from_green = deliver(log, red, blue, green)
    assert from_red.rejoin_requests == from_green.rejoin_requests == [blue.device]
    assert from_blue.rejoin_requests == []


@pytest.mark.parametrize("what", ["signature", "sender", "stranger"])
def test_a_rejoin_request_in_anothers_name_is_ignored(
    room: tuple[Log, Member, Member, Member], what: str
) -> None:
    log, red, blue, green = room
    entry = log.append(blue, blue.room.prepare_rejoin_request())
    fields: dict[str, bytes] = {
        "signature": {"payload": entry.payload[:-1] + bytes([entry.payload[-1] ^ 1])},
        "sender": {"sender": green.device},
        "stranger": {"sender": b"s" * 32},
    }[what]
    assert feed(red, [msgspec.structs.replace(entry, **fields)]).rejoin_requests == []


def test_a_cut_off_device_rejoins_and_is_confirmed(room: tuple[Log, Member, Member, Member]) -> None:
    log, red, blue, green = room
    blue.says("said when it was lost")
    say(log, red, "not for blue")
    log.append(blue, blue.room.prepare_rejoin_request())
    deliver(log, red, blue, green)
    assert blue.room.prepare_messages() == []
    before = stored_group(blue)
    rejoin_info = helped(log, green, blue)
    deliver(log, red, blue, green)
    assert red.room.rejoin_infos[blue.device] == 1
    submit = returns(blue, rejoin_info)
    assert submit.kind is Kind.REKEY
    rejoining = blue.room.commits.rejoining
    assert rejoining
    log.append(blue, submit)
    deliver(log, red, blue, green)
    assert [rekey.effect for rekey in red.room.rekeys] == [RekeyEffect.OPENS]
    waits = blue.room.cannot_follow
    assert waits, "not before another account has confirmed it"
    assert stored_group(blue) == before
    confirm(log, red)
    from_red, from_blue, from_green = deliver(log, red, blue, green)
    agree(red, blue, green)
    assert (kinds(from_red), kinds(from_green)) == ([], []), "nobody came or went"
    (notice,) = from_blue.events
    assert isinstance(notice, events.Notice)
    assert "follows friends again; what was said from entry 3 to 8 it could not read" in notice.text
    assert not blue.room.cannot_follow
    assert not blue.room.commits.rejoining
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    say(log, red, "welcome back")
    assert lies(*deliver(log, red, blue, green)) == []
    assert blue.texts() == ["said when it was lost", "welcome back"]
    assert green.texts() == red.texts() == ["not for blue", "said when it was lost", "welcome back"]


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
def test_a_cut_off_device_rejoins_across_restarts(room: tuple[Log, Member, Member, Member], at: int) -> None:
    log, red, blue, green = room

    def point(number: int) -> None:
        if at == number:
            before = blue.everything()
            blue.restarts()
            assert blue.everything() == before
            resume(blue, log)

    point(0)
    log.append(blue, blue.room.prepare_rejoin_request())
    deliver(log, red, blue, green)
    rejoin_info = helped(log, green, blue)
    deliver(log, blue)
    point(1)
    submit = returns(blue, rejoin_info)
    point(2)
    if at == 2:
        assert blue.room.can_resubmit_commit, "it is submitted as it was"
        submit = blue.room.submit_commit()
    assert log.take(blue, submit) is None
    point(3)
    deliver(log, red, blue, green)
    point(4)
    assert blue.room.commits.rejoining
    confirm(log, red)
    deliver(log, red, blue, green)
    agree(red, blue, green)
    assert not blue.room.cannot_follow
    for member in (blue, green):
        say(log, member, "hello")
        assert lies(*deliver(log, red, blue, green)) == []


def test_a_rejoining_device_sends_nothing_until_confirmed(room: tuple[Log, Member, Member, Member]) -> None:
    log, red, blue, green = room
    log.append(blue, returns(blue, helped(log, green, blue)))
    deliver(log, red, blue, green)
    blue.says("I am back")
    assert blue.room.prepare_messages() == [], "the group info may be of a group that nobody else is in"
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    agree(red, blue, green)
    assert sorted(red.texts()) == sorted(green.texts()) == ["I am back"]
    assert blue.texts() == ["I am back"]


@pytest.mark.parametrize(
    "what", ["its own", "an unknown ref", "a bad signature", "another head", "a stranger"]
)
def test_an_unconfirmed_rejoin_does_not_apply(
    room: tuple[Log, Member, Member, Member], tmp_path: Path, what: str
) -> None:
    log, red, blue, green = room
    made = log.append(blue, returns(blue, helped(log, green, blue)))
    deliver(log, red, blue, green)
    signer = {"its own": blue, "a stranger": Member(tmp_path, "stranger")}.get(what, red)
    assert blue.room.commits.newest is not None
    head = b"h" * 32 if what == "another head" else blue.room.commits.newest.head
    ref = b"r" * 32 if what == "an unknown ref" else rekey_id(made.payload)
    payload = sign_payload(red.room.id, red.header(Kind.CONFIRM, head=head, ref=ref), signer.account.device)
    if what == "a bad signature":
        payload = payload[:-1] + bytes([payload[-1] ^ 1])
    log.append(red, Forged(Kind.CONFIRM, payload))
    log.entries[-1] = msgspec.structs.replace(log.entries[-1], sender=signer.device)
    before = stored_group(blue)
    deliver(log, blue)
    assert blue.room.cannot_follow
    assert blue.room.commits.rejoining
    assert stored_group(blue) == before


def test_a_logged_rejoin_is_not_abandoned(room: tuple[Log, Member, Member, Member]) -> None:
    """Or its device could not even be helped again: the others would seal to a key that is gone."""
    log, red, blue, green = room
    log.append(blue, returns(blue, helped(log, green, blue)))
    deliver(log, blue)
    blue.room.abandon_rejoin()
    blue.restarts()
    resume(blue, log)
    deliver(log, red, green)
    confirm(log, red)
    deliver(log, red, blue, green)
    agree(red, blue, green)


def test_a_rejoin_that_is_not_logged_is_abandoned(room: tuple[Log, Member, Member, Member]) -> None:
    log, _, blue, green = room
    returns(blue, helped(log, green, blue))
    blue.room.in_flight.clear()
    blue.room.abandon_rejoin()
    assert not blue.room.commits.rejoining
    blue.restarts()
    assert blue.room.commits.newest is None


@pytest.mark.parametrize("restart", [False, True])
def test_an_earlier_rejoin_applies_if_it_is_confirmed_first(
    room: tuple[Log, Member, Member, Member], restart: bool
) -> None:
    log, red, blue, green = room
    log.append(blue, returns(blue, helped(log, green, blue)))
    deliver(log, red, blue, green)
    second = returns(blue, helped(log, red, blue))
    if restart:
        blue.restarts()
        resume(blue, log)
    deliver(log, red)
    confirm(log, red)
    refusal = Rejected(blue.room.id, second.submission, Code.STALE, "")
    feed(blue, [*log.since(blue), refusal])
    deliver(log, red, green)
    agree(red, blue, green)
    assert not blue.room.cannot_follow
    assert blue.room.commits.earlier == []


def test_a_rejoin_info_is_for_its_room_and_device(
    room: tuple[Log, Member, Member, Member], tmp_path: Path
) -> None:
    log, red, blue, green = room
    rejoin_info = helped(log, green, blue)
    with pytest.raises(MLSError):
        red.room.open_rejoin_info(rejoin_info)
    with pytest.raises(MLSError):
        blue.room.open_rejoin_info(msgspec.structs.replace(rejoin_info, sealed=rejoin_info.sealed[:-1]))
    before = blue.everything()
    for garbage in (b"", b"garbage", red.villain().encrypt(b"hello")):
        with pytest.raises((MLSError, PeerError)):
            blue.room.prepare_rejoin(garbage, rejoin_info.head, blue.account.identity)
    assert blue.everything() == before


def test_a_rejoin_info_of_a_made_up_group_changes_nothing(room: tuple[Log, Member, Member, Member]) -> None:
    """An insider's phantom: the return into it is in the log, but nobody confirms it."""
    log, red, blue, green = room
    phantom = red.villain()
    phantom.merge(phantom.commit((), now=1_800_000_000))
    sealed = phantom.seal_to_member(blue.room.group.own_leaf, "clave GroupInfo", phantom.group_info())
    rejoin_info = RejoinInfo(sealed, epoch_id(phantom))
    before = stored_group(blue)
    log.append(blue, returns(blue, rejoin_info))
    heads = red.room.head, green.room.head
    from_red, from_blue, from_green = deliver(log, red, blue, green)
    assert (red.room.head, green.room.head) == heads
    assert list(red.room.rekeys) == list(green.room.rekeys) == []
    assert lies(from_red, from_green) == [Inconsistency.AHEAD, Inconsistency.AHEAD]
    assert lies(from_blue) == []
    assert stored_group(blue) == before
    assert blue.room.cannot_follow
    log.append(blue, returns(blue, helped(log, green, blue)))
    deliver(log, red, blue, green)
    confirm(log, red)
    deliver(log, red, blue, green)
    agree(red, blue, green)


def test_one_account_cannot_make_a_device_leave_an_epoch_it_can_follow(tmp_path: Path) -> None:
    """Or an insider would name an epoch of its own, help whoever asks into it, and confirm that itself."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    phantom = red.villain()
    phantom.merge(phantom.commit((), now=1_800_000_000))
    sealed = phantom.seal_to_member(blue.room.group.own_leaf, "clave GroupInfo", phantom.group_info())
    rejoin_info = RejoinInfo(sealed, epoch_id(phantom))
    assert not blue.room.should_rejoin_with(rejoin_info), "unasked"
    for _ in range(2):
        log.append(red, ahead(red, rejoin_info.head))
        deliver(log, blue)
    assert not blue.room.should_rejoin_with(rejoin_info), "one account says so"
    log.append(green, ahead(green, rejoin_info.head))
    deliver(log, blue)
    assert blue.room.should_rejoin_with(rejoin_info)
    blue.room.start_leaving()
    assert blue.room.should_rejoin_with(rejoin_info)
    blue.room.disconnected()
    assert not blue.room.should_rejoin_with(rejoin_info)


def test_a_cut_off_device_accepts_rejoin_infos_of_another_epoch(
    room: tuple[Log, Member, Member, Member],
) -> None:
    log, _, blue, green = room
    rejoin_info = helped(log, green, blue)
    assert blue.room.should_rejoin_with(rejoin_info)
    assert not blue.room.should_rejoin_with(msgspec.structs.replace(rejoin_info, head=blue.room.head))


def test_a_device_cannot_rejoin_as_another(room: tuple[Log, Member, Member, Member]) -> None:
    log, red, blue, green = room
    submit = returns(blue, helped(log, green, blue))
    entry = log.append(blue, submit)
    log.entries[-1] = msgspec.structs.replace(entry, sender=green.device)
    deliver(log, red)
    assert list(red.room.rekeys) == []


def test_who_waits_to_return_says_nothing_until_several_requests_got_no_answer(tmp_path: Path) -> None:
    """All members of one epoch can wait for another one; who then says nothing is heard by none of them."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, green):
        log.append(member, ahead(member, b"h" * 32))
    deliver(log, blue)
    assert blue.room.should_rejoin
    assert not blue.room.cannot_follow
    elsewhere = red.villain()
    elsewhere.merge(elsewhere.commit((), now=int(NOW)))
    head, identity = epoch_id(elsewhere), blue.account.identity
    log.append(blue, blue.room.prepare_rejoin(elsewhere.group_info(), head, identity))
    deliver(log, blue)
    assert blue.room.commits.rejoining
    assert blue.room.commits.awaits_confirmation
    for _ in range(3):
        log.append(blue, blue.room.prepare_rejoin_request())
        deliver(log, blue)
        assert not blue.room.may_send
    log.append(blue, blue.room.prepare_rejoin_request())
    deliver(log, blue)
    assert blue.room.may_send


def test_a_cut_off_device_answers_nobody_and_sends_nothing(room: tuple[Log, Member, Member, Member]) -> None:
    log, red, blue, green = room
    blue.says("hello")
    assert not blue.room.may_send
    assert not blue.room.may_commit
    assert not blue.room.commit_due
    assert blue.room.confirmable is None
    log.append(green, green.room.prepare_rejoin_request())
    say(log, red, "not for blue")
    outcome = deliver(log, blue)[0]
    assert outcome.rejoin_requests == []
    assert outcome.events == []


def test_a_cut_off_device_rejoins_to_leave(room: tuple[Log, Member, Member, Member]) -> None:
    log, red, blue, green = room
    blue.room.start_leaving()
    assert not blue.room.leave_due
    assert blue.room.can_submit
    log.append(blue, returns(blue, helped(log, green, blue)))
    told = settle(log, red, blue, green)
    assert [lies(*one) for one in told] == [[], [], []]
    assert blue.room.record.phase is Phase.CLOSED
    agree(red, green)
    assert not red.room.roster.has(blue.device)


def test_a_device_that_was_not_shown_an_epoch_rejoins(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    hidden = log.append(red, red.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, red, green)
    say(log, red, "after it")
    other = Log()
    other.entries = [*log.entries[:-2], msgspec.structs.replace(log.entries[-1], seq=hidden.seq)]
    outcome = deliver(other, blue)[0]
    assert outcome.epoch_suspect
    assert lies(outcome) == [Inconsistency.AHEAD]
    assert not blue.room.cannot_follow
    rejoin_info = parse_invitation(green.room.prepare_rejoin_info(blue.device).welcome)
    assert isinstance(rejoin_info, RejoinInfo)
    submit = returns(blue, rejoin_info)
    deliver(log, red, green)
    log.append(blue, submit)
    other.entries.append(msgspec.structs.replace(log.entries[-1], seq=len(other.entries) + 1))
    deliver(other, blue)
    deliver(log, red, green)
    confirm(log, red)
    other.entries.append(msgspec.structs.replace(log.entries[-1], seq=len(other.entries) + 1))
    deliver(other, blue)
    deliver(log, red, green)
    agree(red, blue, green)


def test_in_a_room_of_one_account_a_rejoin_applies_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, twin, third) = in_one_room(tmp_path, "red", "red/desk", "red/phone")
    log.append(red, spoil_path(monkeypatch, lambda: red.room.prepare_commit(()), 0))
    deliver(log, red, twin, third)
    assert twin.room.cannot_follow
    log.append(twin, returns(twin, helped(log, third, twin)))
    deliver(log, red, twin, third)
    agree(red, twin, third)


def test_an_unknown_own_commit_is_reported_and_starts_a_rejoin(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    submit = red.room.prepare_commit([Member(tmp_path, "white").add()])
    red.room.cancel_commit()
    red.room.in_flight.clear()
    log.append(red, submit)
    outcome = deliver(log, red)[0]
    deliver(log, blue)
    assert outcome.epoch_suspect
    assert not red.room.cannot_follow, "a relay may have made that up"
    rejoin_info = helped(log, blue, red)
    deliver(log, red, blue)
    assert red.room.should_rejoin_with(rejoin_info)
    log.append(red, returns(red, rejoin_info))
    deliver(log, red, blue)
    confirm(log, blue)
    deliver(log, red, blue)
    agree(red, blue)
    assert rekey(log, blue).seq == len(log.entries)


def test_a_device_led_into_a_made_up_epoch_rejoins_the_others(
    room: tuple[Log, Member, Member, Member],
) -> None:
    log, red, blue, green = room
    made_up = red.room.copy_group()
    made_up.merge(made_up.commit([], now=int(NOW)))
    leaf = next(m.leaf_index for m in made_up.members() if m.signature_key == blue.device)
    head = epoch_id(made_up)
    bait = RejoinInfo(made_up.seal_to_member(leaf, "clave GroupInfo", made_up.group_info()), head)
    log.append(blue, returns(blue, bait))
    deliver(log, red, blue, green)
    assert blue.room.commits.newest is not None
    ref = rekey_id(blue.room.commits.newest.payload)
    lure = sign_payload(red.room.id, red.header(Kind.CONFIRM, head=head, ref=ref), red.account.device)
    log.append(red, Forged(Kind.CONFIRM, lure))
    left = blue.room.group.state().epoch
    deliver(log, red, blue, green)
    assert not blue.room.cannot_follow
    assert blue.room.head != green.room.head == red.room.head
    stored = blue.store.rows("SELECT data FROM group_parts")
    assert not [part for (part,) in stored if isinstance(part, bytes) and left in part], (
        "keys of an epoch that it left"
    )
    say(log, blue, "is anybody here?")
    deliver(log, red, blue, green)
    blue.restarts()
    resume(blue, log)
    say(log, red, "one")
    say(log, green, "two")
    assert deliver(log, red, blue, green)[1].epoch_suspect
    log.append(blue, blue.room.prepare_rejoin_request())
    assert deliver(log, red, blue, green)[2].rejoin_requests == [blue.device]
    rejoin_info = helped(log, green, blue)
    assert blue.room.should_rejoin_with(rejoin_info)
    deliver(log, red, blue, green)
    log.append(blue, returns(blue, rejoin_info))
    told = [event.text for event in settle(log, red, blue, green)[1] if isinstance(event, events.Notice)]
    assert "this device follows friends again; what was said from entry" in " ".join(told)
    agree(red, blue, green)
    for each in (red, green):
        assert each.texts()[-1] == "is anybody here?", "said again, as nobody honest could read it"
    say(log, red, "three")
    say(log, green, "four")
    deliver(log, red, blue, green)
    assert blue.texts() == ["is anybody here?", "three", "four"]
    assert not blue.room.epochs.former_rosters, "two accounts speak there"
