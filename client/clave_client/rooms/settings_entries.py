"""Takes what the other devices of this account say of its settings in its own room. Sends nothing.

The caller opens transactions.
"""

from __future__ import annotations

from typing import Final

from clave_client.events import Person
from clave_client.formats.own_settings import Purpose, SettingsMessage
from clave_client.rooms.stored_room import StoredRoom
from clave_client.store.database import Store
from clave_client.store.own_settings import OwnSettings

__all__ = ["ANSWER_DUE_PART", "ASKED_PART", "REFUSED", "is_own_room", "take_settings"]

ASKED_PART: Final = "asked for settings"
"""The part of the own room that says that this device has asked for all settings there.

It is deleted when messages may have been missed, and is `REFUSED` when the relay did not take settings.
"""

REFUSED: Final = b"refused"

ANSWER_DUE_PART: Final = "answer with settings"
"""The part of the own room that says that a device has asked, and none has answered yet."""


def is_own_room(room: StoredRoom) -> bool:
    """Return whether a room can only ever have devices of this account."""
    own = room.account
    return room.state.direct == [own] and room.roster.accounts == {own}


def take_settings(room: StoredRoom, store: Store, message: SettingsMessage, person: Person) -> bool:
    """Note settings that `person` has sent; return False if they mean nothing, as it is somebody else."""
    own = room.account
    if not is_own_room(room) or person.account != own:
        return False
    if person.device == room.roster.own_device:
        return True
    OwnSettings(store, own, room.roster.own_device).merge(message.settings, round(room.clock() * 1000))
    if message.purpose is Purpose.ASK:
        room.put_part(ANSWER_DUE_PART, b"1")
    elif message.purpose is Purpose.ANSWER:
        room.put_part(ANSWER_DUE_PART, None)
    return True
