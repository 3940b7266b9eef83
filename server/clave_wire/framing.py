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
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise LocalError(
            f"a {type(message).__name__} of {len(body)} bytes is larger than the {MAX_FRAME} allowed"
        )
    return len(body).to_bytes(HEADER_BYTES, "big") + body


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

    __slots__ = ("_data", "_partial", "_start", "_wanted", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = b""
        self._start = 0
        self._partial = bytearray()
        self._wanted = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what arrived, after `next` returned None for what came before."""
        if not self._partial:
            self._data, self._start = bytes(data), 0
            return
        self._partial += data
        if len(self._partial) >= self._wanted:
            self._data, self._start = bytes(self._partial), 0
            self._partial = bytearray()

    def next(self) -> bytes | None:
        """Return the next complete body, or None if more bytes are needed.

        Raises `RemoteError` with `Code.TOO_LARGE` for a frame above `limit`.
        """
        data, body_start = self._data, self._start + HEADER_BYTES
        length = int.from_bytes(data[self._start : body_start], "big")
        end = body_start + length
        if end <= len(data) and length <= self.limit:
            self._start = end
            return data[body_start:end]
        self._keep(length)
        return None

    def _keep(self, length: int) -> None:
        """Put an unfinished frame, whose header says `length` if it is there, aside until all has come."""
        rest = self._data[self._start :]
        if rest:
            self._wanted = HEADER_BYTES
            if len(rest) >= HEADER_BYTES:
                self._wanted += length
                if length > self.limit:
                    raise RemoteError(
                        Code.TOO_LARGE, f"a frame of {length} bytes; at most {self.limit} are taken here"
                    )
            self._partial = bytearray(rest)
            self._data, self._start = b"", 0

    @property
    def partial(self) -> int:
        """How many bytes of an unfinished frame are waiting."""
        return len(self._partial) + len(self._data) - self._start
