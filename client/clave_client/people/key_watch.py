"""Tells of members whose name is bound to another key, once in each session. Knows rosters, not the relay."""

from __future__ import annotations

from clave_client.events import Notice, Person
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.database import Phase
from clave_client.store.pins import Pins, SeenKey
from clave_crypto.identity import fingerprint

__all__ = ["KeyWatch"]


class KeyWatch:
    """Compares the rosters of a session's rooms with the bound names, when either has changed."""

    def __init__(self, pins: Pins, own: bytes) -> None:
        self._pins = pins
        self._own = own
        self._compared: dict[bytes, tuple[int, int]] = {}
        self._told: set[tuple[bytes, bytes, bytes]] = set()

    def mismatches(self, room: LocalRoom) -> list[Notice]:
        """Return a notice for every member of `room` whose name is bound to another account."""
        return list(self._notices(room).values())

    def fresh(self, room: LocalRoom) -> list[Notice]:
        """Return those notices that this did not return before; none for an unanswered invitation."""
        state = room.group.epoch, self._pins.changes
        if room.record.phase is Phase.INVITED or self._compared.get(room.id) == state:
            return []
        self._compared[room.id] = state
        found = self._notices(room)
        fresh = [notice for key, notice in found.items() if key not in self._told]
        self._told |= found.keys()
        return fresh

    def _notices(self, room: LocalRoom) -> dict[tuple[bytes, bytes, bytes], Notice]:
        found = {}
        for person in room.roster.people().values():
            known = self._pins.contradicted_by(person.name, person.account)
            if known is not None:
                text = self._words(person, room.record.title, known)
                found[room.id, person.account, known.account] = Notice(room.id, text)
        return found

    def _words(self, person: Person, title: str, known: SeenKey) -> str:
        name, here = person.name, fingerprint(person.account)
        if known.account == self._own:
            return (
                f"somebody in {title} goes by your name, {name}, with the key {here}; do not trust this room"
            )
        return (
            f"{name} in {title} has another key than {known.source}:"
            f" known {fingerprint(known.account)}, here {here};"
            f" ask {name} over another channel, then /trust {name} or /remove {name}"
        )
