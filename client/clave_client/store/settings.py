"""What windows remember in the profile: the room to begin in, muted rooms, lines typed, changes told.

Knows no window.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.store.database import Store

__all__ = [
    "ANSWER",
    "ARCHIVED",
    "DRAFT",
    "KEPT_LINES",
    "READ_RECEIPTS",
    "add_typed_line",
    "last_room",
    "mute",
    "muted_until",
    "note_typed",
    "set_last_room",
    "set_told",
    "told",
    "typed_lines",
]

DRAFT: Final = "draft"
"""The setting of a room with what was typed there and not sent."""

ARCHIVED: Final = "archived"
"""The setting of a room by which lists leave it out until somebody says something there."""

READ_RECEIPTS: Final = "read receipts"
"""The setting of a room by which its user has others told what was read."""

ANSWER: Final = "answer"
"""The setting of a room that says that its user has accepted the invitation ("in") or has left ("out")."""

KEPT_LINES: Final = 1000
"""Most lines kept that were typed at the prompt."""

_MOST_LINE_BYTES: Final = 1024 * 1024


def last_room(store: Store) -> bytes:
    """Return the id of the room to begin in, or nothing."""
    return store.get("last room") or b""


def set_last_room(store: Store, room: bytes) -> None:
    """Note the room to begin in."""
    store.put("last room", room)


def muted_until(store: Store) -> dict[bytes, float]:
    """Return until when rooms ring no bell, in seconds since 1970, by room."""
    rows = store.rows("SELECT key, value FROM meta WHERE key >= 'muted ' AND key < 'muted!'")
    return {bytes.fromhex(str(key)[6:]): float(msgspec.convert(value, bytes)) for key, value in rows}


def mute(store: Store, room: bytes, until: float) -> None:
    """Ring no bell for a room until then, in seconds since 1970."""
    store.put(f"muted {room.hex()}", str(until).encode())


def told(store: Store, room: bytes) -> int | None:
    """Return the number of the last event that the user was told of, None if there was none.

    With a room, by whoever sent there; with b"", by a window that shows all.
    """
    number = store.get(f"told {room.hex()}")
    return None if number is None else int(number)


def set_told(store: Store, room: bytes, number: int) -> None:
    """Note the last event that the user was told of."""
    store.put(f"told {room.hex()}", str(number).encode())


def typed_lines(store: Store) -> list[str]:
    """Return the last lines typed at the prompt, oldest first: at most 1 MiB."""
    found: list[str] = []
    size = 0
    for (line,) in store.rows("SELECT line FROM typed_lines ORDER BY number DESC"):
        size += len(str(line).encode())
        if size > _MOST_LINE_BYTES:
            break
        found.append(str(line))
    return found[::-1]


def note_typed(store: Store, line: str, message: bytes) -> None:
    """Note what a typed line has said, so that it is deleted with that message."""
    last = "(SELECT max(number) FROM typed_lines WHERE line = ?)"
    store.run(f"UPDATE typed_lines SET message = ? WHERE number = {last}", message, line)  # noqa: S608


def add_typed_line(store: Store, line: str) -> None:
    """Keep a line typed at the prompt, and the last 1,000; none that is longer than a message."""
    if len(line.encode()) > MAX_BODY_BYTES:
        return
    with store.transaction():
        store.run("INSERT INTO typed_lines(line) VALUES (?)", line)
        delete = "DELETE FROM typed_lines WHERE number <= (SELECT max(number) FROM typed_lines) - ?"
        store.run(delete, KEPT_LINES)
