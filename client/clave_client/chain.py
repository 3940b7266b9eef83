"""A hash chain over one room's log, by which members notice that a relay shows them different histories.

The chain starts anew with each epoch, so that whoever joins with a commit can follow it from there. Each
message says how its sender saw it (`content.Seen`).
"""

from __future__ import annotations

import hashlib

import msgspec

from clave_client.content import Seen
from clave_client.store import Store
from clave_wire.messages import Entry

__all__ = ["LogChain"]

_LABEL = b"clave 1 log chain"
_LINKS_KEPT = 1000
_encoder = msgspec.msgpack.Encoder()


class LogChain:
    """The chain of one room, up to the entry its cursor stands at. Transactions are the caller's."""

    def __init__(self, store: Store, room: bytes, cursor: int, epoch: int) -> None:
        self._store = store
        self._room = room
        self._cursor = cursor
        self._link = store.link(room, cursor) or self._start(cursor, epoch)

    def restart(self, seq: int, epoch: int) -> None:
        """Begin the chain of `epoch`, which the commit at `seq` began (0 and 0 for a new room)."""
        self._keep(seq, self._start(seq, epoch))

    def extend(self, entry: Entry) -> None:
        """Take the next entry into the chain."""
        self._keep(entry.seq, hashlib.sha256(self._link + _encoder.encode(entry)).digest())
        if entry.seq % 100 == 0:
            self._store.trim_chain(self._room, entry.seq - _LINKS_KEPT)

    def seen(self) -> Seen:
        """Return what to tell the others of this device's view."""
        return Seen(self._cursor, self._link)

    def contradicts(self, seen: Seen) -> bool:
        """Tell whether a member was shown another history than this device, as far as is kept."""
        known = self._store.link(self._room, seen.cursor)
        return known is not None and known != seen.hash

    def _keep(self, seq: int, link: bytes) -> None:
        self._cursor, self._link = seq, link
        self._store.add_link(self._room, seq, link)

    def _start(self, seq: int, epoch: int) -> bytes:
        position = seq.to_bytes(8, "big") + epoch.to_bytes(8, "big")
        return hashlib.sha256(_LABEL + self._room + position).digest()
