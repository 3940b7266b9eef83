"""Takes in who of a room's members is at the relay. Its word proves nothing, and is kept of members only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client import events
from clave_wire.messages import Presence
from clave_wire.text import sanitize

if TYPE_CHECKING:
    from clave_client.sync.room_sync import RoomSync

__all__ = ["handle_presence"]


def handle_presence(session: RoomSync, presence: Presence) -> None:
    """Note that a member came or went; of a stranger, have the relay's list compared."""
    room = session.rooms.get(presence.room)
    if room is None or presence.device == session.own_device:
        return
    if not room.roster.has(presence.device):
        if presence.online and room.synced:
            session.compare_routing(room)
        return
    online = session.online.setdefault(presence.room, set())
    if presence.online == (presence.device in online):
        return
    online.symmetric_difference_update({presence.device})
    name, text = sanitize(presence.name), sanitize(presence.text)
    session.emit(events.PresenceChanged(room.id, name, presence.online, text))
