"""Makes the group of a new room, and checks titles. Knows no relay."""

from __future__ import annotations

from clave_client.errors import UsageError
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, MAX_TITLE, AgreedState, Role
from clave_client.rooms.policy import RoomPolicy
from clave_client.store.account import Account, leaf_lifetime
from clave_crypto.mls import CipherSuite, Extension, Group
from clave_wire.text import sanitize

__all__ = ["check_title", "create_group"]


def create_group(account: Account, room_id: bytes, title: str, suite: CipherSuite, now: float) -> Group:
    """Return the group of a new room whose only member and admin is `account`. Raises `UsageError`."""
    state = AgreedState(
        1, check_title(title), [account.verified.account], Role.MEMBER, Role.ADMIN, Role.ADMIN
    )
    not_before, not_after = leaf_lifetime(now)
    return Group.create(
        suite,
        room_id,
        account.identity,
        account.device.secret,
        policy=RoomPolicy(),
        extensions=(Extension(AGREED_STATE_EXTENSION, state.encode()),),
        not_before=not_before,
        not_after=not_after,
        extension_types=(AGREED_STATE_EXTENSION,),
    )


def check_title(title: str) -> str:
    """Return a room's title without surrounding spaces. Raises `UsageError` if it cannot be one."""
    clean = title.strip()
    if not 0 < len(clean) <= MAX_TITLE:
        raise UsageError(f"a room's title has 1 to {MAX_TITLE} characters")
    if sanitize(clean) != clean:
        raise UsageError("a room's title cannot hold control or invisible characters")
    return clean
