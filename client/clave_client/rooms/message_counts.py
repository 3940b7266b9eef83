"""The highest count in the messages of each sender of one room. Knows the store; compares nothing."""

from __future__ import annotations

from typing import Self

from clave_client.store.database import Store

__all__ = ["MessageCounts"]


class MessageCounts:
    """The counts by device. The caller opens transactions, in which `save` writes changes."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self._known: dict[bytes, int] = {}
        self._unsaved: dict[bytes, int] = {}

    def last(self, device: bytes) -> int:
        """Return the highest count in a device's messages, 0 for none."""
        found = self._known.get(device)
        if found is None:
            found = self._known[device] = self._store.last_count(self._room, device)
        return found

    def put(self, device: bytes, count: int) -> None:
        """Set the highest count in a device's messages; 0 when it joins again."""
        self._known[device] = self._unsaved[device] = count

    def save(self) -> None:
        """Write what changed since the last call."""
        if self._unsaved:
            self._store.put_counts(self._room, self._unsaved)
            self._unsaved = {}

    def renewed(self) -> Self:
        """Return the counts as they are stored, after an operation that failed."""
        return type(self)(self._store, self._room)
