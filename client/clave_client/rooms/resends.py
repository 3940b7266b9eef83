"""Messages this device sends again, as others could not read them or the relay lost them. Knows no group."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

from clave_client.store.database import HistoryLine, Store

__all__ = ["Resends"]

_PART: Final = "said again"
_MOST: Final = 1000


class Resends:
    """The messages of one room that this device has sent again, with the history seq of the latest copy.

    The history keeps each at its first seq.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def due_after(
        self, place: int, device: bytes, account: bytes, waiting: Collection[bytes]
    ) -> list[HistoryLine]:
        """Return what `device` of `account` sent after history seq `place`, oldest first, to be sent again.

        Messages with ids in `waiting` are left out: they are about to be sent anyway.
        """
        again = [message for message, latest in self._places().items() if latest > place]
        found = {line.seq: line for line in self._store.messages_of(self._room, device, after=place)}
        for message in again:
            line = self._store.message(self._room, account, message)
            if line is not None and line.sender == device:
                found[line.seq] = line
        return [found[seq] for seq in sorted(found) if found[seq].id not in waiting]

    def note_logged(self, message: bytes, place: int) -> None:
        """Note that a message is in the log again, at history seq `place` (in the caller's transaction)."""
        places = self._places()
        places.pop(message, None)  # it becomes the latest
        places[message] = place
        packed = [message + place.to_bytes(8, "big") for message, place in places.items()]
        self._store.put_part(self._room, _PART, b"".join(packed[-_MOST:]))

    def _places(self) -> dict[bytes, int]:
        return dict(struct.iter_unpack(">16sQ", self._store.part(self._room, _PART) or b""))
