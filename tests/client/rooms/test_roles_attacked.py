"""Rooms with roles that somebody tries to stop, to evade or to surprise by what happens at one time."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import PeerError
from clave_client.formats.agreed_state import AgreedState, Role
from clave_client.formats.former_state import FormerRole
from clave_client.rooms.policy import state_proposal
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import Group, PolicyRejected, Remove
from clave_wire.messages import Kind
from client.memory_relay import (
    NOW,
    Log,
    Member,
    brings_in,
    confirm,
    deliver,
    forge,
    in_one_room,
    rekey,
    say,
    settle,
    spoil_path,
)
from client.rooms.test_roles import Room, account, changes, role, room
from client.sync.test_rejoin import helped, returns

__all__ = ["room"]


def leaves_twice(log: Log, member: Member) -> None:
    """Have a member put two different proposals to leave into one epoch."""
    for public in (False, True):

        def make(group: Group, covered: bytes, *, public: bool = public) -> bytes:
            leaving = Remove(group.own_leaf)
            return group.propose(leaving, now=int(NOW), public=public, authenticated_data=covered)

        log.append(member, forge(member, member.header(Kind.PROPOSAL, remove=[member.device]), make))


@pytest.mark.parametrize("who", ["owner", "admin", "guest"])
def test_who_leaves_twice_stops_nobody(room: Room, who: str) -> None:
    log, red, blue, green, white = room
    changes(log, red, StateChange(roles={account(green): Role.GUEST}))
    settle(log, red, blue, green, white)
    leaver = {"owner": red, "admin": blue, "guest": green}[who]
    others = [member for member in (red, blue, green, white) if member is not leaver]
    leaves_twice(log, leaver)
    settle(log, *others)
    assert not any(member.room.roster.has(leaver.device) for member in others)
    assert len({member.room.group.epoch_authenticator for member in others}) == 1
    say(log, white, "go on")


def test_who_leaves_can_be_removed_while_the_owner_leaves(room: Room) -> None:
    log, red, blue, green, white = room
    for leaver in (green, red):
        leaver.room.start_leaving()
        deliver(log, leaver)
        log.append(leaver, leaver.room.prepare_leave())
    deliver(log, blue, white)
    rekey(log, blue, green)
    settle(log, blue, white)
    assert [role(white, each) for each in (blue, white)] == [Role.OWNER, Role.MEMBER]


def test_a_change_that_waits_is_made_with_the_next_one(room: Room) -> None:
    log, red, blue, green, white = room
    changes(log, red, StateChange(banned=[account(green)]), Remove(red.leaf_of(green)))
    deliver(log, red)
    changes(log, red, StateChange(topic="here", roles={account(white): Role.GUEST}))
    deliver(log, red)
    changes(log, red, StateChange(roles={account(white): Role.ADMIN}))
    settle(log, red, blue, green, white)
    state = white.room.state
    assert (state.topic, state.banned) == ("here", [account(green)])
    assert role(white, white) is Role.ADMIN
    assert not white.room.roster.has(green.device)


def test_a_change_that_waits_can_be_undone(room: Room) -> None:
    log, red, blue, green, white = room
    changes(log, red, StateChange(topic="here", roles={account(white): Role.GUEST}))
    deliver(log, red)
    changes(log, red, StateChange(roles={account(white): Role.MEMBER}))
    settle(log, red, blue, green, white)
    assert role(blue, white) is Role.MEMBER
    assert blue.room.state.topic == "here"


def test_a_device_that_leaves_takes_no_other_one_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "red", "blue", "white", "green", "green/desk"
    log, (red, blue, white, phone, desk) = in_one_room(tmp_path, *names)
    everybody = [red, blue, white, phone, desk]
    log.append(red, spoil_path(monkeypatch, lambda: red.room.prepare_commit(()), 0))
    deliver(log, *everybody)
    confirm(log, next(member for member in (phone, desk, white) if member.room.confirmable))
    deliver(log, *everybody)
    (back,) = [member for member in everybody if member.room.cannot_follow]
    assert back not in (phone, desk)
    log.append(back, back.room.prepare_rejoin_request())
    deliver(log, *everybody)
    info = helped(log, red, back)
    deliver(log, *everybody)
    submit = returns(back, info)
    phone.room.start_leaving()
    log.append(phone, phone.room.prepare_leave())
    deliver(log, red, white, desk)
    log.append(back, submit)
    settle(log, red, blue, white, desk)
    assert not red.room.roster.has(phone.device)
    assert red.room.roster.has(desk.device)


@pytest.mark.parametrize("banned", [True, False])
def test_nobody_evades_a_removal_by_another_device(room: Room, tmp_path: Path, *, banned: bool) -> None:
    log, red, blue, green, white = room
    twin = Member(tmp_path, "desk", twin=green)
    change = StateChange(banned=[account(green)] if banned else [])
    changes(log, blue, change, Remove(blue.leaf_of(green)))
    deliver(log, blue)
    log.append(green, green.room.prepare_commit([twin.add()]))
    settle(log, red, blue, green, white)
    assert account(green) not in white.room.roster.names
    assert white.room.state.banned == ([account(green)] if banned else [])


def hands_on(log: Log, room: Room) -> None:
    _, red, blue, _, white = room
    changes(log, red, StateChange(roles={account(white): Role.ADMIN}))
    settle(log, red, blue, white)
    red.room.start_leaving()
    settle(log, red, blue, white)


def inherits(log: Log, room: Room) -> None:
    _, red, blue, _, white = room
    red.room.start_leaving()
    settle(log, red, blue, white)
    changes(log, blue, StateChange(policies={"add": Role.OWNER}))
    settle(log, blue, white)


@pytest.mark.parametrize("history", [hands_on, inherits])
def test_who_was_away_is_let_in_again_whatever_others_decided(room: Room, history: object) -> None:
    log, _, blue, green, white = room
    assert callable(history)
    history(log, room)
    assert role(white, blue) is Role.OWNER
    for giver in (blue, white):
        green.room._check_brought(giver.room.copy_group())


def test_nobody_is_let_into_a_room_of_an_earlier_version(room: Room, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, (*_, other) = in_one_room(tmp_path / "other", "red", "blue")
    assert other.room.state.is_former
    with pytest.raises(PeerError, match="changes what cannot change"):
        room[1].room._check_brought(other.room.copy_group())


def test_the_last_admin_of_a_room_that_had_no_roles_is_followed_too(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green", remove=FormerRole.ADMIN)
    assert blue.room.state.is_former
    red.room.start_leaving()
    told = settle(log, red, blue, green)
    assert [role(each, blue) for each in (blue, green)] == [Role.OWNER] * 2
    assert [each.name for each in told[2] if isinstance(each, events.RoleChanged)] == ["blue"]
    rekey(log, blue, green)
    settle(log, blue, green)
    assert not blue.room.roster.has(green.device)


def test_nobody_inherits_a_room_that_has_an_admin(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green", remove=FormerRole.ADMIN)
    state = blue.room.state.upgraded().with_role(account(blue), Role.OWNER)
    with pytest.raises(PolicyRejected, match="may not make a member an owner"):
        blue.room.prepare_commit([state_proposal(blue.room.group.extensions, state)])
    deliver(log, red, green)
    assert red.room.state.is_former


def test_what_waits_when_one_becomes_a_guest_is_not_sent(room: Room) -> None:
    log, red, blue, green, white = room
    green.says("waits")
    changes(log, red, StateChange(roles={account(green): Role.GUEST}))
    told = settle(log, red, blue, green, white)
    assert not [each for each in told[0] if isinstance(each, events.Notice)]
    assert red.texts() == green.texts() == []
    assert not green.room.outbox


def test_who_makes_themselves_a_guest_is_silent_at_once(room: Room) -> None:
    log, red, blue, green, white = room
    changes(log, green, StateChange(roles={account(green): Role.GUEST}))
    deliver(log, green)
    green.says("hello")
    settle(log, red, blue, green, white)
    assert red.texts() == green.texts() == []


def test_a_room_between_two_people_has_no_other_roles(tmp_path: Path) -> None:
    one, two = b"a" * 32, b"b" * 32
    for state in (
        AgreedState(2, "x", owners=[one], guests=[two], direct=[one, two]),
        AgreedState(2, "x", owners=[one], direct=[one, two]),
        AgreedState(2, "x", owners=[one, two], direct=[one, two], banned=[b"c" * 32]),
    ):
        with pytest.raises(PeerError, match="both are owners"):
            state.check()
    AgreedState(2, "x", owners=[one, two], direct=[one, two]).check()


def test_an_heir_of_a_newcomers_room_is_the_one_that_all_chose(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, white = room
    red.room.start_leaving()
    settle(log, red, blue, green, white)
    black = Member(tmp_path, "black")
    brings_in(log, blue, black)
    settle(log, blue, green, white, black)
    assert [role(each, blue) for each in (blue, green, white, black)] == [Role.OWNER] * 4
