"""What waits to be written to one client: gathered during a tick, then written. Knows bytes only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

__all__ = ["MAX_BEHIND_BYTES", "MAX_OUTBOX_BYTES", "Outbox", "Tick"]

MAX_OUTBOX_BYTES: Final = 8 * 1024 * 1024
"""Unsent bytes at which a client counts as too slow."""

MAX_BEHIND_BYTES: Final = 512 * 1024 * 1024
"""Unsent bytes of all together; beyond them whoever has more than an equal share counts as too slow."""

_LARGE: Final = 8 * 1024
"""Bytes of a piece that is not worth copying."""


class Tick:
    """The outboxes that have something to write when this tick of the loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._filled: list[Outbox] = []
        self._behind: dict[Outbox, int] = {}
        self._behind_bytes = 0

    def add(self, outbox: Outbox) -> None:
        """Have `outbox` flushed before the loop waits again."""
        if not self._filled:
            self._loop.call_soon(self._flush)
        self._filled.append(outbox)

    def behind(self, outbox: Outbox, size: int) -> bool:
        """Note that so many bytes of an outbox are unsent; return whether it takes room from the others."""
        self._behind_bytes += size - self._behind.get(outbox, 0)
        self._behind[outbox] = size
        return self._behind_bytes > MAX_BEHIND_BYTES and size * len(self._behind) >= self._behind_bytes

    def kept_up(self, outbox: Outbox) -> None:
        """Note that an outbox is behind no longer."""
        self._behind_bytes -= self._behind.pop(outbox, 0)

    def _flush(self) -> None:
        filled, self._filled = self._filled, []
        for outbox in filled:
            outbox.flush()


class Outbox:
    """One client's outgoing bytes."""

    __slots__ = ("_closed", "_limit", "_overflow", "_parts", "_tick", "_transport", "_writable")

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        tick: Tick,
        overflow: Callable[[], None],
        limit: int = MAX_OUTBOX_BYTES,
    ) -> None:
        self._writable = True
        self._transport = transport
        self._tick = tick
        self._overflow = overflow
        self._limit = limit
        self._parts: list[bytes | memoryview] = []
        self._closed = False

    @property
    def writable(self) -> bool:
        """Whether the client's network keeps up."""
        return self._writable

    def pause(self) -> None:
        """Take note that the network does not keep up."""
        self._writable = False

    def resume(self) -> None:
        """Take note that the network keeps up again."""
        self._writable = True
        self._tick.kept_up(self)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the network did not take yet."""
        return self._transport.get_write_buffer_size()

    def push(self, data: bytes) -> None:
        """Write `data` with everything else pushed during this tick, in the order pushed."""
        if not self._parts:
            if self._closed:
                return
            self._tick.add(self)
        self._parts.append(data)

    def push_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """Push several pieces. Those of `_LARGE` bytes and more are written as they are, without copying."""
        if not self._parts:
            if self._closed:
                return
            self._tick.add(self)
        self._parts += parts

    def flush(self) -> None:
        """Write now what was pushed."""
        parts, self._parts = self._parts, []
        if self._closed or not parts:
            return
        if len(parts) == 1:
            self._transport.write(parts[0])
        else:
            self._transport.writelines(_gather(parts))
        if not self._writable:
            size = self._transport.get_write_buffer_size()
            if self._tick.behind(self, size) or size > self._limit:
                self._overflow()

    def close(self, last: bytes) -> None:
        """Write what was pushed and `last`, then close; nothing can be pushed any more."""
        if not self._closed:
            self._parts.append(last)
            self._closed = True
            self._transport.write(b"".join(self._parts))
            self._parts = []
            self._tick.kept_up(self)
            self._transport.close()

    def discard(self) -> None:
        """Forget what was pushed: there is nobody to read it."""
        self._closed = True
        self._parts = []
        self._tick.kept_up(self)


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
