"""Reads lines of bytes from a pipe or a file without blocking the event loop, in bounded memory.

Knows no chat.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import threading
from collections.abc import AsyncIterator

from clave_client.rpc.jsonrpc import LineSplitter

__all__ = ["read_byte_lines"]

_READ_BYTES = 64 * 1024
_AHEAD = 4
"""Most pieces read ahead of the consumer."""


async def read_byte_lines(source: int, most: int) -> AsyncIterator[bytes | None]:
    """Yield the lines of the file descriptor `source`, without line ends; None for one over `most` bytes.

    The mark that some editors put before the first line is left out.
    A thread reads them, as files and some terminals cannot be awaited; it is a daemon, so a blocked read does
    not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    free = threading.Semaphore(_AHEAD)

    def read() -> None:
        piece = b" "
        # A RuntimeError means that the loop is closed, an OSError that the input is gone.
        with contextlib.suppress(RuntimeError):
            while piece:
                free.acquire()
                try:
                    piece = os.read(source, _READ_BYTES)
                except OSError:
                    piece = b""
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

    threading.Thread(target=read, name="clave-input", daemon=True).start()
    lines = LineSplitter(most)
    mark = codecs.BOM_UTF8
    while piece := await pieces.get():
        for line in lines.feed(piece):
            yield line if line is None else line.removeprefix(mark).removesuffix(b"\r")
            mark = b""
        free.release()
    for line in lines.feed(b"\n"):
        if line is None or line.removeprefix(mark):
            yield line if line is None else line.removeprefix(mark)
