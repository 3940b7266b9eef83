"""A hash chain over one room's whole log, by which members notice that they are shown different ones.

It begins with the room and is never restarted. Every entry says how its sender saw it (`header.Seen`), and
whoever joins is told where it stood by the member that added it. A relay that was restored can have lost
that place: then the next member that has read all before its entry tells.

    R_0 = SHA-256(label, room)
    R_i = SHA-256(label, R_(i-1), u64 i, sender, u64 submission, SHA-256(payload))
"""

from __future__ import annotations

import hashlib

from clave_client.store.database import Store
from clave_wire.header import Seen
from clave_wire.messages import Entry

__all__ = ["HASHES_KEPT", "LogChain"]

_LABEL = b"clave 4 log chain"
HASHES_KEPT = 10_000
"""Entries back to which a member's view can be compared; older views are neither believed nor doubted."""


class LogChain:
    """The chain of one room, up to the entry its cursor stands at. Transactions are the caller's."""

    def __init__(self, store: Store, room: bytes, cursor: int) -> None:
        self._store = store
        self._room = room
        self._cursor = cursor
        self._link = self._stored(cursor)

    def begin(self, seen: Seen) -> None:
        """Begin where a member says that the chain stood."""
        self._keep(seen.seq, seen.hash)

    def start_after(self, seq: int) -> None:
        """Begin after entry `seq` with a value that needs no history: a new room, or one of protocol 3."""
        self._keep(seq, _start(self._room, seq))

    def extend(self, entry: Entry) -> None:
        """Take the next entry into the chain."""
        if self._link is None:
            self._cursor = entry.seq
            return
        numbers = entry.seq.to_bytes(8, "big"), entry.submission.to_bytes(8, "big")
        payload = hashlib.sha256(entry.payload).digest()
        linked = b"".join((_LABEL, self._link, numbers[0], entry.sender, numbers[1], payload))
        self._keep(entry.seq, hashlib.sha256(linked).digest())
        if entry.seq % 100 == 0:
            self._store.trim_chain(self._room, entry.seq - HASHES_KEPT)

    def truncate(self, seq: int) -> None:
        """Forget what came after entry `seq`, which the relay has lost."""
        self._store.cut_chain(self._room, seq)
        self._cursor, self._link = seq, self._stored(seq)

    def adopt(self, seen: Seen, entry: Entry) -> None:
        """Believe the sender of `entry`, the last one taken, if this device does not know where it began."""
        if self._link is None and seen.seq == entry.seq - 1:
            self.begin(seen)
            self.extend(entry)

    def seen(self) -> Seen:
        """Return what to tell the others of this device's view."""
        if self._link is None:
            return Seen(0, _start(self._room, 0))
        return Seen(self._cursor, self._link)

    def contradicts(self, seen: Seen) -> bool:
        """Tell whether a member was shown another history than this device, as far as is kept."""
        known = self._store.chain_hash(self._room, seen.seq)
        return known is not None and known != seen.hash

    def _stored(self, seq: int) -> bytes | None:
        return self._store.chain_hash(self._room, seq) or (None if seq else _start(self._room, 0))

    def _keep(self, seq: int, link: bytes) -> None:
        self._cursor, self._link = seq, link
        self._store.put_chain_hash(self._room, seq, link)


def _start(room: bytes, seq: int) -> bytes:
    position = b"" if seq == 0 else seq.to_bytes(8, "big")
    return hashlib.sha256(_LABEL + room + position).digest()
