"""What waits to be written to one client: gathered in a tick, then written. Knows frames by length only."""

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
"""Unsent bytes of all together; beyond them whoever has more than an equal share counts as too slow."""

_PIECE_BYTES: Final = 256 * 1024
"""Bytes handed to a client's network at a time. What waits behind them is shared with other readers."""

_TURN_BYTES: Final = 4 * 1024 * 1024
"""Bytes of large outboxes written in one turn of the loop: encrypting them takes some milliseconds."""

_LARGE: Final = 8 * 1024
"""Bytes of a piece that is not worth copying."""


class Tick:
    """The outboxes that have something to write when this tick of the loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._filled: list[SendQueue] = []
        self._large: deque[SendQueue] = deque()
        self._scheduled = False
        self._behind: dict[SendQueue, int] = {}
        self._behind_bytes = 0

    def add(self, send_queue: SendQueue) -> None:
        """Have `send_queue` flushed before the loop waits again."""
        self._filled.append(send_queue)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def behind(self, send_queue: SendQueue, size: int) -> bool:
        """Note that so many bytes of an send_queue are unsent; return whether it takes room from the others."""
        self._behind_bytes += size - self._behind.get(send_queue, 0)
        self._behind[send_queue] = size
        return self._behind_bytes > MAX_UNSENT_BYTES and size * len(self._behind) >= self._behind_bytes

    def kept_up(self, send_queue: SendQueue) -> None:
        """Note that an send_queue is behind no longer."""
        self._behind_bytes -= self._behind.pop(send_queue, 0)

    def _flush(self) -> None:
        """Write what is little at once, and of what is much so much that nobody else waits long."""
        self._scheduled = False
        filled, self._filled = self._filled, []
        for send_queue in filled:
            if send_queue.size <= _PIECE_BYTES:
                send_queue.flush()
            else:
                self._large.append(send_queue)
        written = 0
        while self._large and written < _TURN_BYTES:
            send_queue = self._large.popleft()
            before = send_queue.size
            send_queue.flush()
            written += before - send_queue.size
        if self._large:
            self._schedule()


class SendQueue:
    """One client's outgoing bytes: whole frames, of which the network gets no more than it takes."""

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
        """Whether the client's network keeps up."""
        return self._writable

    def pause(self) -> None:
        """Take note that the network does not keep up."""
        self._writable = False

    def resume(self) -> None:
        """Take note that the network keeps up again, and go on with what waits."""
        self._writable = True
        self._tick.kept_up(self)
        self._wake()

    @property
    def size(self) -> int:
        """Bytes pushed that the network was not given yet."""
        return self._size

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the network did not take yet."""
        return self._size + self._transport.get_write_buffer_size()

    def push(self, data: bytes) -> None:
        """Write whole frames with everything else pushed during this tick, in the order pushed."""
        if not self._closed:
            self._parts.append(data)
            self._size += len(data)
            self._wake()

    def push_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Push several pieces, each of whole frames. Large ones are not copied."""
        if not self._closed:
            self._parts += parts
            self._size += sum(map(len, parts))
            self._wake()

    def _wake(self) -> None:
        if self._parts and not self._ticking:
            self._ticking = True
            self._tick.add(self)

    def flush(self) -> None:
        """Write now what was pushed, or as much of it as the network takes."""
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
            if self._tick.behind(self, buffered) or self._size + buffered > self._limit:
                self._overflow()

    def _write(self, parts: list[bytes | memoryview]) -> None:
        if len(parts) == 1:
            self._transport.write(parts[0])
        elif parts:
            self._transport.writelines(_gather(parts))

    def _cut(self) -> list[bytes | memoryview]:
        """Take whole frames of about `_PIECE_BYTES` from the front: what the network has is never shared."""
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
        """Write what was pushed, unless the network does not keep up, and `last`; then close."""
        if not self._closed:
            self._closed = True
            parts, self._parts, self._size = self._parts, [], 0
            if not self._writable:
                parts.clear()
            parts.append(last)
            self._write(parts)
            self._tick.kept_up(self)
            self._transport.close()

    def discard(self) -> None:
        """Forget what was pushed: there is nobody to read it."""
        self._closed = True
        self._parts, self._size = [], 0
        self._tick.kept_up(self)


def _frames_end(part: memoryview) -> int:
    """Return where the frame ends that `_PIECE_BYTES` of `part` reach into."""
    end = 0
    while end < min(_PIECE_BYTES, len(part)):
        end += HEADER_BYTES + int.from_bytes(part[end : end + HEADER_BYTES], "big")
    return end


def _gather(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Join neighbours that are small, as each piece written costs as much as copying some kilobytes."""
    gathered: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < _LARGE:
            small.append(part)
            continue
        if small:
            gathered.append(b"".join(small))
            small = []
        gathered.append(part)
    if small:
        gathered.append(b"".join(small))
    return gathered
