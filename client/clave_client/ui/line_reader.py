"""Lines from a pipe, a file or a terminal, read without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncIterator
from typing import TextIO

__all__ = ["read_lines"]

_AHEAD = 100
"""Lines read before the reader waits for the one who uses them."""


async def read_lines(source: TextIO) -> AsyncIterator[str]:
    """Yield the lines of `source` as they come, without their line ends.

    A thread of its own reads, since neither files nor all terminals can be awaited; it is a daemon, so that a
    read that never returns does not keep the program.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def read() -> None:
        # A RuntimeError means that the loop is closed: nobody reads any more.
        with contextlib.suppress(RuntimeError):
            try:
                for line in source:
                    room.acquire()
                    loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\r\n"))
            finally:
                loop.call_soon_threadsafe(lines.put_nowait, None)

    if isinstance(source, io.TextIOWrapper):
        source.reconfigure(errors="replace")
    threading.Thread(target=read, name="clave-input", daemon=True).start()
    while (line := await lines.get()) is not None:
        room.release()
        yield line
