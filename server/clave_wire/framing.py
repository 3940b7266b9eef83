"""Frames: a u32 big-endian length and a msgpack message. Knows sizes and shapes, not who may say what."""

from __future__ import annotations

from typing import Final

import msgspec

from clave_wire.errors import LocalError, RemoteError
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import Code, ToClient, ToRelay

__all__ = ["HEADER_BYTES", "FrameBuffer", "pack", "unpack_to_client", "unpack_to_relay"]

HEADER_BYTES: Final = 4

_encoder: Final = msgspec.msgpack.Encoder()
_to_relay: Final = msgspec.msgpack.Decoder(ToRelay)
_to_client: Final = msgspec.msgpack.Decoder(ToClient)


def pack(message: ToRelay | ToClient) -> bytes:
    """Encode `message` as one frame, length included.

    Raises `LocalError` if it is larger than any frame may be.
    """
    frame = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, frame, HEADER_BYTES)
    length = len(frame) - HEADER_BYTES
    if length > MAX_FRAME:
        raise LocalError(
            f"a {type(message).__name__} of {length} bytes is larger than the {MAX_FRAME} allowed"
        )
    frame[:HEADER_BYTES] = length.to_bytes(HEADER_BYTES, "big")
    return bytes(frame)


def unpack_to_relay(body: bytes | memoryview) -> ToRelay:
    """Decode a frame's body as a client's message. Raises `RemoteError` with `Code.MALFORMED`."""
    try:
        message: ToRelay = _to_relay.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError(Code.MALFORMED, f"not a message for a relay: {error}") from None
    return message


def unpack_to_client(body: bytes | memoryview) -> ToClient:
    """Decode a frame's body as a relay's message. Raises `RemoteError` with `Code.MALFORMED`."""
    try:
        message: ToClient = _to_client.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError(Code.MALFORMED, f"not a message for a client: {error}") from None
    return message


class FrameBuffer:
    """Cuts a byte stream, in whatever pieces it comes, into frame bodies.

    `limit` (bytes of a body) may change between frames. A length above it is refused as soon as its four
    bytes are there, before any of the body is kept. Each byte is copied a constant number of times.
    """

    __slots__ = ("_pending", "_start", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pending = bytearray()
        self._start = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what arrived; follow with `next` until it returns None."""
        if self._start:
            del self._pending[: self._start]
            self._start = 0
        self._pending += data

    def next(self) -> bytes | None:
        """Return the next complete body, or None if more bytes are needed.

        Raises `RemoteError` with `Code.TOO_LARGE` for a frame above `limit`.
        """
        body_start = self._start + HEADER_BYTES
        if len(self._pending) < body_start:
            return None
        length = int.from_bytes(self._pending[self._start : body_start], "big")
        if length > self.limit:
            raise RemoteError(
                Code.TOO_LARGE, f"a frame of {length} bytes; at most {self.limit} are taken here"
            )
        end = body_start + length
        if len(self._pending) < end:
            return None
        self._start = end
        return bytes(self._pending[body_start:end])

    @property
    def partial(self) -> bool:
        """Whether bytes of an unfinished frame are waiting."""
        return len(self._pending) > self._start
