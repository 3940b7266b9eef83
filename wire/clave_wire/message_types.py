"""What messages between client and relay are made of: types of fields, kinds of entries, codes of refusals.

Knows no message.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clave_wire.limits import (
    MAX_BATCH_MEMBERS,
    MAX_IDENTITY_BYTES,
    MAX_KEY_PACKAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_PASSED_BYTES,
    MAX_TEXT_BYTES,
)

__all__ = [
    "Code",
    "Count",
    "Device",
    "Devices",
    "Digest",
    "Identity",
    "Incarnation",
    "KeyPackageBytes",
    "Kind",
    "Name",
    "Nonce",
    "PassedBytes",
    "RoomId",
    "Signature",
    "Suite",
    "Text",
    "Version",
    "WireMessage",
]

Device = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
RoomId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Incarnation = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_BYTES)]
Identity = Annotated[bytes, msgspec.Meta(max_length=MAX_IDENTITY_BYTES)]
KeyPackageBytes = Annotated[bytes, msgspec.Meta(max_length=MAX_KEY_PACKAGE_BYTES)]
PassedBytes = Annotated[bytes, msgspec.Meta(max_length=MAX_PASSED_BYTES)]
Devices = Annotated[list[Device], msgspec.Meta(max_length=MAX_BATCH_MEMBERS)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Version = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
Suite = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]


class Kind(enum.IntEnum):
    """The kind of an entry. The first three are MLS content types too (RFC 9420, section 6).

    A `PROPOSAL` is its sender's leaving. A `COMMIT` has no path and begins an epoch at once. A `REKEY` is a
    commit with a path; its epoch begins when another account's `CONFIRM` names it. `LOST` says that its
    sender cannot follow the group, and `GROUP_INFO` lets such a device rejoin.
    """

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3
    REKEY = 4
    CONFIRM = 5
    LOST = 6
    GROUP_INFO = 7


class Code(enum.StrEnum):
    """Why the relay refused something. Clients act on the code and show the text."""

    # About the connection, which the relay then closes.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNEXPECTED = "unexpected"
    VERSION = "version"
    TIMEOUT = "timeout"
    FULL = "full"
    SLOW = "slow"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"
    # About a login or a registration.
    BAD_LOGIN = "bad-login"
    BANNED = "banned"
    BAD_NAME = "bad-name"
    NAME_TAKEN = "name-taken"
    NAME_CONFUSABLE = "name-confusable"
    CLOSED = "registration-closed"
    TOKEN = "token"  # noqa: S105  (a code, not a password)
    DEVICE_REMOVED = "device-removed"
    # About a request.
    NO_SUCH_NAME = "no-such-name"
    NO_KEY_PACKAGE = "no-key-package"
    NO_SUCH_ROOM = "no-such-room"
    NOT_MEMBER = "not-member"
    ROOM_EXISTS = "room-exists"
    STALE = "stale"
    OUT_OF_ORDER = "out-of-order"
    RENUMBER = "renumber"
    PACE = "pace"
    PRUNED = "pruned"
    BAD_REQUEST = "bad-request"
    LIMIT = "limit"
    NO_SUCH_LINK = "no-such-link"
    LINK_EXPIRED = "link-expired"
    LINK_REVOKED = "link-revoked"
    LINK_USED_UP = "link-used-up"
    STORAGE = "storage"


class WireMessage(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False, kw_only=False
):
    """Base of all messages: an array that begins with the message's number."""
