"""Rooms and their entries in the database: load, write, read. Runs on the database threads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apsw

from clave_server.accounts.directory import known_name
from clave_server.errors import DamageError
from clave_server.rooms.invitations import add_invitations
from clave_server.rooms.offers import OfferRow, add_offers, read_links, save_links
from clave_server.rooms.recent import pack_recent, unpack_recent
from clave_server.rooms.rekeys import Rekey
from clave_server.rooms.room_state import Membership, RoomState
from clave_server.rooms.segment import CHUNK_BYTES, Segment
from clave_server.storage.incarnation import unpack_restores
from clave_server.storage.seals import ROOM
from clave_wire.framing import pack
from clave_wire.messages import AcceptedAt

__all__ = ["Chunk", "RowChanges", "drop_segments", "load_room", "read_entries", "segments_until"]

_WRITES: Final = {
    "rooms": "INSERT INTO rooms(room, seq, handshake, maker)"
    " VALUES (?1, ?2, ?3, (SELECT id FROM accounts WHERE account = ?4))"
    " ON CONFLICT DO UPDATE SET seq = ?2, handshake = ?3",
    "former memberships": "DELETE FROM stays WHERE room = ? AND device = ?",
    "memberships": "INSERT INTO stays VALUES (?1, ?2, ?3, ?4, seal('stay', ?1, ?2, ?3, ?4))",
    "former rekeys": "DELETE FROM rekeys WHERE room = ?",
    "rekeys": "INSERT INTO rekeys VALUES (?1, ?2, ?3, ?4, ?5, ?6, seal('rekey', ?1, ?2, ?3, ?4, ?5, ?6))",
    "former joining": "DELETE FROM joining WHERE room = ? AND device = ?",
    "joining": "INSERT INTO joining VALUES (?1, ?2, ?3, seal('joining', ?1, ?2, ?3))"
    " ON CONFLICT DO UPDATE SET seq = ?3, seal = excluded.seal",
    "submissions": "INSERT INTO submissions VALUES (?1, ?2, ?3, seal('submissions', ?1, ?2, ?3))"
    " ON CONFLICT DO UPDATE SET recent = ?3, seal = excluded.seal",
    "segments": "INSERT INTO segments(room, first_seq, last_seq, at, digest, frames)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    "welcomes": "INSERT INTO welcomes VALUES"
    " (?1, ?2, ?3, ?4, ?5, ?6, seal('welcome', ?1, ?2, ?3, ?4, ?5, ?6))",
}
_SEAL_ROOM: Final = f"UPDATE rooms SET seal = {ROOM} WHERE room = ?"  # noqa: S608  (a constant)
_SELECT_ROOM: Final = (
    f"SELECT seq, handshake, legacy, restores, kept_from, seal = {ROOM}"  # noqa: S608  (a constant)
    " FROM rooms WHERE room = ?"
)
_NO_END: Final = 2**63 - 1
_NO_TIME: Final = 2**53
"""A time from which on a client takes none; only a damaged row has one."""


@dataclass(slots=True)
class RowChanges:
    """The rows that one write batch writes, collected on the loop and applied on the writing thread.

    `settled` are rooms with an offer that settles which links are live. After `apply`, `released` has the
    bytes of deleted welcomes and group infos, by account.
    """

    rooms: list[tuple[bytes, int, int, bytes]] = field(default_factory=list)
    former_memberships: list[tuple[bytes, bytes]] = field(default_factory=list)
    memberships: list[tuple[bytes, bytes, int, int | None]] = field(default_factory=list)
    former_rekeys: list[tuple[bytes]] = field(default_factory=list)
    rekeys: list[tuple[bytes, str, int, bytes, bytes, bytes]] = field(default_factory=list)
    former_joining: list[tuple[bytes, bytes]] = field(default_factory=list)
    joining: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    submissions: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    segments: list[tuple[Segment, int]] = field(default_factory=list)
    links: list[tuple[bytes, bytes, int, int, bool]] = field(default_factory=list)
    dropped_links: list[tuple[bytes, bytes]] = field(default_factory=list)
    offers: list[OfferRow] = field(default_factory=list)
    settled: set[bytes] = field(default_factory=set)
    welcomes: list[tuple[int, bytes, int, bytes, bytes, int]] = field(default_factory=list)
    invitations: list[tuple[int, bytes, bytes, int, bool]] = field(default_factory=list)
    released: Counter[bytes] = field(default_factory=Counter)

    def save_room(self, room: RoomState) -> None:
        """Add the room's own rows: everything that changed but its entries."""
        key = room.id
        self.rooms.append((key, room.seq, room.handshake, room.maker))
        self.submissions += [(key, device, pack_recent(room.recent[device])) for device in room.unsaved]
        for device in room.staged_memberships:
            self.former_memberships.append((key, device))
            self.memberships += [(key, device, each.joined, each.left) for each in room.memberships[device]]
        if room.has_staged_rekeys:
            self.former_rekeys.append((key,))
            self.rekeys += [
                (key, one.author, one.seq, one.ref, one.head, b"".join(one.remove))
                for one in room.rekeys.values()
            ]
        joining, former_joining = room.staged_joining
        self.former_joining += [(key, device) for device in former_joining]
        self.joining += [(key, device, seq) for device, seq in joining.items()]
        links, dropped = room.staged_links
        self.links += [(key, link, *terms) for link, terms in links.items()]
        self.dropped_links += [(key, link) for link in dropped]

    def apply(self, connection: apsw.Connection) -> None:
        """Write all rows, inside the caller's transaction."""
        segments = [
            (segment.room, segment.first, segment.last, at, segment.digest(), segment.frames)
            for segment, at in self.segments
        ]
        for table, rows in (
            ("rooms", self.rooms),
            ("former memberships", self.former_memberships),
            ("memberships", self.memberships),
            ("former rekeys", self.former_rekeys),
            ("rekeys", self.rekeys),
            ("former joining", self.former_joining),
            ("joining", self.joining),
            ("submissions", self.submissions),
            ("segments", segments),
            ("welcomes", self.welcomes),
        ):
            if rows:
                connection.executemany(_WRITES[table], rows)
        connection.executemany(_SEAL_ROOM, [(row[0],) for row in self.rooms])
        save_links(connection, self.dropped_links, self.links)
        self.released += add_offers(connection, self.offers, self.settled)
        invited: defaultdict[int, list[tuple[int, bytes, bool]]] = defaultdict(list)
        for number, device, _, welcome, helps in self.invitations:
            invited[welcome].append((number, device, helps))
        for welcome, room, _, sender, *_ in self.welcomes:
            self.released += add_invitations(connection, welcome, room, sender, invited[welcome])


def load_room(connection: apsw.Connection, key: bytes) -> RoomState | None:
    """Read a room's routing state and replay messages newer than its rows; None if there is no such room.

    Raises `DamageError`.
    """
    with connection:  # one snapshot for all reads
        row = connection.execute(_SELECT_ROOM, (key,)).get
        if row is None:
            _check(connection.execute("SELECT 1 FROM stays WHERE room = ?", (key,)).get is None, key)
            return None
        room = RoomState(key)
        room.seq, room.handshake, room.legacy, restores, room.kept_from, whole = row
        _check(whole, key)
        room.restores = unpack_restores(restores)
        room.durable = room.saved = room.seq
        memberships: list[Any] = connection.execute(
            "SELECT device, name, joined, left, stays.seal = seal('stay', room, device, joined, left)"
            " AND accounts.seal = seal('account', id, accounts.account, name)"
            " AND devices.seal = seal('device', device, devices.account, identity)"
            " FROM stays LEFT JOIN devices USING (device)"
            " LEFT JOIN accounts ON accounts.id = devices.account"
            " WHERE room = ? ORDER BY device, joined",
            (key,),
        ).fetchall()  # apsw 3.54 never frees a cursor that is open while another one ends
        for device, name, joined, left, whole in memberships:
            _check(whole, key)
            room.memberships[device] = (*room.memberships.get(device, ()), Membership(joined, left))
            if left is None:
                room.members[device] = known_name(name)
        submissions: list[Any] = connection.execute(
            "SELECT device, recent, seal = seal('submissions', room, device, recent) FROM submissions"
            " WHERE room = ?",
            (key,),
        ).fetchall()
        for device, recent, whole in submissions:
            _check(whole, key)
            room.recent[device] = unpack_recent(recent)
        room.rekeys = {rekey.author: rekey for rekey in _rekeys(connection, key)}
        room.joining = dict(_joining(connection, key))
        room.links = read_links(connection, key)
        _replay(connection, room)
    return room


def _rekeys(connection: apsw.Connection, key: bytes) -> Iterator[Rekey]:
    """Yield a room's rekeys that wait to be confirmed, oldest first. Raises `DamageError`."""
    rows = connection.execute(
        "SELECT seq, author, ref, head, removed, seal = seal('rekey', room, author, seq, ref, head, removed)"
        " FROM rekeys WHERE room = ? ORDER BY seq",
        (key,),
    )
    for seq, author, ref, head, removed, whole in rows:
        _check(whole, key)
        devices = tuple(removed[place : place + 32] for place in range(0, len(removed), 32))
        yield Rekey(seq, author, ref, head, devices)


def _joining(connection: apsw.Connection, key: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield a room's devices that are joining, and the seqs of their rekeys. Raises `DamageError`."""
    rows = connection.execute(
        "SELECT device, seq, seal = seal('joining', room, device, seq) FROM joining WHERE room = ?", (key,)
    )
    for device, seq, whole in rows:
        _check(whole, key)
        yield device, seq


def _check(whole: int | None, key: bytes) -> None:
    if not whole:
        raise DamageError(f"who is in room {key.hex()}, or where it stands, is damaged on disk")


def _replay(connection: apsw.Connection, room: RoomState) -> None:
    """Count the messages that are newer than the room's rows. Raises `DamageError`."""
    for segment, _ in _segments(connection, room.id, room.saved):
        for entry in segment.entries():
            if entry.seq == room.seq + 1:
                room.replay(entry.sender, entry.submission)
        if room.seq != segment.last:
            raise DamageError(f"entry {room.seq + 1} of room {room.id.hex()} is missing on disk")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames of consecutive entries up to the seq `last`, perhaps with those of their times."""

    last: int
    frames: bytes


def read_entries(
    connection: apsw.Connection, key: bytes, after: int, until: int, *, with_times: bool = False
) -> Chunk:
    """Read entries above `after`, up to and including `until`, about `CHUNK_BYTES` of them.

    With `with_times`, an `AcceptedAt` precedes the first one and each that was accepted at another time.
    Raises `DamageError`, also if there is no entry `after` + 1.
    """
    parts: list[bytes] = []
    size, last, said = 0, after, -1
    for segment, at in _segments(connection, key, after):
        if parts and (size + len(segment.frames) > CHUNK_BYTES or last >= until):
            break
        if segment.first > last + 1:
            break
        if with_times and at != said:
            parts.append(pack(AcceptedAt(key, at)))
            said = at
        parts.append(segment.between(last, until))
        size += len(parts[-1])
        last = min(segment.last, until)
    if not parts:
        raise DamageError(f"entry {after + 1} of room {key.hex()} is missing on disk")
    return Chunk(last, b"".join(parts))


def segments_until(connection: apsw.Connection, key: bytes, until: int) -> Iterator[Segment]:
    """Yield the segments with no entry above `until`, in order, without verifying digests."""
    for segment, _, _ in _rows(connection, key, 0, until):
        yield segment


def drop_segments(connection: apsw.Connection, key: bytes, until: int) -> None:
    """Delete the segments with no entry above `until`, inside the caller's transaction."""
    connection.execute("DELETE FROM segments WHERE room = ? AND last_seq <= ?", (key, until))
    connection.execute("UPDATE rooms SET kept_from = max(kept_from, ?) WHERE room = ?", (until + 1, key))
    connection.execute(_SEAL_ROOM, (key,))


def _segments(connection: apsw.Connection, key: bytes, after: int) -> Iterator[tuple[Segment, int]]:
    """Yield the segments with entries above `after`, in order, verified, and when each was accepted.

    That is in ms since 1970, and 0 if it cannot be. Raises `DamageError`.
    """
    for segment, at, digest in _rows(connection, key, after, _NO_END):
        segment.verify(digest)
        yield segment, at if 0 <= at < _NO_TIME else 0


def _rows(
    connection: apsw.Connection, key: bytes, after: int, until: int
) -> Iterator[tuple[Segment, int, bytes]]:
    rows = connection.execute(
        "SELECT first_seq, last_seq, at, digest, frames FROM segments"
        " WHERE room = ? AND last_seq > ? AND last_seq <= ? ORDER BY last_seq",
        (key, after, until),
    )
    for first_seq, last_seq, at, digest, frames in rows:
        yield Segment(key, first_seq, last_seq, frames), at, digest
