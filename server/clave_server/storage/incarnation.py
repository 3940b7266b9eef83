"""The incarnation of a database, and what changes in a backup's copy before a relay serves from it.

A copy is behind what clients were told. So clients of a relay that was restored from one are told another
incarnation, and for each room the last entry that each copy had.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import apsw
import msgspec

from clave_server.errors import StartError
from clave_server.storage.db_thread import in_transaction
from clave_server.storage.seals import PACKAGES, ROOM
from clave_wire.limits import MAX_RESTORES

__all__ = ["begin_anew", "mark_copy", "pack_restores", "read_incarnation", "unpack_restores"]

_BYTES: Final = 16

_LAST: Final = "max(seq, coalesce((SELECT max(last_seq) FROM segments WHERE segments.room = rooms.room), 0))"
"""The last entry of a room; its row may lag behind its segments."""

_UNDAMAGED: Final = f"SELECT room, restores, {_LAST} FROM rooms WHERE seal = {ROOM}"  # noqa: S608  (constants)
_RESTORE: Final = "UPDATE rooms SET restores = ? WHERE room = ?"
_SEAL: Final = f"UPDATE rooms SET seal = {ROOM} WHERE room = ?"  # noqa: S608  (a constant)


def mark_copy(path: Path) -> None:
    """Mark the database at `path`, which no relay runs on, as a backup's copy."""
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('restored', 1)")
    finally:
        connection.close()


def begin_anew(connection: apsw.Connection) -> bool:
    """If the database is marked as a copy, give it a new incarnation, in one transaction; return whether.

    The seals of damaged rows stay wrong.
    """
    if connection.execute("SELECT 1 FROM meta WHERE key = 'restored'").get is None:
        return False
    in_transaction(connection, _begin_anew)
    return True


def _begin_anew(connection: apsw.Connection) -> None:
    undamaged = msgspec.convert(connection.execute(_UNDAMAGED).fetchall(), list[tuple[bytes, bytes, int]])
    former = read_incarnation(connection)
    connection.executemany(
        _RESTORE,
        [
            (pack_restores([*unpack_restores(restores), (former, last)]), room)
            for room, restores, last in undamaged
        ],
    )
    connection.execute("DELETE FROM rekeys")
    connection.execute("DELETE FROM key_packages")  # some were claimed since; their owners publish others
    connection.execute(f"UPDATE devices SET packages = {PACKAGES}")  # noqa: S608 (a constant)
    connection.executemany(_SEAL, [(room,) for room, *_ in undamaged])
    connection.execute("UPDATE meta SET value = randomblob(16) WHERE key = 'incarnation'")
    connection.execute("DELETE FROM meta WHERE key = 'restored'")


def read_incarnation(connection: apsw.Connection) -> bytes:
    """Return the 16 random bytes of this database's incarnation. Raises `StartError`."""
    incarnation = connection.execute("SELECT value FROM meta WHERE key = 'incarnation'").get
    if not isinstance(incarnation, bytes) or len(incarnation) != _BYTES:
        raise StartError("the database's incarnation is damaged; restore the database from a backup")
    return incarnation


def pack_restores(restores: list[tuple[bytes, int]]) -> bytes:
    """Encode the latest `MAX_RESTORES` (incarnation, last entry), each as 16 bytes and a big-endian u64."""
    return b"".join(incarnation + struct.pack(">Q", last) for incarnation, last in restores[-MAX_RESTORES:])


def unpack_restores(packed: bytes) -> list[tuple[bytes, int]]:
    """Decode what `pack_restores` encoded."""
    return list(struct.iter_unpack(">16sQ", packed))
