"""Retention: finds entries that are too old or too many, and deletes them in small transactions.

Runs on the database threads; `retention_task` schedules it. Entries that the room's own rows do not include
yet are not deleted, as they are replayed when the room is loaded.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apsw

from clave_server.accounts.directory import add_stored
from clave_server.errors import DamageError
from clave_server.rooms.entry_store import drop_segments, segments_until
from clave_server.rooms.invitations import delete_invitations_before
from clave_server.rooms.offers import drop_offers
from clave_server.storage.db_thread import in_transaction
from clave_wire.framing import pack

__all__ = [
    "KEEP_ALL",
    "Pruned",
    "RetentionPolicy",
    "delete_stale",
    "delete_until",
    "find_last_deletable",
    "prune_all",
    "rooms_after",
]

_CUT_BYTES: Final = 8 * 1024 * 1024
"""Bytes deleted in one transaction, so that a flush does not wait long for it."""

_ROOMS_AT_A_TIME: Final = 256
_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class RetentionPolicy:
    """How much of each room is kept: days, and bytes of entries; 0 keeps all."""

    days: int = 0
    room_bytes: int = 0

    def oldest(self, now: int) -> int:
        """Return the time (ms since 1970) before which entries are deleted."""
        return now - self.days * _DAY_MS if self.days else 0


KEEP_ALL: Final = RetentionPolicy()


@dataclass
class Pruned:
    """What was deleted: entries, bytes; the first seq kept of each room; bytes released, by account."""

    entries: int = 0
    size: int = 0
    kept_from: dict[bytes, int] = field(default_factory=dict)
    released: Counter[bytes] = field(default_factory=Counter)

    def add(self, other: Pruned) -> None:
        """Add what `other` counts."""
        self.entries += other.entries
        self.size += other.size
        self.kept_from |= other.kept_from
        self.released += other.released


def rooms_after(connection: apsw.Connection, after: bytes) -> list[bytes]:
    """Return up to 256 rooms whose ids are above `after`, in order; [] at the end."""
    rows = connection.execute(
        "SELECT room FROM rooms WHERE room > ? ORDER BY room LIMIT ?", (after, _ROOMS_AT_A_TIME)
    )
    return [room for (room,) in rows]


def find_last_deletable(connection: apsw.Connection, room: bytes, policy: RetentionPolicy, now: int) -> int:
    """Return the last seq of `room` to delete at `now` (ms since 1970), 0 for none."""
    saved = connection.execute("SELECT seq FROM rooms WHERE room = ?", (room,)).get
    if saved is None:
        return 0
    last: int = 0
    for last_seq, at in connection.execute(
        "SELECT last_seq, at FROM segments WHERE room = ? AND last_seq <= ? ORDER BY last_seq", (room, saved)
    ):
        if at >= policy.oldest(now):
            break
        last = last_seq
    if policy.room_bytes:
        size = 0
        for last_seq, length in connection.execute(
            "SELECT last_seq, length(frames) FROM segments WHERE room = ? ORDER BY last_seq DESC", (room,)
        ):
            size += length
            if size > policy.room_bytes and last_seq <= saved:
                last = max(last, last_seq)
                break
    return last


def delete_until(connection: apsw.Connection, room: bytes, until: int) -> Pruned:
    """Delete entries of `room` up to seq `until`, oldest first, about 8 MiB at most."""
    pruned = Pruned()
    last = 0
    for segment in segments_until(connection, room, until):
        if pruned.size and pruned.size + len(segment.frames) > _CUT_BYTES:
            break
        pruned.entries += segment.last - segment.first + 1
        pruned.size += len(segment.frames)
        with contextlib.suppress(DamageError):  # damaged entries are deleted too, but not counted
            for entry in segment.entries():
                pruned.released[entry.sender] += len(pack(entry))
        last = segment.last
    if last:
        drop_segments(connection, room, last)
        pruned.kept_from[room] = last + 1
        pruned.released = _by_account(connection, pruned.released)
        for account, size in pruned.released.items():
            add_stored(connection, account, -size)
    return pruned


def _by_account(connection: apsw.Connection, by_device: Counter[bytes]) -> Counter[bytes]:
    released: Counter[bytes] = Counter()
    for device, size in by_device.items():
        account = connection.execute(
            "SELECT accounts.account FROM devices JOIN accounts ON accounts.id = devices.account"
            " WHERE device = ?",
            (device,),
        ).get
        released[account] += size
    return released


def delete_stale(connection: apsw.Connection, policy: RetentionPolicy, now: int) -> Counter[bytes]:
    """Delete invitations older than `policy` keeps, and rooms with no members, entries or welcomes.

    Returns the bytes released, by account.
    """
    released = delete_invitations_before(connection, policy.oldest(now))
    empty: list[Any] = connection.execute(
        "SELECT room FROM rooms WHERE seq > 0"
        " AND NOT EXISTS (SELECT 1 FROM stays WHERE stays.room = rooms.room AND left IS NULL)"
        " AND NOT EXISTS (SELECT 1 FROM segments WHERE segments.room = rooms.room)"
        " AND NOT EXISTS (SELECT 1 FROM welcomes WHERE welcomes.room = rooms.room)"
    ).fetchall()
    for (room,) in empty:
        released += drop_offers(connection, room)
    for table in ("stays", "submissions", "rekeys", "joining", "rooms"):
        connection.executemany(f"DELETE FROM {table} WHERE room = ?", empty)  # noqa: S608  (names from above)
    return released


def prune_all(connection: apsw.Connection, policy: RetentionPolicy, now: int) -> Pruned:
    """Prune every room of a database that no relay runs on."""
    pruned = Pruned()
    for room in _all_rooms(connection):
        until = find_last_deletable(connection, room, policy, now)
        while until:
            step = in_transaction(connection, lambda writing: delete_until(writing, room, until))  # noqa: B023  (called at once)
            pruned.add(step)
            if not step.entries:
                break
    in_transaction(connection, lambda writing: delete_stale(writing, policy, now))
    return pruned


def _all_rooms(connection: apsw.Connection) -> Iterator[bytes]:
    after = b""
    while rooms := rooms_after(connection, after):
        yield from rooms
        after = rooms[-1]
