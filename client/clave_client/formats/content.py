"""The plaintext of an application message, which MLS encrypts. Knows no keys and no display rules.

A content is one msgpack array. MLS signs its id, so a message that the relay repeats is recognised.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clave_client.errors import PeerError

__all__ = [
    "MAX_BODY_BYTES",
    "Content",
    "ContentKind",
    "decode_content",
    "decode_legacy_content",
    "encode_content",
]

MAX_BODY_BYTES = 64 * 1024
"""Most UTF-8 bytes of a message's text."""

MessageId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


Moment = Annotated[int, msgspec.Meta(ge=0, le=253_370_764_800_000)]
"""Milliseconds since 1970, up to what calendars can show (the year 9999)."""


class ContentKind(enum.IntEnum):
    """The kind of a content: a text, or the note that an invited member accepted."""

    TEXT = 1
    JOINED = 2


class Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One application message.

    `sent_at` is in milliseconds since 1970, by the sender's clock. `reply_to` is another message's id, or
    empty.
    """

    id: MessageId
    kind: ContentKind
    body: Annotated[str, msgspec.Meta(max_length=MAX_BODY_BYTES)]
    reply_to: Annotated[bytes, msgspec.Meta(max_length=16)]
    sent_at: Moment

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}, {len(self.body)} characters>"


class _LegacyContent(Content, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A content of protocol 3, which holds what its sender had seen of the log."""

    seen: tuple[int, bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Content)
_legacy_decoder = msgspec.msgpack.Decoder(_LegacyContent)


def encode_content(content: Content) -> bytes:
    """Encode a content for MLS to encrypt."""
    return _encoder.encode(content)


def decode_content(data: bytes) -> Content:
    """Parse what MLS decrypted. Raises `PeerError` when this version cannot read it."""
    return _decode(_decoder, data)


def decode_legacy_content(data: bytes) -> Content:
    """Parse what MLS decrypted of an entry of protocol 3. Raises `PeerError`."""
    return _decode(_legacy_decoder, data)


def _decode(
    decoder: msgspec.msgpack.Decoder[Content] | msgspec.msgpack.Decoder[_LegacyContent], data: bytes
) -> Content:
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise PeerError(f"a member sent a message this version cannot read ({error})") from None
