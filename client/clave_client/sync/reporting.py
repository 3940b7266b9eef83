"""Sends receipts, gathered for some seconds. Knows which are due, and not why."""

from __future__ import annotations

from typing import Final

from clave_client.rooms.local_room import LocalRoom
from clave_client.store.database import Store
from clave_client.sync.context import SyncContext
from clave_client.sync.timers import RoomTimers

__all__ = ["ReceiptReporter"]

_GATHER_SECONDS: Final = 5.0
"""Receipts are sent this long after the first of them is due, all in one message."""


class ReceiptReporter:
    """The receipts of one profile's rooms."""

    def __init__(self, sync: SyncContext, store: Store, timers: RoomTimers) -> None:
        self._sync = sync
        self._store = store
        self._timers = timers

    def check(self, room: LocalRoom) -> None:
        """Have the receipts that are due in a room sent soon."""
        if self._store.has_due_receipts(room.id):
            self._timers.once(_GATHER_SECONDS, self._send, room.id)

    def _send(self, room: LocalRoom) -> None:
        if self._sync.is_online and room.may_send and room.enqueue_receipts():
            self._sync.submit_due(room)
