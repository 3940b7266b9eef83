"""The relay's data folder: private, owned by one process at a time. Knows no file's content."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path
from types import TracebackType
from typing import Final

from clave_server.errors import DataDirInUse, StartError

__all__ = ["CERTIFICATE", "CONTROL", "DATABASE", "NEXT_CERTIFICATE", "DataDir", "is_held", "write_private"]

DATABASE: Final = "relay.db"
CERTIFICATE: Final = "tls.pem"
NEXT_CERTIFICATE: Final = "tls-next.pem"
CONTROL: Final = "control.sock"
"""Names within the folder that are asked for without holding it."""

_LOCK: Final = "lock"


class DataDir:
    """A folder of mode 0700 held under a lock until `close` (or the process ends)."""

    def __init__(self, path: Path) -> None:
        """Open or make the folder at `path` and lock it. Raises `StartError`."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"cannot make the data folder {path}: {error.strerror}") from None
        _check_private(path)
        self._lock = self._take_lock()

    @property
    def database(self) -> Path:
        """Where the log and the directory lie."""
        return self.path / DATABASE

    @property
    def certificate(self) -> Path:
        """Where the TLS key and certificate lie, in one PEM file."""
        return self.path / CERTIFICATE

    @property
    def next_certificate(self) -> Path:
        """Where the certificate announced to follow lies, with its key if the relay made it."""
        return self.path / NEXT_CERTIFICATE

    @property
    def control(self) -> Path:
        """Where the running relay takes its operator's orders."""
        return self.path / CONTROL

    def disk_use(self) -> tuple[int, int]:
        """Return the bytes of the database with its write-ahead log, and those left on its disk."""
        files = (self.database, self.path / f"{DATABASE}-wal")
        return sum(file.stat().st_size for file in files if file.exists()), shutil.disk_usage(self.path).free

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / _LOCK, flags, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        if not _lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            raise DataDirInUse(f"another relay is running on the data folder {self.path}")
        return descriptor


def is_held(path: Path) -> bool:
    """Tell whether a process holds the data folder at `path`, changing nothing in it.

    Raises `StartError` when there is something about it that a relay would not start with.
    """
    _check_private(path)
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if not os.access(path, os.W_OK | os.X_OK):
            raise StartError(f"cannot write in the data folder {path}; run: chmod 700 {path}") from None
        return False
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _check_private(path: Path) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise StartError(f"cannot open the data folder {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise StartError(f"the data folder {path} is a symbolic link; name the folder itself")
    if status.st_uid != os.geteuid():
        raise StartError(f"the data folder {path} belongs to another user; run this as that user")
    if status.st_mode & 0o077:
        raise StartError(f"others can open the data folder {path}; run: chmod 700 {path}")


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwritable(path: Path, error: OSError) -> StartError:
    return StartError(f"cannot write in the data folder {path}: {error.strerror}")


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that it is there in full, across a crash too, or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
