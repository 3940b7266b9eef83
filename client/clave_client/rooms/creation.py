"""Makes the group of a new room, and checks titles. Knows no relay."""

from __future__ import annotations

from collections.abc import Sequence

from clave_client.errors import UsageError
from clave_client.formats.agreed_state import EXTENSION_TYPES, AgreedState
from clave_client.formats.former_state import MAX_TITLE
from clave_client.rooms.policy import RoomPolicy, is_reserved
from clave_client.store.account import Account, leaf_lifetime
from clave_crypto.mls import CipherSuite, Extension, Group
from clave_wire.text import sanitize

__all__ = ["check_title", "create_group"]


def create_group(
    account: Account,
    room_id: bytes,
    title: str,
    suite: CipherSuite,
    now: float,
    direct: Sequence[bytes] = (),
) -> Group:
    """Return the group of a new room whose only member and admin is `account`.

    A room between the accounts `direct` has no others, ever, and all of them are its owners. Others begin
    with the rules of earlier versions, so that people who have not updated can be invited. Raises
    `UsageError`.
    """
    if direct:
        both = sorted(set(direct))
        state = AgreedState(2, title, owners=both, direct=both)
    else:
        state = AgreedState(1, check_title(title), admins=[account.verified.account])
    extensions = [Extension(*state.extension())]
    not_before, not_after = leaf_lifetime(now)
    return Group.create(
        suite,
        room_id,
        account.identity,
        account.device.secret,
        policy=RoomPolicy(),
        extensions=extensions,
        not_before=not_before,
        not_after=not_after,
        extension_types=EXTENSION_TYPES,
    )


def check_title(title: str) -> str:
    """Return a room's title without surrounding spaces. Raises `UsageError` if it cannot be one."""
    clean = title.strip()
    if not 0 < len(clean) <= MAX_TITLE:
        raise UsageError(f"a room's title has 1 to {MAX_TITLE} characters")
    if sanitize(clean) != clean:
        raise UsageError("a room's title cannot hold control or invisible characters")
    if is_reserved(clean):
        raise UsageError("a title that looks like a room between two people is refused; /dm NAME opens one")
    return clean
