"""What a device says again: what others could not read, or the relay has lost. Knows no group."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

from clave_client.store import HistoryLine, Store

__all__ = ["Repeats"]

_PART: Final = "said again"
_MOST: Final = 1000


class Repeats:
    """The messages of one room that this device has said again, and where they are in the log since.

    In the history each keeps the place that it had first.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def since(self, place: int, device: bytes, waiting: Collection[bytes]) -> list[HistoryLine]:
        """Return what `device` said after `place`, oldest first, to be said again.

        What is in `waiting` is about to be said anyway.
        """
        places = self._places()
        return [
            line
            for line in self._store.history(self._room, after=0 if places else place)
            if line.sender == device and line.id not in waiting and places.get(line.id, line.seq) > place
        ]

    def placed(self, message: bytes, place: int) -> None:
        """Take that a message is in the log once more (in a transaction)."""
        places = self._places()
        places.pop(message, None)  # it becomes the latest
        places[message] = place
        packed = [message + place.to_bytes(8, "big") for message, place in places.items()]
        self._store.put_part(self._room, _PART, b"".join(packed[-_MOST:]))

    def _places(self) -> dict[bytes, int]:
        return dict(struct.iter_unpack(">16sQ", self._store.part(self._room, _PART) or b""))
