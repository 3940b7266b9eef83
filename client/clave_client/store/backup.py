"""Backups of a profile: one file, encrypted under a passphrase of its own. Knows no rooms.

The file is a line that names its version, a line of JSON with the key that the passphrase wraps, a copy of
the database encrypted under the first half of that key, and an HMAC-SHA256 of all this under the second.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from clave_client.errors import ProfileError, StoreDamaged, UsageError
from clave_client.store.database_copy import copy_database, sync_file
from clave_client.store.profile_key import KEY_BYTES, unwrap_key, wrap_key
from clave_crypto.keys import Secret

__all__ = ["extract_backup", "read_wrapping", "write_backup"]

_MAGIC: Final = b"clave backup 1\n"
_MOST_JSON: Final = 4096
_MAC_BYTES: Final = 32
_CHUNK: Final = 1024 * 1024


def write_backup(database: Path, key: Secret, file: Path, passphrase: str) -> int:
    """Write a backup of a database, which others may use, to a new `file`; return its size in bytes.

    Raises `UsageError` if the file exists, `WrongPassphrase` for an empty passphrase, and `ProfileError`.
    """
    if file.name in ("", "-"):
        raise UsageError("name the file that the backup goes to")
    fresh = Secret(os.urandom(2 * KEY_BYTES))
    head = _MAGIC + json.dumps(wrap_key(fresh, passphrase)).encode() + b"\n"
    own = f".clave-backup-{os.urandom(6).hex()}"  # as another one may be under way to the same file
    copied, partial = file.with_name(f"{own}.database"), file.with_name(f"{own}.partial")
    try:
        if file.exists() or file.is_symlink():
            raise FileExistsError
        copy_database(database, key, copied, Secret(fresh[:KEY_BYTES]))
        mac = hmac.new(fresh[KEY_BYTES:], head, hashlib.sha256)
        with copied.open("rb") as source, _create(partial) as target:
            target.write(head)
            for chunk in _chunks(source, copied.stat().st_size):
                mac.update(chunk)
                target.write(chunk)
            target.write(mac.digest())
        sync_file(partial)
        _publish(partial, file)
        sync_file(file)
    except FileExistsError:
        raise UsageError(f"{file} exists; a backup goes to a new file") from None
    except OSError as error:
        raise ProfileError(f"cannot write {file}: {error.strerror}; no backup was made") from None
    finally:
        for each in (copied, partial):
            with contextlib.suppress(OSError):
                each.unlink()
    return file.stat().st_size


def _publish(partial: Path, file: Path) -> None:
    """Give a complete backup its name. Raises `FileExistsError` rather than replace a file."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on many sticks
        partial.rename(file)


def read_wrapping(file: Path) -> dict[str, Any]:
    """Return what a backup's passphrase wraps, as JSON values. Raises `UsageError`."""
    try:
        if file.exists() and not file.is_file():
            raise UsageError(f"{file} is no file")
        with file.open("rb") as source:
            return _read_head(source, file)[0]
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None


def extract_backup(file: Path, passphrase: str, database: Path) -> Secret:
    """Write the database of a backup to a new file, and return its key.

    Raises `WrongPassphrase`, `UsageError` if `file` is no backup, and `ProfileError`. Nothing is left of the
    database then.
    """
    try:
        with file.open("rb") as source:
            wrapping, head = _read_head(source, file)
            both = unwrap_key(wrapping, passphrase, str(file))
            if len(both) != 2 * KEY_BYTES:
                raise _damaged(file)
            size = file.stat().st_size - len(head) - _MAC_BYTES
            mac = hmac.new(both[KEY_BYTES:], head, hashlib.sha256)
            with _create(database) as target:
                for chunk in _chunks(source, size):
                    mac.update(chunk)
                    target.write(chunk)
            if not hmac.compare_digest(mac.digest(), source.read(_MAC_BYTES + 1)):
                raise _damaged(file)
        sync_file(database)
    except OSError as error:
        database.unlink(missing_ok=True)
        raise ProfileError(f"cannot restore {file}: {error.strerror}; nothing was changed") from None
    except BaseException:
        database.unlink(missing_ok=True)
        raise
    return Secret(both[:KEY_BYTES])


def _read_head(source: IO[bytes], file: Path) -> tuple[dict[str, Any], bytes]:
    """Read up to the database; return the JSON values, and the bytes read."""
    magic = source.readline(len(_MAGIC) + 8)
    if magic != _MAGIC:
        if magic.startswith(b"clave backup "):
            raise UsageError(f"{file} was made by a newer clave; update this one")
        raise UsageError(f"{file} is no backup made by: clave backup FILE")
    line = source.readline(_MOST_JSON)
    try:
        wrapping = json.loads(line)
    except ValueError:
        wrapping = None
    if not isinstance(wrapping, dict) or not line.endswith(b"\n"):
        raise _damaged(file)
    return wrapping, magic + line


def _chunks(source: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes. Raises `OSError` if there are fewer."""
    while size > 0:
        chunk = source.read(min(size, _CHUNK))
        if not chunk:
            raise OSError(0, "it ends too early")
        size -= len(chunk)
        yield chunk


def _create(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _damaged(file: Path) -> StoreDamaged:
    return StoreDamaged(f"{file} is damaged or cut off; take another backup")
