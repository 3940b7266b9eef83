"""The rules by which members check a change of the agreed state: who may change what. Knows no group.

All members decide alike, by the state before the change and by who is in the room after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from clave_client.formats.agreed_state import POLICIES, AgreedState, Role
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import PolicyRejected

__all__ = ["Departures", "check_change", "check_edit", "check_removal", "require"]


class Departures(NamedTuple):
    """Whom a commit takes out: whether others removed somebody, how many leavers name a link, by its key."""

    has_removals: bool = False
    uses: Mapping[bytes, int] = {}

    def applied_to(self, state: AgreedState) -> AgreedState:
        """Return what a state becomes by that: who was removed may know all links, so they end."""
        if self.has_removals:
            return msgspec.structs.replace(state, links=[])
        return state.without_uses(self.uses)


def check_change(
    before: AgreedState,
    after: AgreedState,
    account: bytes,
    accounts: Sequence[bytes],
    name: str,
    departures: Departures,
) -> None:
    """Raise `PolicyRejected` unless `account`, called `name`, may make the state `after` of `before`.

    `accounts` are in the room after the change, in the order of their leaves, and `departures` is who no
    longer is; what follows from that, nobody has to be allowed.
    """
    if after.is_former:
        if not before.is_former:
            raise PolicyRejected(f"{name} tried to take the room back to the rules of an earlier version")
        return
    base = before.upgraded()
    settled = departures.applied_to(base).settled(accounts)
    if after.settled(accounts) != after:
        raise PolicyRejected(f"the roles that {name} left do not fit who is in the room")
    if after.direct != base.direct:
        raise PolicyRejected("a room between two people stays one, and no other becomes one")
    rank, change = base.role_of(account), StateChange.between(settled, after)
    if change.title or change.topic is not None or change.expiry >= 0:
        require(base.edit, "change the room", rank, name)
    if change.policies:
        require(Role.OWNER, "say who may do what", rank, name)
    for other, role in change.roles.items():
        _check_role(settled.role_of(other), role, rank, name, is_own=other == account)
    for link in change.links:
        if departures.has_removals:
            raise PolicyRejected(f"{name} made a link while somebody was removed, who may know it")
        if base.find_link(link.key) is not None:
            raise PolicyRejected(f"{name} changed a link, or how many join by it")
        if link.by != account:
            raise PolicyRejected(f"{name} made a link in another's name")
        require(base.link, POLICIES["link"], rank, name)
    if change.ended:
        require(Role.MEMBER, "revoke links", rank, name)
    if change.pinned or change.unpinned:
        require(base.pin, POLICIES["pin"], rank, name)
    if change.banned or change.unbanned:
        require(base.remove, "ban people", rank, name)
    for other in change.banned:
        if other in accounts:
            raise PolicyRejected(f"{name} banned somebody who stays in the room")
        check_removal(base, account, other, lambda _: name)


def check_edit(
    before: AgreedState, after: AgreedState, account: bytes, accounts: Sequence[bytes], name: str
) -> None:
    """Raise `PolicyRejected` if somebody may not change a former state, be it to the same one.

    What becomes of it without any admin in the room, anybody may write down.
    """
    if before.is_former and (after.is_former or after != before.inherited(accounts)):
        require(before.edit, "change the room", before.role_of(account), name)


def check_removal(
    state: AgreedState, account: bytes, removed: bytes, name_of: Callable[[bytes], str]
) -> None:
    """Raise `PolicyRejected` unless the role of `account` lets it remove the devices of `removed`."""
    rank, other = state.role_of(account), state.role_of(removed)
    require(state.remove, POLICIES["remove"], rank, name_of(account))
    if not state.is_former and rank is not Role.OWNER and other >= rank:
        raise PolicyRejected(f"{name_of(account)} is {_a(rank)} and may not remove {_a(other)}")


def _check_role(before: Role, after: Role, rank: Role, name: str, *, is_own: bool) -> None:
    """Raise `PolicyRejected` unless somebody of the role `rank` may make `after` of a role `before`."""
    if rank is Role.OWNER or (is_own and after < before):
        return
    if rank < Role.ADMIN or max(before, after) >= Role.ADMIN:
        raise PolicyRejected(f"{name} is {_a(rank)} and may not make {_a(before)} {_a(after)}")


def require(needed: Role, deed: str, rank: Role, name: str) -> None:
    """Raise `PolicyRejected` unless `name`, of the role `rank`, has the role `needed` for a deed."""
    if rank < needed:
        raise PolicyRejected(f"only {_a(needed)} may {deed} here, and {name} is none")


def _a(role: Role) -> str:
    return f"an {role.word}" if role.word[0] in "ao" else f"a {role.word}"
