"""A program on a terminal that a test can look at and type into."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pyte

from scenarios.stage import TIMEOUT

ROWS, COLUMNS = 40, 100


class Terminal:
    """A pseudo-terminal, its screen as a person sees it, and all bytes that were written to it."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.written = b""
        self._stream = pyte.ByteStream(self.screen)
        self._news = asyncio.Event()
        self._master, self._slave = os.openpty()
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)
        os.set_blocking(self._master, False)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *words: str, environment: dict[str, str]) -> None:
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            data = os.read(self._master, 65536)
            self.written += data
            before, *after = data.split(b"\x1b[6n")
            self._stream.feed(before)
            for piece in after:
                # A program asks where the cursor is; a terminal answers from where it stands just then.
                row, column = self.screen.cursor.y + 1, self.screen.cursor.x + 1
                os.write(self._master, f"\x1b[{row};{column}R".encode())
                self._stream.feed(piece)
            self._news.set()

    @property
    def text(self) -> str:
        # Not `display`, which fails when half of a wide character was written over.
        columns, rows = range(self.screen.columns), range(self.screen.lines)
        lines = ("".join(self.screen.buffer[row][column].data for column in columns) for row in rows)
        return "\n".join(line.rstrip() for line in lines).rstrip()

    async def shows(self, text: str) -> None:
        """Wait until `text` stands on the screen."""
        await self.until(lambda: text in self.text, f"{text!r}")

    async def until(self, condition: Callable[[], bool], what: str = "what fits") -> None:
        """Wait until what stands on the screen fits."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} never showed on:\n{self.text}") from None

    async def prompts(self, prompt: str) -> None:
        """Wait until nothing but a fresh `prompt` stands on the last line."""
        await self.until(lambda: self.text.splitlines()[-1:] == [prompt], f"the prompt {prompt!r}")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def enter(self, line: str) -> None:
        """Type a line, see it on the screen, and send it."""
        self.press(line)
        await self.shows(f"> {line}")
        self.press("\r")

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def hang_up(self) -> None:
        """Tell the program that its terminal is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), TIMEOUT)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)


@asynccontextmanager
async def terminal(*words: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run `python WORDS` on a terminal of its own."""
    opened = Terminal()
    await opened.start(*words, environment=environment)
    try:
        yield opened
    finally:
        await opened.close()
