"""Who may change what of the agreed state, by the state before the change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.formats.agreed_state import AgreedState, Role
from clave_client.rooms.state_change import StateChange
from clave_client.rooms.state_rules import Departures, check_change, check_edit, check_removal
from clave_crypto.mls import PolicyRejected

OWNER, ADMIN, MEMBER, GUEST, OTHER = (letter * 32 for letter in (b"o", b"a", b"m", b"g", b"x"))
ACCOUNTS = [OWNER, ADMIN, MEMBER, GUEST]
STATE = AgreedState(2, "friends", owners=[OWNER], admins=[ADMIN], guests=[GUEST])
FORMER = AgreedState(1, "friends", admins=[ADMIN])


def may(who: bytes, change: StateChange, state: AgreedState = STATE) -> str:
    """Return why somebody may not make a change, empty if they may."""
    try:
        check_change(state, change.apply(state), who, ACCOUNTS, "somebody", Departures())
    except PolicyRejected as error:
        return str(error)
    return ""


def roles(**changes: Role) -> StateChange:
    accounts = {"owner": OWNER, "admin": ADMIN, "member": MEMBER, "guest": GUEST}
    return StateChange(roles={accounts[name]: role for name, role in changes.items()})


ALLOWED = [
    (OWNER, roles(member=Role.OWNER)),
    (OWNER, roles(admin=Role.GUEST)),
    (OWNER, roles(owner=Role.MEMBER, admin=Role.OWNER)),
    (OWNER, StateChange(policies={"add": Role.OWNER})),
    (OWNER, StateChange(banned=[OTHER])),
    (ADMIN, roles(member=Role.GUEST)),
    (ADMIN, roles(guest=Role.MEMBER)),
    (ADMIN, roles(admin=Role.MEMBER)),
    (ADMIN, StateChange("team", "what for", 60)),
    (ADMIN, StateChange(banned=[OTHER])),
    (ADMIN, StateChange(pinned=[OTHER])),
    (MEMBER, roles(member=Role.GUEST)),
]
REFUSED = [
    (ADMIN, roles(admin=Role.OWNER), "is an admin and may not make an admin an owner"),
    (ADMIN, roles(member=Role.ADMIN), "may not make a member an admin"),
    (ADMIN, roles(owner=Role.MEMBER, admin=Role.OWNER), "is an admin and may not"),
    (ADMIN, StateChange(policies={"add": Role.ADMIN}), "only an owner may say who may do what"),
    (MEMBER, roles(guest=Role.MEMBER), "is a member and may not make a guest a member"),
    (MEMBER, roles(member=Role.ADMIN), "may not"),
    (MEMBER, StateChange("team"), "only an admin may change the room"),
    (MEMBER, StateChange(topic="x"), "only an admin may change the room"),
    (MEMBER, StateChange(banned=[OTHER]), "only an admin may ban people"),
    (MEMBER, StateChange(pinned=[OTHER]), "only an admin may pin messages"),
    (GUEST, roles(guest=Role.MEMBER), "is a guest and may not"),
    (ADMIN, StateChange(banned=[MEMBER]), "banned somebody who stays"),
]


@pytest.mark.parametrize(("who", "change"), ALLOWED)
def test_what_is_allowed(who: bytes, change: StateChange) -> None:
    assert may(who, change) == ""


@pytest.mark.parametrize(("who", "change", "why"), REFUSED)
def test_what_is_refused(who: bytes, change: StateChange, why: str) -> None:
    assert why in may(who, change)


def test_who_may_pin_is_said_by_a_policy_and_who_may_not_takes_no_pin_away() -> None:
    state = StateChange(pinned=[OTHER], policies={"pin": Role.MEMBER}).apply(STATE)
    assert may(MEMBER, StateChange(pinned=[MEMBER]), state) == ""
    assert may(MEMBER, StateChange(unpinned=[OTHER]), state) == ""
    assert "only a member may pin" in may(GUEST, StateChange(unpinned=[OTHER]), state)
    assert "only an admin may pin" in may(
        MEMBER, StateChange(unpinned=[OTHER]), StateChange(pinned=[OTHER]).apply(STATE)
    )


def test_a_ban_is_lifted_by_who_may_ban() -> None:
    state = StateChange(banned=[OTHER]).apply(STATE)
    assert may(ADMIN, StateChange(unbanned=[OTHER]), state) == ""
    assert "only an admin may ban" in may(MEMBER, StateChange(unbanned=[OTHER]), state)


@pytest.mark.parametrize(("who", "whom"), [(ADMIN, OWNER), (MEMBER, GUEST)])
def test_removals_are_of_lower_roles(who: bytes, whom: bytes) -> None:
    with pytest.raises(PolicyRejected, match="may"):
        check_removal(STATE, who, whom, lambda _: "somebody")


def test_an_owner_removes_another_owner_and_an_admin_no_admin() -> None:
    state = STATE.with_role(MEMBER, Role.OWNER).with_role(GUEST, Role.ADMIN)
    check_removal(state, OWNER, MEMBER, lambda _: "x")
    with pytest.raises(PolicyRejected, match="is an admin and may not remove an admin"):
        check_removal(state, ADMIN, GUEST, lambda _: "green")


def test_a_former_state_is_left_by_who_may_change_the_room() -> None:
    change = StateChange(topic="what for")
    assert may(ADMIN, change, FORMER) == ""
    assert "only an admin" in may(MEMBER, change, FORMER)
    back = AgreedState(1, "friends", admins=[OWNER])
    with pytest.raises(PolicyRejected, match="rules of an earlier version"):
        check_change(STATE, back, OWNER, ACCOUNTS, "red", Departures())


def test_a_role_of_somebody_absent_is_refused() -> None:
    assert "do not fit who is in the room" in may(OWNER, StateChange(roles={OTHER: Role.ADMIN}))


ROLES = st.sampled_from(Role)
STATES = st.builds(
    lambda given_roles, policies: _state(given_roles, policies),
    st.lists(ROLES, min_size=4, max_size=4),
    st.lists(st.sampled_from([Role.MEMBER, Role.ADMIN, Role.OWNER]), min_size=3, max_size=3),
)


def _state(given_roles: list[Role], policies: list[Role]) -> AgreedState:
    state = AgreedState(2, "friends", add=policies[0], remove=policies[1], edit=policies[2])
    for account, role in zip(ACCOUNTS, given_roles, strict=True):
        state = state.with_role(account, role)
    return state.settled(ACCOUNTS)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(STATES, STATES, st.sampled_from(ACCOUNTS))
def test_nobody_but_an_owner_raises_anybody_above_a_member(
    before: AgreedState, after: AgreedState, who: bytes
) -> None:
    try:
        check_change(before, after, who, ACCOUNTS, "somebody", Departures())
    except PolicyRejected:
        return
    if before.role_of(who) is Role.OWNER:
        return
    assert after.role_of(who) <= before.role_of(who)
    assert (before.add, before.remove) == (after.add, after.remove)
    for account in ACCOUNTS:
        if account != who and max(before.role_of(account), after.role_of(account)) >= Role.ADMIN:
            assert after.role_of(account) == before.role_of(account)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(STATES, STATES)
def test_a_change_made_again_gives_the_same(before: AgreedState, after: AgreedState) -> None:
    change = StateChange.between(before, after)
    assert change.apply(before) == after
    assert bool(change) == (before != after)
    assert not StateChange.between(after, change.apply(after))


def test_anybody_writes_down_who_inherits_a_former_state_and_nothing_else() -> None:
    left = [MEMBER, GUEST]
    inherited = FORMER.upgraded().settled(left)
    assert inherited.owners == [MEMBER]
    check_edit(FORMER, inherited, GUEST, left, "somebody")
    check_change(FORMER, inherited, GUEST, left, "somebody", Departures())
    for after, accounts in (
        (FORMER, left),
        (FORMER.upgraded().with_role(GUEST, Role.OWNER).settled(left), left),
        (StateChange(topic="x").apply(inherited), left),
        (inherited, [ADMIN, *left]),
    ):
        with pytest.raises(PolicyRejected, match="only an admin may change the room"):
            check_edit(FORMER, after, GUEST, accounts, "somebody")
