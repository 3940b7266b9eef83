"""What the devices of an account tell each other of its settings, in the account's own room. Does no I/O.

Each setting is a register: of two values the one with the higher stamp counts, and of equal stamps that of
the higher device key. So devices that have read the same messages, in any order, have the same settings.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError
from clave_wire.framing import DECODE_ERRORS

__all__ = [
    "MAX_STAMP",
    "OWN_SETTINGS",
    "Contact",
    "Purpose",
    "Setting",
    "SettingKind",
    "SettingsMessage",
    "decode_settings",
    "encode_settings",
    "in_messages",
]

OWN_SETTINGS: Final = "application/vnd.clave.own-settings"
"""The media type of a part with settings."""

MAX_STAMP: Final = (1 << 62) - 1

_MOST_VALUE_BYTES: Final = 64 * 1024
_MOST_SUBJECT_BYTES: Final = 1024
_MOST_MESSAGE_BYTES: Final = 48 * 1024
"""A message is closed when its values come to this; the last of them may exceed it."""

_MOST_SETTINGS: Final = 1000
"""Most settings in one message."""


class SettingKind(enum.IntEnum):
    """What a setting is about; its subject is a room's id, an account, or the skeleton of a name.

    READ is the id of the last message shown in a room, DRAFT what was typed there, MUTE until when it rings
    no bell (seconds since 1970 in ASCII), ARCHIVE and RECEIPTS "yes" or nothing, ANSWER "in" or "out", as its
    user has accepted or left. BLOCK and VERIFIED have the account's name, CONTACT a `Contact`. An empty value
    deletes.
    """

    READ = 1
    DRAFT = 2
    MUTE = 3
    ARCHIVE = 4
    RECEIPTS = 5
    BLOCK = 6
    CONTACT = 7
    VERIFIED = 8
    ANSWER = 9


class Contact(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The value of a contact: the account to which a name is pinned.

    `is_decided` says that its user has pinned the name to this account instead of another one.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    account: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    is_decided: bool = False


class Setting(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One setting: `stamp` is when the device `writer` changed it, in ms since 1970, later than before."""

    kind: int
    subject: Annotated[bytes, msgspec.Meta(max_length=_MOST_SUBJECT_BYTES)]
    value: Annotated[bytes, msgspec.Meta(max_length=_MOST_VALUE_BYTES)]
    stamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_STAMP)]
    writer: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return f"<Setting {self.kind!r}, {len(self.value)} bytes>"


class Purpose(enum.IntEnum):
    """Why settings are sent: they changed, or all that the sender has are, to ask for all or as an answer."""

    CHANGE = 0
    ASK = 1
    ANSWER = 2


class SettingsMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Settings as one message of the own room."""

    purpose: Purpose
    settings: Annotated[list[Setting], msgspec.Meta(max_length=_MOST_SETTINGS)]


def in_messages(purpose: Purpose, settings: Iterable[Setting]) -> Iterator[SettingsMessage]:
    """Yield settings as messages; the last one has the purpose, those before only change something."""
    waiting: list[Setting] = []
    size = 0
    for each in settings:
        if size >= _MOST_MESSAGE_BYTES or len(waiting) == _MOST_SETTINGS:
            yield SettingsMessage(Purpose.CHANGE, waiting)
            waiting, size = [], 0
        waiting.append(each)
        size += len(each.subject) + len(each.value) + 64
    yield SettingsMessage(purpose, waiting)


def encode_settings(message: SettingsMessage) -> bytes:
    """Encode a message."""
    return _encoder.encode(message)


def decode_settings(data: bytes) -> SettingsMessage:
    """Parse a message. Raises `PeerError`."""
    try:
        return _decoder.decode(data)
    except DECODE_ERRORS:
        raise PeerError("the settings of a device are malformed") from None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SettingsMessage)
