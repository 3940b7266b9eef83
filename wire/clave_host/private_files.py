"""Files and folders that only their owner may open, and the lock by which one process holds a folder.

Reports what is wrong with a folder as a `FolderFault`; the caller writes the message.
"""

from __future__ import annotations

import enum
import fcntl
import os
import stat
from pathlib import Path

__all__ = ["FolderFault", "find_fault", "is_locked", "take_lock", "write_private"]


class FolderFault(enum.Enum):
    """Why a folder is not private."""

    SYMLINK = "it is a symbolic link"
    NOT_A_FOLDER = "it is not a folder"
    OTHER_OWNER = "it belongs to another user"
    OPEN_TO_OTHERS = "its mode lets others in"


def find_fault(folder: Path) -> FolderFault | None:
    """Return why `folder` is not a folder of this user alone (mode 0700), None if it is. Raises `OSError`."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        return FolderFault.SYMLINK
    if not stat.S_ISDIR(status.st_mode):
        return FolderFault.NOT_A_FOLDER
    if status.st_uid != os.geteuid():
        return FolderFault.OTHER_OWNER
    return FolderFault.OPEN_TO_OTHERS if status.st_mode & 0o077 else None


def take_lock(path: Path) -> int | None:
    """Lock the file at `path`, made if need be; return its descriptor, None if another process has the lock.

    The lock ends when the descriptor is closed or the process ends. Raises `OSError`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Tell whether a process has the lock of the file at `path`, which exists. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600; after a crash it is whole or not there. Raises `OSError`."""
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
