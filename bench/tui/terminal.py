"""A command on a pseudo-terminal that draws whole updates, and when each thing was drawn. Knows no client."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["CTRL_Q", "NotShown", "ScreenTerminal"]

COLUMNS, ROWS = 120, 40

CTRL_Q: Final = b"\x11"

_SYNC_QUERY, _SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
_UPDATE_ENDS: Final = b"\x1b[?2026l"
"""An update is drawn between the two; a terminal says that it knows them when it is asked."""

_PATIENCE_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0
_READ_BYTES: Final = 2**18


class NotShown(Exception):
    """What was waited for was not drawn."""


class ScreenTerminal:
    """A command on a terminal of its own, ended with the context. Times are those of `time.perf_counter`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.started = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self.shown = b""
        self._draws_updates = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Type Ctrl-Q, and kill a process that does not obey."""
        with contextlib.suppress(OSError):
            os.write(self._terminal, CTRL_Q)
        end = time.monotonic() + _END_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            self._read(0.05)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)

    # --- keys and what they show ---

    def press(self, keys: bytes) -> float:
        """Forget what was shown and write keys; return when."""
        self._read(0.0)
        self.shown = b""
        begin = time.perf_counter()
        os.write(self._terminal, keys)
        return begin

    def until(self, pattern: bytes, seconds: float = _PATIENCE_SECONDS) -> float:
        """Return when the update was complete that shows what the regular expression matches.

        Raises `NotShown`.
        """
        found = self._match(pattern, time.monotonic() + seconds)
        while self._draws_updates and self.shown.find(_UPDATE_ENDS, found) < 0:
            if not self._read(_PATIENCE_SECONDS):
                raise NotShown("an update does not end")
        return time.perf_counter()

    def shows(self, pattern: bytes, seconds: float) -> bool:
        """Return whether what matches is drawn within so many seconds."""
        try:
            self.until(pattern, seconds)
        except NotShown:
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Read what is drawn for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def updates(self, seconds: float) -> list[tuple[float, bytes]]:
        """Return what is drawn within so many seconds: each update with when it was complete."""
        found: list[tuple[float, bytes]] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)
            *complete, rest = self.shown.split(_UPDATE_ENDS)
            found += [(time.perf_counter(), update) for update in complete]
            self.shown = rest
        return found

    def settle(self, seconds: float = 0.3) -> None:
        """Read until nothing is drawn for so long."""
        while self._read(seconds):
            pass

    def _match(self, pattern: bytes, end: float) -> int:
        while (found := re.search(pattern, self.shown)) is None:
            left = end - time.monotonic()
            if left <= 0 or (not self._read(left) and self._process.poll() is not None):
                text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b" ", self.shown)[-1500:].decode(errors="replace")
                raise NotShown(f"{pattern!r} was not drawn; the last that was: {text}")
        return found.end()

    def _read(self, seconds: float) -> bool:
        """Read what is on the terminal within `seconds`; return whether there was anything."""
        if not select.select([self._terminal], [], [], max(0.0, seconds))[0]:
            return False
        try:
            read = os.read(self._terminal, _READ_BYTES)
        except OSError:  # the process has ended
            return False
        if _SYNC_QUERY in read:
            self._draws_updates = True
            os.write(self._terminal, _SYNC_ANSWER)
        self.shown += read
        return bool(read)

    # --- the process ---

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def processor_seconds(self) -> float:
        """Return the processor time of all its threads."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory_mib(self) -> tuple[float, float]:
        """Return the resident memory (RSS) and the proportional one (PSS), once it has nothing more to do."""
        used = -1.0
        while (now := self.processor_seconds()) - used > 0.05:
            used = now
            self.wait(1.0)
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        return kib["Rss"] / 1024, kib["Pss"] / 1024
