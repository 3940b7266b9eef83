"""Frames: a big-endian u32 length and a msgpack message. Knows sizes and types, no states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from clave_wire.errors import MisuseError, RemoteError
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import Code, ToClient, ToRelay

__all__ = [
    "DECODE_ERRORS",
    "HEADER_BYTES",
    "FrameBuffer",
    "malformed",
    "pack",
    "to_client",
    "to_relay",
    "unpack_to_client",
]

HEADER_BYTES: Final = 4

_encoder: Final = msgspec.msgpack.Encoder()

to_relay: Final[msgspec.msgpack.Decoder[ToRelay]] = msgspec.msgpack.Decoder(ToRelay)
"""Decodes a frame's body as a client's message."""

to_client: Final[msgspec.msgpack.Decoder[ToClient]] = msgspec.msgpack.Decoder(ToClient)
"""Decodes a frame's body as a relay's message."""

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise for a body that is no such message."""


def pack(message: ToRelay | ToClient, fields: int | None = None) -> bytes:
    """Encode `message`, or only its first `fields` fields, as one frame with its length.

    Raises `MisuseError` if it is larger than `MAX_FRAME`.
    """
    if fields is None:
        body = _encoder.encode(message)
    else:
        body = _encoder.encode((message.__struct_config__.tag, *msgspec.structs.astuple(message)[:fields]))
    if len(body) > MAX_FRAME:
        raise MisuseError(
            f"a {type(message).__name__} of {len(body)} bytes is larger than the {MAX_FRAME} allowed"
        )
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def malformed(error: Exception) -> RemoteError:
    """Return the `RemoteError` for one of `DECODE_ERRORS`."""
    return RemoteError(Code.MALFORMED, f"not a message of this protocol: {error}")


def unpack_to_client(body: bytes | memoryview) -> ToClient:
    """Decode a frame's body as a relay's message. Raises `RemoteError` with `Code.MALFORMED`."""
    try:
        return to_client.decode(body)
    except DECODE_ERRORS as error:
        raise malformed(error) from None


class FrameBuffer:
    """Cuts a byte stream, which comes in pieces of any size, into frame bodies.

    `limit` (bytes of a body) may change between frames. A length above it is refused as soon as its four
    bytes are there, before the body is stored. Each byte is copied a constant number of times.
    """

    __slots__ = ("_partial", "_wanted", "limit", "partial")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.partial = 0
        """Bytes of an unfinished frame."""
        self._partial = bytearray()
        self._wanted = 0

    def cut(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Add `data` and yield the bodies that are complete; iterate to the end before the next call.

        Raises `RemoteError` with `Code.TOO_LARGE` for a frame above `limit`.
        """
        if self.partial:
            self._partial += data
            self.partial = len(self._partial)
            if self.partial < self._wanted:
                return
            data, self._partial, self.partial = self._partial, bytearray(), 0
        stream, start = bytes(data), 0
        size = len(stream)
        while (body := start + HEADER_BYTES) <= size:
            length = int.from_bytes(stream[start:body], "big")
            if length > self.limit:
                raise RemoteError(
                    Code.TOO_LARGE, f"a frame of {length} bytes; at most {self.limit} are taken here"
                )
            end = body + length
            if end > size:
                self._wanted = HEADER_BYTES + length
                break
            yield stream[body:end]
            start = end
        else:
            self._wanted = HEADER_BYTES
        if start < size:
            self._partial += stream[start:]
            self.partial = size - start
