"""The agreed state of rooms that earlier versions of this program can be in: title, admins, who may do what.

It is read for good. A room whose members all know more gets an `AgreedState` with the first change that needs
it.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError
from clave_wire.framing import DECODE_ERRORS

__all__ = [
    "FORMER_STATE_EXTENSION",
    "MAX_TITLE",
    "AccountKey",
    "FormerRole",
    "FormerState",
    "decode_former_state",
]

FORMER_STATE_EXTENSION: Final = 0xF0C1
"""The extension's type; 0xF000 to 0xFFFF are for private use (RFC 9420, section 17.3)."""

MAX_TITLE: Final = 64

AccountKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class FormerRole(enum.IntEnum):
    """Who may do something: every member, or admins only."""

    MEMBER = 1
    ADMIN = 2


class FormerState(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The state. `admins` are account keys, sorted; `add`, `remove` and `edit` say who may do that."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE)]
    admins: Annotated[list[AccountKey], msgspec.Meta(max_length=1000)]
    add: FormerRole
    remove: FormerRole
    edit: FormerRole

    def encode(self) -> bytes:
        """Return the extension's data."""
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FormerState)


def decode_former_state(data: bytes) -> FormerState:
    """Parse the extension's data. Raises `PeerError` unless it is the canonical encoding of a valid state."""
    try:
        state = _decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"the room's agreed state cannot be read ({error})") from None
    if state.encode() != data or sorted(set(state.admins)) != state.admins:
        raise PeerError("the room's agreed state is not in its one valid form")
    return state
