"""MLS Wire Formats (RFC 9420, section 17.2): the numbers that tell messages apart."""

from __future__ import annotations

from clave_crypto.codec import Enum16

__all__ = ["WireFormat"]


class WireFormat(Enum16):
    """What an MLSMessage holds."""

    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5
