"""Checks a whole database: every seal and digest, and that no row is missing. Knows no relay.

Code that reads a row checks its seal too; here all rows are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import apsw

from clave_server.errors import DamageError
from clave_server.limits.bans import read_bans
from clave_server.rooms.segment import Segment
from clave_server.storage import seals

__all__ = ["check_rows", "check_seals", "check_segments"]

_SEALED: Final = {
    "account": ("accounts", "id", "seal", seals.ACCOUNT),
    "device": ("devices", "lower(hex(device))", "seal", seals.DEVICE),
    "the state of room": ("rooms", "lower(hex(room))", "seal", seals.ROOM),
    "who is in room": ("stays", "lower(hex(room))", "seal", "seal('stay', room, device, joined, left)"),
    "the count of what was sent to room": (
        "submissions",
        "lower(hex(room))",
        "seal",
        "seal('submissions', room, device, recent)",
    ),
    "a rekey that waits in room": (
        "rekeys",
        "lower(hex(room))",
        "seal",
        "seal('rekey', room, author, seq, ref, head, removed)",
    ),
    "who is joining room": (
        "joining",
        "lower(hex(room))",
        "seal",
        "seal('joining', room, device, seq)",
    ),
    "a key package of device": ("key_packages", "lower(hex(device))", "seal", seals.KEY_PACKAGE),
    "a last-resort key package of device": ("last_resorts", "lower(hex(device))", "seal", seals.LAST_RESORT),
    "a welcome to room": ("welcomes", "lower(hex(room))", "seal", seals.WELCOME),
    "an invitation of device": ("invitations", "lower(hex(device))", "seal", seals.INVITATION),
    "a link of room": ("links", "lower(hex(room))", "seal", seals.LINK),
    "an offer to room": ("offers", "lower(hex(room))", "seal", seals.OFFER),
    "a revocation of device": ("revocations", "lower(hex(device))", "seal", seals.REVOCATION),
    "registration token": ("tokens", "id", "seal", seals.TOKEN),
}
_COUNTED: Final = {
    "what the name compares as, or the count of devices, of account": (
        "accounts",
        "id",
        "person",
        seals.PERSON,
    ),
    "the count of revoked devices of account": ("accounts", "id", "revoked", seals.REVOKED),
    "the count of key packages of device": ("devices", "lower(hex(device))", "packages", seals.PACKAGES),
    "the count of invitations of device": ("devices", "lower(hex(device))", "invited", seals.INVITED),
}
"""By what is damaged: table, expression that names the row, column of the seal, expected seal."""

_SEGMENTS: Final = "SELECT room, first_seq, last_seq, digest, frames FROM segments ORDER BY room, last_seq"
_ROOMS: Final = "SELECT room, kept_from, seq FROM rooms"


def check_rows(connection: apsw.Connection) -> None:
    """Check all seals, references and entries of a database of this version.

    Raises `DamageError`, which names the first damage found.
    """
    check_seals(connection)
    kept = check_segments(connection)
    for room, kept_from, seq in connection.execute(_ROOMS):
        first, last = kept.get(room, (kept_from, kept_from - 1))
        if first > kept_from or last < seq:
            missing = kept_from if first > kept_from else last + 1
            raise DamageError(f"entry {missing} of room {room.hex()} is missing on disk")


def check_seals(connection: apsw.Connection) -> None:
    """Check all seals, references and counts, but not the entries, of a database of this version.

    Raises `DamageError`, which names the first damage found.
    """
    _compare(connection, _SEALED)
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        raise DamageError(f"a row of {parent} that one of {table} refers to is missing on disk")
    _compare(connection, _COUNTED)
    read_bans(connection)


def _compare(connection: apsw.Connection, sealed: Mapping[str, tuple[str, str, str, str]]) -> None:
    for what, (table, which, column, seal) in sealed.items():
        query = f"SELECT {which} FROM {table} WHERE {column} IS NOT {seal}"  # noqa: S608  (constants)
        try:
            damaged = connection.execute(query).fetchone()
        except UnicodeDecodeError:
            raise DamageError(f"a text in the table {table} is damaged on disk") from None
        if damaged is not None:
            raise DamageError(f"{what} {damaged[0]} is damaged on disk")


def check_segments(connection: apsw.Connection) -> dict[bytes, tuple[int, int]]:
    """Check all segments and that none is missing between two; return each room's first and last seq.

    Works for a database of any version. Raises `DamageError`.
    """
    kept: dict[bytes, tuple[int, int]] = {}
    for room, first, last, digest, frames in connection.execute(_SEGMENTS):
        Segment(room, first, last, frames).verify(digest)
        begin, end = kept.get(room, (first, first - 1))
        if first != end + 1:
            raise DamageError(f"entry {end + 1} of room {room.hex()} is missing on disk")
        kept[room] = (begin, last)
    return kept
