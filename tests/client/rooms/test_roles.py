"""Roles in a room's log: what members refuse alike, what follows from who goes, what guests can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.formats.agreed_state import AgreedState, Role
from clave_client.formats.former_state import FormerRole
from clave_client.rooms.policy import state_proposal
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import Group, PolicyRejected, Proposal, Remove, ValidationError
from clave_wire.messages import Kind
from client.memory_relay import NOW, Log, Member, deliver, forge, in_one_room, say, settle


def changes(log: Log, member: Member, change: StateChange, *others: Proposal) -> None:
    """Have a member make a change of the agreed state, and the relay take it."""
    log.append(member, member.room.prepare_commit([*others, *member.room.proposal_of(change)]))


def account(member: Member) -> bytes:
    return member.account.verified.account


def role(member: Member, of: Member) -> Role:
    return member.room.state.role_of(account(of))


@pytest.fixture
def room(tmp_path: Path) -> tuple[Log, Member, Member, Member, Member]:
    """Return a room with red, its owner, blue, an admin, green and white."""
    log, (red, blue, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    changes(log, red, StateChange(roles={account(blue): Role.ADMIN}))
    settle(log, red, blue, green, white)
    assert [role(white, each) for each in (red, blue, green)] == [Role.OWNER, Role.ADMIN, Role.MEMBER]
    return log, red, blue, green, white


Room = tuple[Log, Member, Member, Member, Member]


def told(results: list[list[events.Event]], kind: type[events.Event]) -> list[list[events.Event]]:
    return [[event for event in found if isinstance(event, kind)] for found in results]


def test_a_role_is_told_alike_to_all(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    changes(log, red, StateChange(topic="where to meet", roles={account(blue): Role.GUEST}))
    results = settle(log, red, blue, green)
    for found in told(results, events.RoleChanged):
        (event,) = found
        assert isinstance(event, events.RoleChanged)
        assert (event.name, event.role) == ("blue", "guest")
        assert event.by is not None
        assert event.by.name == "red"
    assert [[event.topic for event in found] for found in told(results, events.TopicChanged)] == [  # type: ignore[attr-defined]
        ["where to meet"]
    ] * 3
    assert len({member.room.group.epoch_authenticator for member in (red, blue, green)}) == 1


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("blue", "blue is an admin and may not make an admin an owner"),
        ("green", "green is a member and may not"),
    ],
)
def test_nobody_makes_themselves_owner(room: Room, who: str, why: str) -> None:
    log, red, blue, green, white = room
    villain = blue if who == "blue" else green
    state = villain.room.state.with_role(account(villain), Role.OWNER)

    def make(group: Group, covered: bytes) -> bytes:
        proposal = state_proposal(group.extensions, state)
        return group.commit([proposal], now=int(NOW), authenticated_data=covered).message

    before = [each.room.head for each in (red, blue, green, white)]
    log.append(villain, forge(villain, villain.header(Kind.REKEY), make))
    others = [each for each in (red, blue, green, white) if each is not villain]
    results = deliver(log, *others)
    for result in results:
        (notice,) = [event for event in result.events if isinstance(event, events.Notice)]
        assert why in notice.text
    assert [each.room.head for each in (red, blue, green, white)] == before
    with pytest.raises(PolicyRejected):
        villain.room.prepare_commit([state_proposal(villain.room.group.extensions, state)])


def test_an_admin_removes_no_owner(room: Room) -> None:
    _, red, blue, green, _ = room
    with pytest.raises(PolicyRejected, match="blue is an admin and may not remove an owner"):
        blue.room.prepare_commit([Remove(blue.leaf_of(red))])
    with pytest.raises(PolicyRejected, match="green is a member and may not remove an admin"):
        green.room.prepare_commit([Remove(green.leaf_of(blue))])


def test_a_removed_admin_who_is_added_again_is_a_member(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, white = room
    log.append(red, red.room.prepare_commit([Remove(red.leaf_of(blue))]))
    settle(log, red, green, white)
    assert red.room.state.admins == []
    log.append(green, green.room.prepare_commit([blue.add()]))
    settle(log, red, green, white)
    assert role(white, blue) is Role.MEMBER


def test_a_removal_that_leaves_the_role_is_refused(room: Room) -> None:
    log, red, blue, green, white = room

    def make(group: Group, covered: bytes) -> bytes:
        return group.commit([Remove(red.leaf_of(blue))], now=int(NOW), authenticated_data=covered).message

    log.append(red, forge(red, red.header(Kind.REKEY, remove=[blue.device]), make))
    for result in deliver(log, green, white):
        (notice,) = [event for event in result.events if isinstance(event, events.Notice)]
        assert "do not fit who is in the room" in notice.text


def test_when_the_last_owner_leaves_the_first_admin_is_owner(room: Room) -> None:
    log, red, blue, green, white = room
    red.room.start_leaving()
    results = settle(log, red, blue, green, white)
    for member in (blue, green, white):
        assert role(member, blue) is Role.OWNER
        assert account(red) not in member.room.state.owners
    (event,) = told(results, events.RoleChanged)[2]
    assert isinstance(event, events.RoleChanged)
    assert (event.name, event.role, event.by) == ("blue", "owner", None)


def test_an_heir_that_nobody_chose_is_refused(room: Room) -> None:
    """White commits the leaving of the owner and names green, a friend."""
    log, red, blue, green, white = room
    red.room.start_leaving()
    deliver(log, red)
    log.append(red, red.room.prepare_leave())
    deliver(log, red, blue, green, white)
    state = white.room.state.settled([account(each) for each in (blue, green, white)])
    mine = state.with_role(account(green), Role.OWNER).with_role(account(blue), Role.ADMIN)
    with pytest.raises(PolicyRejected, match="white is a member and may not"):
        white.room.prepare_commit([state_proposal(white.room.group.extensions, mine)])


def test_who_is_banned_is_removed_and_not_added_again(room: Room) -> None:
    log, red, blue, green, white = room
    changes(log, blue, StateChange(banned=[account(green)]), Remove(blue.leaf_of(green)))
    results = settle(log, red, blue, white)
    (event,) = told(results, events.BanChanged)[0]
    assert isinstance(event, events.BanChanged)
    assert (event.name, event.banned, event.by.name) == ("green", True, "blue")
    with pytest.raises(PolicyRejected, match="green is banned from this room"):
        white.room.prepare_commit([green.add()])
    changes(log, blue, StateChange(unbanned=[account(green)]))
    settle(log, red, blue, white)
    log.append(white, white.room.prepare_commit([green.add()]))
    settle(log, red, blue, white)
    assert red.room.roster.has(green.device)


def test_what_a_guest_says_counts_nowhere(room: Room) -> None:
    log, red, blue, green, white = room
    message = red.room.composer.text("for all")
    red.room.enqueue(message)
    (submit,) = red.room.prepare_messages()
    log.append(red, submit)
    changes(log, red, StateChange(roles={account(green): Role.GUEST}))
    settle(log, red, blue, green, white)
    compose = green.room.composer
    for item in (
        compose.text("hello"),
        compose.reaction(message.id, "+1"),
        compose.deletion(message.id),
        compose.text("other", replaces=message.id),
    ):
        green.room.enqueue(item)
        (submit,) = green.room.prepare_messages()
        log.append(green, submit)
    results = settle(log, red, blue, green, white)
    for member in (red, blue, green, white):
        (line,) = member.store.history(member.room.id)
        assert line.text == "for all"
        assert member.store.reactions(member.room.id, message.id) == []
    assert len(told(results, events.Notice)[0]) == 1, "it is told once"
    say(log, red, "go on")
    settle(log, red, blue, green, white)
    assert [line.text for line in green.store.history(green.room.id)] == ["for all", "go on"]


def test_sixteen_devices_of_one_person_are_the_most(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    changes(log, red, StateChange(topic="x"))
    settle(log, red, blue)
    twins = [Member(tmp_path, f"blue{number}", twin=blue) for number in range(17)]
    log.append(blue, blue.room.prepare_commit([each.add() for each in twins[:15]]))
    settle(log, red, blue)
    with pytest.raises(PolicyRejected, match="nobody has more than 16 devices"):
        blue.room.prepare_commit([twins[15].add()])


def test_one_adds_ones_own_devices_without_any_role(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, white = room
    changes(
        log,
        red,
        StateChange(policies={"add": Role.OWNER}, roles={account(green): Role.GUEST}),
    )
    settle(log, red, blue, green, white)
    twin, stranger = Member(tmp_path, "desk", twin=green), Member(tmp_path, "black")
    with pytest.raises(PolicyRejected, match="only an owner may add people here"):
        blue.room.prepare_commit([stranger.add()])
    log.append(green, green.room.prepare_commit([twin.add()]))
    settle(log, red, blue, green, white)
    assert red.room.roster.has(twin.device)
    log.append(green, green.room.prepare_commit([Remove(green.leaf_of(twin))]))
    settle(log, red, blue, green, white)
    assert not red.room.roster.has(twin.device)


def test_ones_own_devices_need_no_role_in_a_room_as_it_begins_either(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green", remove=FormerRole.ADMIN)
    twin = Member(tmp_path, "desk", twin=green)
    log.append(green, green.room.prepare_commit([twin.add()]))
    settle(log, red, blue, green)
    with pytest.raises(PolicyRejected, match="only an admin may remove people here"):
        green.room.prepare_commit([Remove(green.leaf_of(blue))])
    log.append(green, green.room.prepare_commit([Remove(green.leaf_of(twin))]))
    settle(log, red, blue, green)
    assert not red.room.roster.has(twin.device)
    assert red.room.state.is_former


def test_ones_own_devices_need_a_role_in_a_former_state_with_a_member_of_an_earlier_version(
    tmp_path: Path,
) -> None:
    """It would refuse such a commit, and be in another epoch than the others."""
    names = "red", "blue", "green"
    log, (red, blue, green) = in_one_room(tmp_path, *names, remove=FormerRole.ADMIN, current=False)
    twin = Member(tmp_path, "desk", twin=green)
    log.append(green, green.room.prepare_commit([twin.add()]))
    settle(log, red, blue, green)
    with pytest.raises(PolicyRejected, match="only an admin may remove people here"):
        green.room.prepare_commit([Remove(green.leaf_of(twin))])


def test_nobody_fills_a_room_with_own_devices_before_it_has_roles_either(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    twins = [Member(tmp_path, f"desk{number}", twin=blue) for number in range(16)]
    log.append(blue, blue.room.prepare_commit([each.add() for each in twins[:15]]))
    settle(log, red, blue)
    assert blue.room.state.is_former
    with pytest.raises(PolicyRejected, match="nobody has more than 16 devices"):
        blue.room.prepare_commit([twins[15].add()])


def test_a_room_with_a_member_of_an_earlier_version_stays_as_it_is(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green", current=False)
    with pytest.raises(ValidationError, match="does not support an extension"):
        blue.room.prepare_commit(blue.room.proposal_of(StateChange(topic="x")))
    assert isinstance(blue.room.state, AgreedState)
    assert blue.room.state.is_former
    changes(log, red, StateChange("team"))
    settle(log, red, blue, green)
    assert green.room.state.is_former
    assert green.room.record.title == "team"
