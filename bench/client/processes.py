"""Runs commands and measures them: seconds to the end, seconds to a text on a terminal, memory.

Knows no client.
"""

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
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["OnTerminal", "imported_modules", "seconds_to_end"]

_PATIENCE_SECONDS = 10.0
_QUIET_SECONDS = 1.0
"""A process that used no processor time for so long has done what it does at its start."""


def seconds_to_end(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return how long a command takes. Raises `CalledProcessError` when it fails."""
    begin = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - begin


class OnTerminal:
    """A command on a terminal of its own, ended with the context. `seconds` is how long it took to be ready.

    It is ready when what the regular expression `text` matches is on the terminal; `seconds` is None if it
    ended before.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], text: str) -> None:
        self._terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        begin = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self.shown = b""
        self.seconds = time.perf_counter() - begin if self._read_until(text.encode()) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Type `exit`, and kill a process that does not obey."""
        with contextlib.suppress(OSError):
            os.write(self._terminal, b"exit\r")
        while self._read(_PATIENCE_SECONDS):
            pass
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_SECONDS)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._terminal)

    def settled_mib(self) -> float:
        """Return the resident memory in MiB, once the process does nothing more."""
        used, since = self._processor_ticks(), time.monotonic()
        while time.monotonic() - since < _QUIET_SECONDS:
            self._read(0.1)
            if (now := self._processor_ticks()) > used:
                used, since = now, time.monotonic()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def echo_seconds(self, character: str) -> float | None:
        """Type a character, delete it once it is shown, and return how long that took; None if it is not."""
        self._read(0.0)
        self.shown = b""
        begin = time.perf_counter()
        os.write(self._terminal, character.encode())
        if not self._read_until(re.escape(character).encode()):
            return None
        seconds = time.perf_counter() - begin
        os.write(self._terminal, b"\x7f")
        return seconds

    def _processor_ticks(self) -> int:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def _read_until(self, text: bytes) -> bool:
        while re.search(text, self.shown) is None:
            if not self._read(_PATIENCE_SECONDS):
                return False
        return True

    def _read(self, seconds: float) -> bool:
        """Read what is on the terminal within `seconds`; return whether there was anything."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            read = os.read(self._terminal, 2**16)
        except OSError:  # the last process with the terminal has ended
            return False
        self.shown += read
        return bool(read)


def imported_modules(command: Sequence[str], environment: Mapping[str, str], text: str) -> list[str]:
    """Return the modules that a Python command on a terminal has imported once `text` is shown."""
    if command[0] != sys.executable:
        raise ValueError("a Python command begins with the interpreter")
    with OnTerminal([command[0], "-X", "importtime", *command[1:]], environment, text) as process:
        lines = process.shown.partition(text.encode())[0].decode(errors="replace").splitlines()
    return [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")][1:]
