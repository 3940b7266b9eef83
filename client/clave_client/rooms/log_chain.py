"""A hash chain over one room's log, by which members notice that the relay shows them different logs.

It begins with the room and never restarts. Every entry carries its sender's latest hash (`header.Seen`); a
new member gets the hash to start from by the member that adds it. If a restored relay has lost that entry,
the hash is taken from the next entry whose sender has read all before it.

    R_0 = SHA-256(label, room)
    R_i = SHA-256(label, R_(i-1), u64 i, sender, u64 submission, SHA-256(payload))
"""

from __future__ import annotations

import copy
import hashlib

from clave_client.store.database import Store
from clave_wire.header import Seen
from clave_wire.messages import Entry

__all__ = ["HASHES_KEPT", "LogChain", "chain_link", "chain_start"]

_LABEL = b"clave 4 log chain"
HASHES_KEPT = 10_000
"""Hashes kept, one per entry; the view of a sender that lags further behind is not compared."""

_TRIM_EVERY = 100
"""Entries between two deletions of old hashes."""


class LogChain:
    """The chain of one room up to its cursor. The caller opens transactions; `save` writes what changed."""

    def __init__(self, store: Store, room: bytes, cursor: int) -> None:
        self._store = store
        self._room = room
        self._cursor = cursor
        self._known: bytes | None = None
        self._is_known = False
        self._unsaved: dict[int, bytes] = {}

    @property
    def _hash(self) -> bytes | None:
        """The hash at the cursor, read when it is first needed; None if it is not stored."""
        if not self._is_known:
            self._known, self._is_known = self._stored(self._cursor), True
        return self._known

    def begin(self, seen: Seen) -> None:
        """Start from the hash that a member has seen."""
        self._set(seen.seq, seen.hash)

    def start_after(self, seq: int) -> None:
        """Start after entry `seq` with a fixed value: in a new room, or after the entries of protocol 3."""
        self._set(seq, chain_start(self._room, seq))

    def extend(self, entry: Entry) -> None:
        """Append the next entry."""
        if self._hash is None:
            self._cursor = entry.seq
            return
        self._set(entry.seq, chain_link(self._hash, entry))

    def truncate(self, seq: int) -> None:
        """Drop the hashes after entry `seq`, which the relay has lost."""
        self.save()
        self._store.cut_chain(self._room, seq)
        self._cursor, self._is_known = seq, False

    def adopt(self, seen: Seen, entry: Entry) -> None:
        """Start from the view of the sender of `entry`, the last one appended, if no hash is known yet."""
        if self._hash is None and seen.seq == entry.seq - 1:
            self.begin(seen)
            self.extend(entry)

    def seen(self) -> Seen:
        """Return this device's view, to be sent in headers."""
        if self._hash is None:
            return Seen(0, chain_start(self._room, 0))
        return Seen(self._cursor, self._hash)

    def contradicts(self, seen: Seen) -> bool:
        """Return whether a member has seen another log than this device, as far as hashes are kept."""
        known = self._unsaved.get(seen.seq) or self._store.chain_hash(self._room, seen.seq)
        return known is not None and known != seen.hash

    def save(self) -> None:
        """Write the hashes appended since the last call, and delete the oldest beyond those kept."""
        if self._unsaved:
            self._store.put_chain_hashes(self._room, self._unsaved)
            if any(seq % _TRIM_EVERY == 0 for seq in self._unsaved):
                self._store.trim_chain(self._room, self._cursor - HASHES_KEPT)
            self._unsaved = {}

    def copy(self) -> LogChain:
        """Return a copy, to restore the state before an operation that failed."""
        copied = copy.copy(self)
        copied._unsaved = dict(self._unsaved)
        return copied

    def _stored(self, seq: int) -> bytes | None:
        known = self._unsaved.get(seq) or self._store.chain_hash(self._room, seq)
        return known or (None if seq else chain_start(self._room, 0))

    def _set(self, seq: int, hash_: bytes) -> None:
        self._cursor, self._known, self._is_known = seq, hash_, True
        self._unsaved[seq] = hash_


def chain_link(before: bytes, entry: Entry) -> bytes:
    """Return the chain's hash after an entry, from the one `before` it."""
    numbers = entry.seq.to_bytes(8, "big"), entry.submission.to_bytes(8, "big")
    payload = hashlib.sha256(entry.payload).digest()
    linked = b"".join((_LABEL, before, numbers[0], entry.sender, numbers[1], payload))
    return hashlib.sha256(linked).digest()


def chain_start(room: bytes, seq: int) -> bytes:
    """Return the fixed hash after entry `seq`, from which a chain starts that nobody has handed on."""
    position = b"" if seq == 0 else seq.to_bytes(8, "big")
    return hashlib.sha256(_LABEL + room + position).digest()
