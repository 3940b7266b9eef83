"""Copies of an encrypted database under another key, made while others use it. Knows no tables."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import apsw

from clave_client.errors import ProfileError, StoreDamaged, StoreFull
from clave_crypto.keys import Secret

__all__ = ["copy_database", "opens_with", "sync_file"]

_OPEN = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI


def opens_with(path: Path, key: Secret) -> bool:
    """Return whether `key` decrypts the database at `path`. Raises `StoreDamaged`."""
    try:
        connection = _connect(path, key)
        connection.close()
    except apsw.NotADBError:
        return False
    except apsw.Error as error:
        raise StoreDamaged(f"{path} cannot be opened ({error}); look at its disk and owner") from None
    return True


def copy_database(source: Path, key: Secret, target: Path, target_key: Secret) -> None:
    """Write a copy of the database at `source`, which others may use, to a new file under `target_key`.

    The copy is on disk when this returns, and not there if it raises. Raises `ProfileError`.
    """
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection = _connect(source, key)
        try:
            connection.execute("VACUUM INTO ?", (f"file:{quote(str(target))}?key=raw:{target_key.hex()}",))
        finally:
            connection.close()
        sync_file(target)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, apsw.Error):
            raise _fault(error, source, target) from None
        raise


def _fault(error: apsw.Error, source: Path, target: Path) -> ProfileError:
    """Return the error of a copy that failed; never the text of SQLite's, which has the new key."""
    if isinstance(error, apsw.NotADBError):
        return StoreDamaged(f"{source} does not open with its key; restore a backup")
    if isinstance(error, apsw.FullError):
        return StoreFull(f"the disk of {target.parent} is full; nothing was changed")
    reason = type(error).__name__.removesuffix("Error")
    return ProfileError(f"{source} cannot be copied to {target.parent} ({reason}); it is as it was")


def sync_file(path: Path) -> None:
    """Wait until a file, and its name in its folder, are on disk. Raises `OSError`."""
    for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(each, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _connect(path: Path, key: Secret) -> apsw.Connection:
    """Open a database that exists. Raises `apsw.NotADBError` for another key."""
    connection = apsw.Connection(f"file:{quote(str(path))}", flags=_OPEN)
    try:
        connection.pragma("key", "raw:" + key.hex())
        connection.set_busy_timeout(10_000)
        connection.pragma("schema_version")
    except BaseException:
        connection.close()
        raise
    return connection
