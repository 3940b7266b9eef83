"""Writes down a defect for those who can mend it: where in the code, which errors, nothing that was handled.

The texts of errors and the values of variables are left out, as they may hold what is secret.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from clave_host.version import VERSION

__all__ = ["crash_line", "write_crash_report"]

_MAX_CHAIN: Final = 20
"""Errors of one report that led to each other."""


def crash_line(program: str, error: BaseException, folders: Iterable[Path]) -> str:
    """Write a report to the first of `folders` that takes it; return the line that tells of it."""
    kind = type(error).__name__
    path = write_crash_report(program, error, folders)
    mistake = f"a mistake in {program} ({kind})"
    if path is None:
        return f"{mistake}, and a report of it could not be written"
    return f"{mistake}; please pass on the report, which holds no secrets: {path}"


def write_crash_report(program: str, error: BaseException, folders: Iterable[Path]) -> Path | None:
    """Write a report, of mode 0600, to the first of `folders` that takes it, else to the temporary folder.

    Return its path, None if it could not be written. Makes no folder.
    """
    text = "\n".join(_report(program, error)) + "\n"
    name = f"{program}-crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    for folder in folders:
        if _write(folder / name, text):
            return folder / name
    try:
        path = Path(tempfile.gettempdir()) / name  # which looks for one that takes a file
    except OSError:
        return None
    return path if _write(path, text) else None


def _write(path: Path, text: str) -> bool:
    """Write a new file; return whether it is whole, else leave nothing of it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError):
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    return True


def _report(program: str, error: BaseException) -> Iterator[str]:
    yield f"{program} {VERSION}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield f"at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC; texts of errors are left out"
    following: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if following is None:
            return
        yield ""
        yield from _describe(following)
        following = following.__cause__ or following.__context__


def _describe(error: BaseException) -> Iterator[str]:
    number = f", error {error.errno}" if isinstance(error, OSError) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{number}"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions[:_MAX_CHAIN]:
            yield from (f"    {line}" for line in _describe(part))
