"""What a room's members agree on beside the agreed state: when messages disappear, and whom it is between.

A second private-use GroupContext extension holds it, so that a room that has none is like one of earlier
versions. A leaf that lists the extension's type reads MIMI content too. Knows no group.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, AccountKey
from clave_wire.framing import DECODE_ERRORS

__all__ = [
    "EXTENSION_TYPES",
    "MAX_EXPIRY_SECONDS",
    "SETTINGS_EXTENSION",
    "RoomSettings",
    "decode_room_settings",
]

SETTINGS_EXTENSION: Final = 0xF0C2
"""The extension's type; 0xF000 to 0xFFFF are for private use (RFC 9420, section 17.3)."""

EXTENSION_TYPES: Final = (AGREED_STATE_EXTENSION, SETTINGS_EXTENSION)
"""What the leaves of this version list."""

MAX_EXPIRY_SECONDS: Final = 365 * 86_400
"""The longest time after which messages disappear (draft-ietf-mimi-content-08, security considerations)."""


class RoomSettings(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The settings. New messages disappear `expiry` seconds after they were read; 0 for never.

    `direct` are the accounts, sorted, of a room between two people or of one's own notes; empty for others.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    expiry: Annotated[int, msgspec.Meta(ge=0, le=MAX_EXPIRY_SECONDS)] = 0
    direct: Annotated[list[AccountKey], msgspec.Meta(max_length=2)] = []

    def encode(self) -> bytes:
        """Return the extension's data."""
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RoomSettings)


def decode_room_settings(data: bytes) -> RoomSettings:
    """Parse the extension's data. Raises `PeerError` unless it is the one valid form of some."""
    try:
        settings = _decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"the room's settings cannot be read ({error})") from None
    if settings.encode() != data or sorted(set(settings.direct)) != settings.direct:
        raise PeerError("the room's settings are not in their one valid form")
    return settings
