"""Reads lines from a pipe, a file or a terminal without blocking the event loop. Knows no chat."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncIterator
from typing import TextIO

__all__ = ["read_lines"]

_AHEAD = 100
"""Most lines read ahead of the consumer."""


async def read_lines(source: TextIO) -> AsyncIterator[str]:
    """Yield the lines of `source` as they arrive, without line ends.

    A thread reads them, as files and some terminals cannot be awaited; it is a daemon, so a blocked read does
    not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    free = threading.Semaphore(_AHEAD)

    def read() -> None:
        # A RuntimeError means that the loop is closed.
        with contextlib.suppress(RuntimeError):
            try:
                for line in source:
                    free.acquire()
                    loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\r\n"))
            finally:
                loop.call_soon_threadsafe(lines.put_nowait, None)

    if isinstance(source, io.TextIOWrapper):
        source.reconfigure(errors="replace")
    threading.Thread(target=read, name="clave-input", daemon=True).start()
    while (line := await lines.get()) is not None:
        free.release()
        yield line
