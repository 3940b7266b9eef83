"""The content of messages up to version 5 of the protocol, which MLS encrypts. Knows no keys.

It is one msgpack array. It is read for good, and written in rooms with a member that reads no other.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clave_client.errors import PeerError
from clave_wire.framing import DECODE_ERRORS

__all__ = [
    "MAX_BODY_BYTES",
    "FormerContent",
    "FormerKind",
    "decode_former",
    "decode_protocol_3",
    "encode_former",
]

MAX_BODY_BYTES = 64 * 1024
"""Most UTF-8 bytes of a message's text."""

MessageId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


Moment = Annotated[int, msgspec.Meta(ge=0, le=253_370_764_800_000)]
"""Milliseconds since 1970, up to what calendars can show (the year 9999)."""


class FormerKind(enum.IntEnum):
    """The kind of a content: a text, or the note that an invited member accepted."""

    TEXT = 1
    JOINED = 2


class FormerContent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One application message.

    `sent_at` is in milliseconds since 1970, by the sender's clock. `reply_to` is another message's id, or
    empty.
    """

    id: MessageId
    kind: FormerKind
    body: Annotated[str, msgspec.Meta(max_length=MAX_BODY_BYTES)]
    reply_to: Annotated[bytes, msgspec.Meta(max_length=16)]
    sent_at: Moment

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}, {len(self.body)} characters>"


class _ContentOf3(FormerContent, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A content of protocol 3, which holds what its sender had seen of the log."""

    seen: tuple[int, bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FormerContent)
_decoder_of_3 = msgspec.msgpack.Decoder(_ContentOf3)


def encode_former(content: FormerContent) -> bytes:
    """Encode a content for MLS to encrypt."""
    return _encoder.encode(content)


def decode_former(data: bytes) -> FormerContent:
    """Parse what MLS decrypted. Raises `PeerError` when this version cannot read it."""
    return _decode(_decoder, data)


def decode_protocol_3(data: bytes) -> FormerContent:
    """Parse what MLS decrypted of an entry of protocol 3. Raises `PeerError`."""
    return _decode(_decoder_of_3, data)


def _decode(
    decoder: msgspec.msgpack.Decoder[FormerContent] | msgspec.msgpack.Decoder[_ContentOf3], data: bytes
) -> FormerContent:
    try:
        return decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"a member sent a message this version cannot read ({error})") from None
