"""The state that a room's members agree on: title, admins, and who may do what. Knows no group.

A private-use GroupContext extension holds it (RFC 9420, section 13.4), so it changes by commits that every
member checks (`rooms.policy`); the relay never sees it.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clave_client.errors import PeerError
from clave_wire.framing import DECODE_ERRORS

__all__ = ["AGREED_STATE_EXTENSION", "MAX_TITLE", "AccountKey", "AgreedState", "Role", "decode_agreed_state"]

AGREED_STATE_EXTENSION = 0xF0C1
"""The extension's type; 0xF000 to 0xFFFF are for private use (RFC 9420, section 17.3)."""

MAX_TITLE = 64

AccountKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Role(enum.IntEnum):
    """Who may do something: every member, or admins only."""

    MEMBER = 1
    ADMIN = 2


class AgreedState(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The agreed state. `admins` are account keys, sorted; `add`, `remove` and `edit` say who may do that."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE)]
    admins: Annotated[list[AccountKey], msgspec.Meta(max_length=1000)]
    add: Role
    remove: Role
    edit: Role

    def encode(self) -> bytes:
        """Return the extension's data."""
        return _encoder.encode(self)

    def allows(self, role: Role, account: bytes) -> bool:
        """Return whether `account` may do what takes `role`."""
        return role is Role.MEMBER or account in self.admins


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AgreedState)


def decode_agreed_state(data: bytes) -> AgreedState:
    """Parse the extension's data. Raises `PeerError` unless it is the canonical encoding of a valid state."""
    try:
        state = _decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"the room's agreed state cannot be read ({error})") from None
    if state.encode() != data or sorted(set(state.admins)) != state.admins:
        raise PeerError("the room's agreed state is not in its one valid form")
    return state
