"""The relay's data folder: private, locked by one process at a time. Knows no file's content."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final

from clave_host.private_files import FolderFault, find_fault, is_locked, take_lock
from clave_server.errors import DataDirInUse, StartError

__all__ = ["CERTIFICATE", "CONTROL", "DATABASE", "NEXT_CERTIFICATE", "DataDir", "is_held"]

DATABASE: Final = "relay.db"
CERTIFICATE: Final = "tls.pem"
NEXT_CERTIFICATE: Final = "tls-next.pem"
CONTROL: Final = "control.sock"
"""File names in the data folder, for code that does not lock it."""

_LOCK: Final = "lock"


class DataDir:
    """A folder of mode 0700, locked until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Open or create the folder at `path` and lock it. Raises `StartError`."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"cannot make the data folder {path}: {error.strerror}") from None
        _check_private(path)
        self._lock = self._take_lock()

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / DATABASE

    @property
    def certificate(self) -> Path:
        """The TLS key and certificate, in one PEM file."""
        return self.path / CERTIFICATE

    @property
    def next_certificate(self) -> Path:
        """The certificate announced to follow, with its key if the relay made it."""
        return self.path / NEXT_CERTIFICATE

    @property
    def control(self) -> Path:
        """The control socket of the running relay."""
        return self.path / CONTROL

    def disk_use(self) -> tuple[int, int]:
        """Return the bytes of the database with its write-ahead log, and the bytes free on its disk."""
        files = (self.database, self.path / f"{DATABASE}-wal")
        return sum(file.stat().st_size for file in files if file.exists()), shutil.disk_usage(self.path).free

    def close(self) -> None:
        """Release the lock."""
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
        try:
            descriptor = take_lock(self.path / _LOCK)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        if descriptor is None:
            raise DataDirInUse(f"another relay is running on the data folder {self.path}")
        return descriptor


def is_held(path: Path) -> bool:
    """Return whether a process has the data folder at `path` locked; change nothing in it.

    Raises `StartError` if a relay could not start with the folder as it is.
    """
    _check_private(path)
    try:
        return is_locked(path / _LOCK)
    except FileNotFoundError:
        if not os.access(path, os.W_OK | os.X_OK):
            raise StartError(f"cannot write in the data folder {path}; run: chmod 700 {path}") from None
        return False
    except OSError as error:
        raise _unwritable(path, error) from None


def _check_private(path: Path) -> None:
    try:
        fault = find_fault(path)
    except OSError as error:
        raise StartError(f"cannot open the data folder {path}: {error.strerror}") from None
    match fault:
        case FolderFault.SYMLINK | FolderFault.NOT_A_FOLDER:
            raise StartError(f"the data folder {path} is a symbolic link; name the folder itself")
        case FolderFault.OTHER_OWNER:
            raise StartError(f"the data folder {path} belongs to another user; run this as that user")
        case FolderFault.OPEN_TO_OTHERS:
            raise StartError(f"others can open the data folder {path}; run: chmod 700 {path}")


def _unwritable(path: Path, error: OSError) -> StartError:
    return StartError(f"cannot write in the data folder {path}: {error.strerror}")
