"""Loads the rooms that a profile is in, and says which cannot be used. Knows no connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clave_client.errors import RoomBehind, RoomUnreadable
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.database import Store
from clave_client.values import Phase

__all__ = ["LoadedRooms", "load_rooms"]


class LoadedRooms(NamedTuple):
    """The rooms in use, and those that cannot be used with the reason, both by id."""

    rooms: dict[bytes, LocalRoom]
    unusable: dict[bytes, RoomUnreadable | RoomBehind]

    def __repr__(self) -> str:
        return f"<LoadedRooms {len(self.rooms)}, unusable {len(self.unusable)}>"


def load_rooms(store: Store, clock: Callable[[], float]) -> LoadedRooms:
    """Load all rooms that are not closed; their keys are loaded when they are first used."""
    loaded = LoadedRooms({}, {})
    for record in store.rooms():
        if record.phase is Phase.CLOSED:
            continue
        try:
            if record.phase is Phase.BEHIND:
                raise RoomBehind(record.title, record.cursor)
            loaded.rooms[record.id] = LocalRoom.load(store, record, clock)
        except (RoomUnreadable, RoomBehind) as error:
            loaded.unusable[record.id] = error
    return loaded
