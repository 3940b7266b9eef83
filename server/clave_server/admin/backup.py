"""Backup: the relay's database and keys in one tar archive, from which it can be restored.

Needs neither the relay nor its lock, as SQLite gives a reader a consistent snapshot while others write.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import apsw

from clave_server.admin.integrity import check_rows, check_segments
from clave_server.errors import AdminError, DamageError
from clave_server.storage import schema
from clave_server.storage.data_dir import DATABASE
from clave_server.storage.incarnation import mark_copy

__all__ = ["back_up"]


def back_up(data: Path, target: Path) -> int:
    """Write a backup of the data folder `data` to the new file `target`; return its size in bytes.

    Takes up to twice its size on disk meanwhile. Raises `AdminError`; also if a row is damaged, in which case
    the backup is kept, as the rest of it is good.
    """
    if not (data / DATABASE).exists():
        raise AdminError(f"no relay has run on {data} yet; name its --data")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AdminError(f"{target} exists; a backup never overwrites, name a new file") from None
    except OSError as error:
        raise AdminError(f"cannot write {target}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            damage = _write(data, target, file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            raise AdminError(
                f"the database in {data} is damaged; keep older backups, see docs/operations.md"
            ) from None
        if isinstance(error, OSError | apsw.Error):
            raise AdminError(f"cannot back up {data} to {target}: {error}") from None
        raise
    if damage is not None:
        raise AdminError(f"{damage}; {target} has all else, keep older backups too, see docs/operations.md")
    return size


def _write(data: Path, target: Path, file: IO[bytes]) -> DamageError | None:
    keys = sorted(path for path in data.glob("*.pem") if path.is_file())
    with (
        tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as scratch,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        copy = Path(scratch) / DATABASE
        _copy_database(data / DATABASE, copy)
        for path in (*keys, copy):  # the database last: a truncated archive is noticed by it
            archive.add(path, arcname=path.name, recursive=False, filter=_private)
        return _find_damage(copy)


def _copy_database(source: Path, copy: Path) -> None:
    connection = schema.connect_reader(source)
    connection.pragma("query_only", False)  # VACUUM INTO counts as a write, though not to the source
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()
    connection = apsw.Connection(str(copy), apsw.SQLITE_OPEN_READONLY)
    try:
        found = connection.pragma("quick_check")
    finally:
        connection.close()
    if found != "ok":
        raise apsw.CorruptError(str(found))
    if not schema.versions_behind(copy):  # an older one gets an incarnation when it is migrated
        mark_copy(copy)


def _find_damage(copy: Path) -> DamageError | None:
    connection = schema.connect_reader(copy)
    try:
        if schema.versions_behind(copy):  # an older schema has other seals or none
            check_segments(connection)
        else:
            check_rows(connection)
    except DamageError as damage:
        return damage
    finally:
        connection.close()
    return None


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode = 0o600
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
