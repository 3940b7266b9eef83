"""Where lines are written to: a standard stream, or a file that can be opened anew after it was renamed.

Knows no lines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
from pathlib import Path
from typing import Final

from clave_server.errors import StartError

__all__ = ["LineOutput"]

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


class LineOutput:
    """A descriptor to append to; with a `path`, `reopen` replaces it by the file that is there now.

    Always appends, so that a file that another program truncates goes on at its new end.
    """

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = 0
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    @classmethod
    def open(cls, path: Path) -> LineOutput:
        """Open or make the file at `path`, of mode 0600. Raises `StartError`."""
        try:
            return cls(os.open(path, _FLAGS, 0o600), path)
        except OSError as error:
            raise StartError(f"cannot write to {path}: {error.strerror}") from None

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees what is written."""
        return os.isatty(self._descriptor)

    def write(self, data: memoryview) -> int:
        """Write what can be written, waiting if need be; return how many bytes. Raises `OSError`."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process that shares the pipe made it non-blocking
                writable = select.poll()
                writable.register(self._descriptor, select.POLLOUT)
                writable.poll()

    def note_size(self) -> None:
        """Remember the size, for `was_truncated`."""
        self._size = self._measure()

    def was_truncated(self) -> bool:
        """Return whether the file is shorter than when its size was noted."""
        return self._measure() < self._size

    def reopen(self) -> bool:
        """Open the file anew; return whether that was done. Raises `OSError`; the former file stays open."""
        if self._path is None:
            return False
        fresh = os.open(self._path, _FLAGS, 0o600)
        os.close(self._descriptor)
        self._descriptor = fresh
        return True

    def _measure(self) -> int:
        with contextlib.suppress(OSError):
            return os.fstat(self._descriptor).st_size
        return 0
