"""One client's send queue: how much may wait for its socket, and what is written in one tick of the loop.

Knows frames by length only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from clave_wire.framing import HEADER_BYTES

__all__ = ["MAX_SEND_QUEUE_BYTES", "MAX_UNSENT_BYTES", "SendQueue", "Tick"]

MAX_SEND_QUEUE_BYTES: Final = 8 * 1024 * 1024
"""Unsent bytes at which a client counts as too slow."""

MAX_UNSENT_BYTES: Final = 512 * 1024 * 1024
"""Unsent bytes of all clients together, above which a client with more than an equal share is too slow."""

_PIECE_BYTES: Final = 256 * 1024
"""Bytes given to a transport at a time; those that wait behind them are shared with other clients."""

_BYTES_PER_TICK: Final = 4 * 1024 * 1024
"""Bytes of large queues written in one tick: encrypting them takes some milliseconds."""

_LARGE: Final = 8 * 1024
"""Bytes from which a part is not copied."""


class Tick:
    """Flushes the send queues that were filled during one tick of the loop, at its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._filled: list[SendQueue] = []
        self._large: deque[SendQueue] = deque()
        self._scheduled = False
        self._unsent: dict[SendQueue, int] = {}
        self._unsent_bytes = 0

    def add(self, queue: SendQueue) -> None:
        """Flush `queue` before the loop waits again."""
        self._filled.append(queue)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def report_unsent(self, queue: SendQueue, size: int) -> bool:
        """Note the unsent bytes of a client that does not keep up; return whether it has to be dropped."""
        self._unsent_bytes += size - self._unsent.get(queue, 0)
        self._unsent[queue] = size
        return self._unsent_bytes > MAX_UNSENT_BYTES and size * len(self._unsent) >= self._unsent_bytes

    def forget_unsent(self, queue: SendQueue) -> None:
        """Note that a client keeps up again, or that its connection is closed."""
        self._unsent_bytes -= self._unsent.pop(queue, 0)

    def _flush(self) -> None:
        """Flush queues up to 256 KiB now; larger ones in turn, about 4 MiB per tick."""
        self._scheduled = False
        filled, self._filled = self._filled, []
        for queue in filled:
            if queue.size <= _PIECE_BYTES:
                queue.flush()
            else:
                self._large.append(queue)
        written = 0
        while self._large and written < _BYTES_PER_TICK:
            queue = self._large.popleft()
            before = queue.size
            queue.flush()
            written += before - queue.size
        if self._large:
            self._schedule()


class SendQueue:
    """One client's outgoing bytes, in whole frames; its transport gets no more than it takes."""

    __slots__ = (
        "_closed",
        "_limit",
        "_overflow",
        "_parts",
        "_size",
        "_tick",
        "_ticking",
        "_transport",
        "_writable",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        tick: Tick,
        overflow: Callable[[], None],
        limit: int = MAX_SEND_QUEUE_BYTES,
    ) -> None:
        self._writable = True
        self._transport = transport
        self._tick = tick
        self._overflow = overflow
        self._limit = limit
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._ticking = False
        self._closed = False

    @property
    def writable(self) -> bool:
        """Whether the transport takes more bytes."""
        return self._writable

    def pause(self) -> None:
        """Stop writing: the transport's buffer is full."""
        self._writable = False

    def resume(self) -> None:
        """Write again: the transport's buffer has drained."""
        self._writable = True
        self._tick.forget_unsent(self)
        self._schedule()

    @property
    def size(self) -> int:
        """Bytes pushed and not yet given to the transport."""
        return self._size

    @property
    def waiting_bytes(self) -> int:
        """Bytes pushed and not yet taken by the network."""
        return self._size + self._transport.get_write_buffer_size()

    def push(self, data: bytes) -> None:
        """Queue whole frames; everything pushed during one tick is written together, in order."""
        if not self._closed:
            self._parts.append(data)
            self._size += len(data)
            self._schedule()

    def push_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Queue several parts, each of whole frames. Large ones are not copied."""
        if not self._closed:
            self._parts += parts
            self._size += sum(map(len, parts))
            self._schedule()

    def _schedule(self) -> None:
        if self._parts and not self._ticking:
            self._ticking = True
            self._tick.add(self)

    def flush(self) -> None:
        """Write what is queued, as much as the transport takes; call `overflow` if too much is left."""
        self._ticking = False
        if self._closed:
            return
        if self._writable and self._size <= _PIECE_BYTES:
            parts, self._parts, self._size = self._parts, [], 0
            self._write(parts)
        while self._writable and self._parts:
            self._write(self._cut())
        if not self._writable:
            buffered = self._transport.get_write_buffer_size()
            if self._tick.report_unsent(self, buffered) or self._size + buffered > self._limit:
                self._overflow()

    def _write(self, parts: list[bytes | memoryview]) -> None:
        if len(parts) == 1:
            self._transport.write(parts[0])
        elif parts:
            self._transport.writelines(_join_small(parts))

    def _cut(self) -> list[bytes | memoryview]:
        """Take whole frames of about `_PIECE_BYTES` from the front."""
        taken, size = 0, 0
        while taken < len(self._parts) and size + len(self._parts[taken]) <= _PIECE_BYTES:
            size += len(self._parts[taken])
            taken += 1
        piece = self._parts[:taken]
        del self._parts[:taken]
        if not piece:
            part = memoryview(self._parts[0])
            end = _frames_end(part)
            piece, size = [part[:end]], end
            if end < len(part):
                self._parts[0] = part[end:]
            else:
                del self._parts[0]
        self._size -= size
        return piece

    def close(self, last: bytes) -> None:
        """Write what is queued, unless the transport is full, then `last`; close the transport."""
        if not self._closed:
            self._closed = True
            parts, self._parts, self._size = self._parts, [], 0
            if not self._writable:
                parts.clear()
            parts.append(last)
            self._write(parts)
            self._tick.forget_unsent(self)
            self._transport.close()

    def discard(self) -> None:
        """Drop what is queued: the connection is lost."""
        self._closed = True
        self._parts, self._size = [], 0
        self._tick.forget_unsent(self)


def _frames_end(part: memoryview) -> int:
    """Return the end of the frame that byte `_PIECE_BYTES` of `part` lies in."""
    end = 0
    while end < min(_PIECE_BYTES, len(part)):
        end += HEADER_BYTES + int.from_bytes(part[end : end + HEADER_BYTES], "big")
    return end


def _join_small(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Join small neighbours: writing a part of its own costs as much as copying some kilobytes."""
    joined: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < _LARGE:
            small.append(part)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(part)
    if small:
        joined.append(b"".join(small))
    return joined
