"""Whether a database is a backup's copy, and what has to change in it before a relay serves from one.

A copy is behind what clients were told. So whoever comes back to a relay restored from one is shown another
incarnation, and for each room the last entry that each copy had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw
import msgspec

from clave_server.errors import StartError
from clave_server.rooms.entry_store import ROOM_SEAL
from clave_server.rooms.room_state import pack_restores, unpack_restores
from clave_server.storage.db_thread import in_transaction
from clave_server.storage.seals import PACKAGES

__all__ = ["begin_anew", "mark_copy", "read_incarnation"]

_BYTES: Final = 16

_LAST: Final = "max(seq, coalesce((SELECT max(last_seq) FROM segments WHERE segments.room = rooms.room), 0))"
"""The last entry of a room, whose row may lag behind its segments."""

_WHOLE: Final = f"SELECT room, restores, {_LAST} FROM rooms WHERE seal = {ROOM_SEAL}"  # noqa: S608  (constants)
_RESTORE: Final = "UPDATE rooms SET restores = ? WHERE room = ?"
_SEAL: Final = f"UPDATE rooms SET seal = {ROOM_SEAL} WHERE room = ?"  # noqa: S608  (a constant)


def mark_copy(path: Path) -> None:
    """Write into the database at `path`, which no relay runs on, that it is a backup's copy."""
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('restored', 1)")
    finally:
        connection.close()


def begin_anew(connection: apsw.Connection) -> bool:
    """Make a marked copy a database to serve from, in one transaction; return whether it was marked.

    The seals of rows that are damaged stay wrong.
    """
    if connection.execute("SELECT 1 FROM meta WHERE key = 'restored'").get is None:
        return False
    in_transaction(connection, _begin_anew)
    return True


def _begin_anew(connection: apsw.Connection) -> None:
    whole = msgspec.convert(connection.execute(_WHOLE).fetchall(), list[tuple[bytes, bytes, int]])
    former = read_incarnation(connection)
    connection.executemany(
        _RESTORE,
        [
            (pack_restores([*unpack_restores(restores), (former, last)]), room)
            for room, restores, last in whole
        ],
    )
    connection.execute("DELETE FROM rekeys")
    connection.execute("DELETE FROM key_packages")  # some were claimed since; their owners publish others
    connection.execute(f"UPDATE devices SET packages = {PACKAGES}")  # noqa: S608 (a constant)
    connection.executemany(_SEAL, [(room,) for room, *_ in whole])
    connection.execute("UPDATE meta SET value = randomblob(16) WHERE key = 'incarnation'")
    connection.execute("DELETE FROM meta WHERE key = 'restored'")


def read_incarnation(connection: apsw.Connection) -> bytes:
    """Return the 16 random bytes of this database's incarnation. Raises `StartError`."""
    incarnation = connection.execute("SELECT value FROM meta WHERE key = 'incarnation'").get
    if not isinstance(incarnation, bytes) or len(incarnation) != _BYTES:
        raise StartError("the database's incarnation is damaged; restore the database from a backup")
    return incarnation
