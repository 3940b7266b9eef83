"""A program on a terminal that a test can look at and type into."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pyte

from scenarios.stage import TIMEOUT

ROWS, COLUMNS = 40, 100

MODES_OF_A_SHELL = frozenset({"25", "7"})
"""What is on where a shell prompts: the cursor, and wrapping; no mouse, paste marks or second screen."""

_MODES = re.compile(rb"\x1b\[\?([0-9;]+)([hl])|\x1b\[([<>])[0-9]*u")
_KEYS = re.compile(rb"\x1b\[[<>=]?[0-9]*u")
"""How keys are to be reported: the emulator does not know that."""

_SECOND_SCREEN = re.compile(rb"(\x1b\[\?1049[hl])")
_LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""Runs a program with the terminal as its controlling one, as a terminal emulator does."""


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
        self._is_open = True
        self._first_screen: Any = None

    async def start(self, *words: str, environment: dict[str, str], controls: bool = False) -> None:
        """Run a program, the first of `words`; `controls` has signals of the terminal reach it."""
        asyncio.get_running_loop().add_reader(self._master, self._read)
        if controls:
            words = (sys.executable, "-S", "-c", _LOGIN, *words)
        self._process = await asyncio.create_subprocess_exec(
            *words,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            start_new_session=not controls,
        )

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            data = os.read(self._master, 65536)
            self.written += data
            before, *after = data.split(b"\x1b[6n")
            self._draw(before)
            for piece in after:
                # A program asks where the cursor is; a terminal answers from where it stands just then.
                row, column = self.screen.cursor.y + 1, self.screen.cursor.x + 1
                os.write(self._master, f"\x1b[{row};{column}R".encode())
                self._draw(piece)
            self._news.set()

    def _draw(self, data: bytes) -> None:
        """Have the emulator take `data`; it knows no second screen, which this gives it."""
        for piece in _SECOND_SCREEN.split(_KEYS.sub(b"", data)):
            if piece == b"\x1b[?1049h":
                self._first_screen = copy.deepcopy(self.screen.buffer)
                self.screen.erase_in_display(2)
            elif piece == b"\x1b[?1049l" and self._first_screen is not None:
                self.screen.buffer, self._first_screen = self._first_screen, None
            else:
                self._stream.feed(piece)

    @property
    def text(self) -> str:
        # Not `display`, which fails when half of a wide character was written over.
        columns, rows = range(self.screen.columns), range(self.screen.lines)
        lines = ("".join(self.screen.buffer[row][column].data for column in columns) for row in rows)
        return "\n".join(line.rstrip() for line in lines).rstrip()

    @property
    def line_of_cursor(self) -> int:
        return int(self.screen.cursor.y)

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

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, and tell the program."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.send(signal.SIGWINCH)

    @property
    def attributes(self) -> list[Any]:
        """How the system treats what is typed and written, as of `termios`."""
        return termios.tcgetattr(self._slave)

    @property
    def modes(self) -> set[str]:
        """The private modes that are on, by number, and "keys" if keys are reported in another way."""
        found, keys = set(MODES_OF_A_SHELL), 0
        for numbers, switch, change in _MODES.findall(self.written):
            if change:
                keys += 1 if change == b">" else -1
            for number in filter(None, numbers.decode().split(";")):
                (found.add if switch == b"h" else found.discard)(number)
        return found | ({"keys"} if keys else set())

    def hang_up(self) -> None:
        """Tell the program that its terminal is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), TIMEOUT)

    def close_window(self) -> None:
        """Go away, as a terminal whose window is closed: the system hangs up."""
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._slave)
            os.close(self._master)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self.close_window()


@asynccontextmanager
async def terminal(*words: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run `python WORDS` on a terminal of its own."""
    opened = Terminal()
    await opened.start(sys.executable, *words, environment=environment)
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def controlled_terminal(*words: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run the program at the path `words[0]` on a terminal that controls it, as an emulator does."""
    opened = Terminal()
    await opened.start(*words, environment=environment, controls=True)
    try:
        yield opened
    finally:
        await opened.close()
