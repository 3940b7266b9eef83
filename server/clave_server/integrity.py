"""Whether a database is what was written: every seal and digest in it, and nothing missing. Knows no relay.

A row is believed only if it is whole, by whoever reads it; here all of them are looked at.
"""

from __future__ import annotations

from typing import Final

import apsw

from clave_server.errors import DamageError
from clave_server.log import ROOM_SEAL
from clave_server.segment import Segment

__all__ = ["check_rows", "check_segments"]

_SEALED: Final = {
    "account": ("accounts", "id", "seal('account', id, account, name)"),
    "device": ("devices", "lower(hex(device))", "seal('device', device, account, identity)"),
    "the state of room": (
        "rooms",
        "lower(hex(room))",
        ROOM_SEAL,
    ),
    "who is in room": ("stays", "lower(hex(room))", "seal('stay', room, device, joined, left)"),
    "the count of what was sent to room": (
        "submissions",
        "lower(hex(room))",
        "seal('submissions', room, device, recent)",
    ),
    "a rekey that waits in room": (
        "rekeys",
        "lower(hex(room))",
        "seal('rekey', room, author, seq, ref, head, removed)",
    ),
}
"""By what is damaged: the table, which of its rows, and the seal that has to be there."""

_SEGMENTS: Final = "SELECT room, first_seq, last_seq, digest, frames FROM segments ORDER BY room, last_seq"
_ROOMS: Final = "SELECT room, kept_from, seq FROM rooms"


def check_rows(connection: apsw.Connection) -> None:
    """Check every seal, that rows others refer to are there, and every entry that is kept.

    The database is of this version. Raises `DamageError`, which names the first thing found.
    """
    for what, (table, which, seal) in _SEALED.items():
        query = f"SELECT {which} FROM {table} WHERE seal IS NOT {seal}"  # noqa: S608  (constants)
        for (damaged,) in connection.execute(query):
            raise DamageError(f"{what} {damaged} is damaged on disk")
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        raise DamageError(f"a row of {parent} that one of {table} refers to is missing on disk")
    kept = check_segments(connection)
    for room, kept_from, seq in connection.execute(_ROOMS):
        first, last = kept.get(room, (kept_from, kept_from - 1))
        if first > kept_from or last < seq:
            missing = kept_from if first > kept_from else last + 1
            raise DamageError(f"entry {missing} of room {room.hex()} is missing on disk")


def check_segments(connection: apsw.Connection) -> dict[bytes, tuple[int, int]]:
    """Check every segment and that none is missing between two; return each room's first and last entry.

    The database may be of any version. Raises `DamageError`.
    """
    kept: dict[bytes, tuple[int, int]] = {}
    for room, first, last, digest, frames in connection.execute(_SEGMENTS):
        Segment(room, first, last, frames).verify(digest)
        begin, end = kept.get(room, (first, first - 1))
        if first != end + 1:
            raise DamageError(f"entry {end + 1} of room {room.hex()} is missing on disk")
        kept[room] = (begin, last)
    return kept
