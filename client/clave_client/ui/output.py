"""Writes to a pipe or file from a thread: a reader that does not read holds up nobody else.

Knows no text.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading

__all__ = ["Output"]


class Output:
    """What is written to the file descriptor `descriptor`, in order.

    Its thread is a daemon: a blocked write does not keep the process alive.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._written = asyncio.Event()
        self._waiting = 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._write, name="clave-output", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Have `data` written; `flush` waits for it and raises what went wrong."""
        self._waiting += 1
        self._pieces.put(data)

    async def flush(self) -> None:
        """Wait until all is written. Raises `OSError`."""
        while self._waiting and self._error is None:
            self._written.clear()
            await self._written.wait()
        if self._error is not None:
            raise self._error

    async def write(self, data: bytes) -> None:
        """Write `data`. Raises `OSError`."""
        self.put(data)
        await self.flush()

    def _write(self) -> None:
        error: OSError | None = None
        while True:
            data = self._pieces.get()
            try:
                while data and error is None:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as failure:
                error = failure
            try:
                self._loop.call_soon_threadsafe(self._note_written, error)
            except RuntimeError:  # the loop is closed
                return

    def _note_written(self, error: OSError | None) -> None:
        self._waiting -= 1
        self._error = self._error or error
        self._written.set()
