"""Reports members whose name is pinned to another key, once per run. Knows rosters, not the relay."""

from __future__ import annotations

from clave_client.events import Advice, Notice, Person
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.pins import Pins
from clave_client.values import Phase, SeenKey
from clave_crypto.identity import fingerprint
from clave_wire.text import sanitize

__all__ = ["KeyWatch"]


class KeyWatch:
    """Compares the rosters of one profile's rooms with its pins, when either has changed."""

    def __init__(self, pins: Pins, own: bytes) -> None:
        self._pins = pins
        self._own = own
        self._compared: dict[bytes, tuple[bytes, int]] = {}
        self._asked: dict[tuple[str, bytes], SeenKey | None] = {}
        self._asked_at = pins.changes
        self._reported: set[tuple[bytes, bytes, bytes]] = set()

    def mismatches(self, room: LocalRoom) -> list[Notice]:
        """Return a notice for every member of `room` whose name is pinned to another account."""
        return list(self._notices(room).values())

    def new_notices(self, room: LocalRoom) -> list[Notice]:
        """Return the notices not returned before; none for an unanswered invitation."""
        state = room.head, self._pins.changes
        if room.record.phase is Phase.INVITED or self._compared.get(room.id) == state:
            return []
        self._compared[room.id] = state
        found = self._notices(room)
        fresh = [notice for key, notice in found.items() if key not in self._reported]
        self._reported |= found.keys()
        return fresh

    def _notices(self, room: LocalRoom) -> dict[tuple[bytes, bytes, bytes], Notice]:
        found = {}
        for member in room.roster.members().values():
            known = self._contradiction(sanitize(member.name), member.account)
            if known is not None:
                person = room.roster.person(member)
                found[room.id, person.account, known.account] = self._notice(room, person, known)
        return found

    def _contradiction(self, name: str, account: bytes) -> SeenKey | None:
        """Return the other account that a name is pinned to; most people are in many rooms."""
        if self._asked_at != self._pins.changes:
            self._asked, self._asked_at = {}, self._pins.changes
        if (name, account) not in self._asked:
            self._asked[name, account] = self._pins.contradicted_by(name, account)
        return self._asked[name, account]

    def _notice(self, room: LocalRoom, person: Person, known: SeenKey) -> Notice:
        name, here, title = person.name, fingerprint(person.account), room.record.title
        if known.account == self._own:
            text = (
                f"somebody in {title} goes by your name, {name}, with the key {here}; do not trust this room"
            )
            return Notice(room.id, text)
        text = (
            f"{name} in {title} has another key than {known.source}:"
            f" known {fingerprint(known.account)}, here {here};"
            f" ask {name} over another channel"
        )
        return Notice(room.id, text, Advice.DECIDE_KEYS, name)
