"""A terminal window that tests look at and type into: a pseudo-terminal whose screen pyte draws."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
from pyte.screens import Char, StaticDefaultDict

TIMEOUT = 30.0
CHILD = Path(__file__).with_name("child.py")

_IN_SESSION = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Screen(pyte.HistoryScreen):
    """A screen that keeps what scrolls away, and moves the cursor along when rows are dropped at the top."""

    reflows = False
    """Whether rows that are too long for a narrower window go on in the next row, as in some terminals."""

    def _past(self, cells: list[Char]) -> StaticDefaultDict[int, Char]:
        line = StaticDefaultDict[int, Char](self.default_char)
        line.update(enumerate(cells))
        return line

    def _reflow(self, columns: int) -> None:
        broken: list[list[Char]] = []
        cursor_y = 0
        for y in range(self.lines):
            line = self.buffer[y]
            end = max((x + 1 for x, cell in line.items() if cell.data != " "), default=1)
            if y == self.cursor.y:
                end = max(end, self.cursor.x + 1)
                cursor_y = len(broken) + self.cursor.x // columns
            cells = [line[x] for x in range(end)]
            broken += [cells[start : start + columns] for start in range(0, end, columns)]
        dropped = max(0, cursor_y + 1 - self.lines)
        self.history.top.extend(self._past(row) for row in broken[:dropped])
        self.buffer.clear()
        for y, row in enumerate(broken[dropped : dropped + self.lines]):
            for x, cell in enumerate(row):
                self.buffer[y][x] = cell
        self.cursor.x, self.cursor.y = self.cursor.x % columns, cursor_y - dropped

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        lines, columns = lines or self.lines, columns or self.columns
        if self.reflows and columns < self.columns:
            self._reflow(columns)
        dropped = max(0, self.cursor.y + 1 - lines)
        for _ in range(dropped):
            self.history.top.append(self.buffer[0])
            for row in range(self.lines - 1):
                self.buffer[row] = self.buffer[row + 1]
            self.buffer.pop(self.lines - 1, None)
        for row in range(lines, self.lines):
            self.buffer.pop(row, None)
        for line in self.buffer.values():
            for column in range(columns, self.columns):
                line.pop(column, None)
        self.cursor.y -= dropped
        self.cursor.x = min(self.cursor.x, columns - 1)
        self.lines, self.columns = lines, columns
        self.set_margins()
        self.dirty.update(range(lines))


class Window:
    """Reads what the program writes only in its methods, so a test decides how far the program gets."""

    def __init__(self, words: list[str], columns: int, rows: int, environment: dict[str, str]) -> None:
        self.screen = Screen(columns or 80, rows or 24, history=100_000, ratio=0.5)
        self.written = b""
        self._stream = pyte.ByteStream(self.screen)
        self.master, slave = os.openpty()
        self._set_size(columns, rows)
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_SESSION, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
            start_new_session=True,
        )
        os.close(slave)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size as a window does: what stands there is cut or broken, and the program is told."""
        self.read()
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def resize_and_wait(self, columns: int, rows: int) -> None:
        """Change the size, and read until the program has drawn something."""
        before = len(self.written)
        self.resize(columns, rows)
        self.until(lambda: b"\x1b[J" in self.written[before:], "what is drawn")

    def press(self, keys: str | bytes) -> None:
        """Type, as one write."""
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def read(self, seconds: float = 0.0) -> bool:
        """Read what is there, after waiting so long for it; return whether there was anything."""
        found = False
        while select.select([self.master], [], [], 0.0 if found else seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # nobody has the terminal open any more
                break
            if not data:
                break
            self.written += data
            self._stream.feed(data)
            found = True
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Read until the condition holds."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came on:\n{self.text}"
            self.read(0.05)

    @staticmethod
    def becomes(condition: Callable[[], bool], what: str) -> None:
        """Wait for something other than output, reading none."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came"
            time.sleep(0.01)

    @property
    def rows(self) -> list[str]:
        """The rows of the screen without blanks at their ends, without empty rows at the end."""
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip("\n").split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def everything(self) -> list[str]:
        """All rows, with those that have scrolled away."""
        past = [
            "".join(line[column].data for column in range(max(line, default=0) + 1)).rstrip()
            for line in self.screen.history.top
        ]
        return past + self.rows

    def shows(self, *texts: str) -> None:
        """Read until all of these stand somewhere on the screen."""
        for text in texts:
            self.until(lambda text=text: text in self.text, repr(text))  # type: ignore[misc]

    def ends_with(self, *rows: str) -> None:
        """Read until these are the last rows."""
        self.until(lambda: self.rows[-len(rows) :] == list(rows), repr(rows))

    def prompts(self, text: str = "") -> None:
        """Read until the prompt with this text is the last row."""
        self.ends_with(f"room> {text}".rstrip())

    def send(self, signal_number: int) -> None:
        self.process.send_signal(signal_number)

    def ended(self) -> int:
        """Read until the program has ended; return its status."""
        self.until(lambda: self.process.poll() is not None, "the end")
        self.read()
        return self.process.wait()

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.master)[3] & (termios.ICANON | termios.ECHO)

    @property
    def is_restored(self) -> bool:
        """Whether lines are edited and echoed by the terminal, pastes unmarked, and the cursor is shown."""
        flags = termios.ICANON | termios.ECHO | termios.ISIG
        return (
            termios.tcgetattr(self.master)[3] & flags == flags
            and self.written.rfind(b"\x1b[?2004l") > self.written.rfind(b"\x1b[?2004h")
            and self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        )

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)


@contextmanager
def window(
    *words: str, columns: int = 80, rows: int = 24, prompted: bool = True, **environment: str
) -> Iterator[Window]:
    """Run `words`, or the program of child.py, in a window."""
    opened = Window([*words] or [sys.executable, str(CHILD)], columns, rows, environment)
    try:
        if prompted:
            opened.prompts()
        yield opened
        assert b"\x1b[6n" not in opened.written, "nobody asks where the cursor is"
        assert b"Traceback" not in opened.written
    finally:
        opened.close()
