"""Delayed work on rooms, each kind at most once at a time per room. Knows no clock but the event loop's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from clave_client.rooms.local_room import LocalRoom
from clave_client.sync.context import SyncContext

__all__ = ["RoomTimers"]

_Work = Callable[[LocalRoom], None]


class RoomTimers:
    """The delayed work of one profile's rooms."""

    def __init__(self, sync: SyncContext) -> None:
        self._sync = sync
        self._due: set[tuple[_Work, bytes]] = set()

    def once(self, seconds: float, work: _Work, room_id: bytes) -> None:
        """Run `work` on a room in `seconds`, unless that is due already or the room is gone by then."""
        if (work, room_id) not in self._due:
            self._due.add((work, room_id))
            self._sync.later(seconds, partial(self._run, work, room_id))

    def _run(self, work: _Work, room_id: bytes) -> None:
        self._due.discard((work, room_id))
        room = self._sync.rooms.get(room_id)
        if room is not None:
            work(room)
