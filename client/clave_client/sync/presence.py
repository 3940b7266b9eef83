"""Keeps which members' devices the relay says are connected. Its word proves nothing."""

from __future__ import annotations

from collections.abc import Callable

from clave_client import events
from clave_client.rooms.local_room import LocalRoom
from clave_client.sync.context import SyncContext
from clave_wire.messages import Presence
from clave_wire.text import sanitize

__all__ = ["handle_presence"]


def handle_presence(
    sync: SyncContext, presence: Presence, *, check_routing: Callable[[LocalRoom], None]
) -> None:
    """Note that a member's device came or went; for a device of no member check the routing."""
    room = sync.rooms.get(presence.room)
    if room is None or presence.device == sync.own_device:
        return
    if not room.roster.has(presence.device):
        if presence.online and room.synced:
            check_routing(room)
        return
    online = sync.online.setdefault(presence.room, set())
    if presence.online == (presence.device in online):
        return
    online.symmetric_difference_update({presence.device})
    name, text = sanitize(presence.name), sanitize(presence.text)
    person = room.roster.find(presence.device)
    sync.emit(events.PresenceChanged(room.id, name, presence.online, text, person))
