"""How a command ends: with its output written, or with one line on standard error that says why not.

Knows no command. A closed or full standard output is an error, text that the locale cannot write is escaped,
and a defect is reported to a file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

__all__ = ["DEFECT", "OutputFailed", "run_program"]

DEFECT: Final = 70
"""The exit status of a defect (EX_SOFTWARE of sysexits.h)."""


class OutputFailed(OSError):
    """What was to be printed could not be written to standard output."""


def run_program(
    name: str, command: Callable[[], object], report_folders: Iterable[Path], *, prefix: str = "Error: "
) -> NoReturn:
    """Run a command and exit with its status; `report_folders` may change until it has ended.

    Its own lines begin with `prefix`.

    A command that raises `SystemExit` ends with that status, any other error with a line and no traceback.
    """
    _prepare_streams()
    try:
        status = _run(command)
    except OutputFailed as error:
        if error.errno != errno.EPIPE:  # who closed a pipe knows
            _say(f"{prefix}cannot write to standard output: {error.strerror}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    except Exception as error:  # noqa: BLE001  (a defect: reported)
        from clave_host.crash_report import crash_line

        _say(f"{prefix}{crash_line(name, error, report_folders)}")
        status = DEFECT
    raise SystemExit(status)


def _run(command: Callable[[], object]) -> object:
    """Return the status that a command exits with, once its output is written."""
    try:
        command()
    except SystemExit as ended:
        sys.stdout.flush()
        return ended.code
    sys.stdout.flush()
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _prepare_streams() -> None:
    """Have failed output raise `OutputFailed`, once, and have no file opened under a standard number."""
    closed = {number for number in range(3) if not _is_open(number)}
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdout = _text(_Output(1, OSError(errno.EBADF, "it is closed") if 1 in closed else None), sys.stdout)
    sys.stderr = _text(_Complaints(2, "wb", closefd=False), sys.stderr)


def _text(output: io.FileIO, former: TextIO | None) -> TextIO:
    """Return a text stream in the encoding of `former`, which is None if that was closed from the start."""
    encoding = "utf-8" if former is None else former.encoding
    line_buffering = output.name == 2 or output.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(output), encoding, "backslashreplace", line_buffering=line_buffering
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _write(write: Callable[[Any], int | None], number: int, data: Any) -> int:
    """Write what can be written to descriptor `number`, waiting if need be; return how many bytes."""
    while (written := write(data)) is None:  # another process that shares it made it non-blocking
        writable = select.poll()
        writable.register(number, select.POLLOUT)
        writable.poll()
    return written


class _Output(io.FileIO):
    """Standard output, whose first failure raises `OutputFailed`; what follows is dropped."""

    def __init__(self, number: int, fault: OSError | None) -> None:
        super().__init__(number, "wb", closefd=False)
        self._fault = fault
        self._failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            if self._fault is not None:
                raise self._fault
            return _write(super().write, self.fileno(), data)
        except OSError as error:
            self._failed = True
            raise OutputFailed(error.errno, error.strerror) from None


class _Complaints(io.FileIO):
    """Standard error, whose failures nobody could be told of."""

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            return _write(super().write, self.fileno(), data)
        return len(data)
