"""The keys that go by a name: by its pin, in the rooms, and at the relay. Knows no screen."""

from __future__ import annotations

from clave_client.errors import KeyNotShown, UsageError
from clave_client.events import Person
from clave_client.people.key_lookup import look_up
from clave_client.store.message_tables import HistoryLine
from clave_client.store.pins import Pins, seen_keys
from clave_client.sync.room_sync import RoomSync
from clave_client.values import Fingerprint, Phase, SeenKey
from clave_crypto.identity import VerifiedIdentity, fingerprint, safety_number
from clave_wire.text import sanitize

__all__ = ["KnownKeys"]


class KnownKeys:
    """The keys of the people that one profile knows, by name; see the methods of `Client`."""

    def __init__(self, pins: Pins, sync: RoomSync) -> None:
        self._pins = pins
        self._sync = sync
        self._own = sync.account.verified
        self._looked_up: dict[str, bytes] = {}

    async def fingerprint(self, name: str, room: bytes | None) -> Fingerprint:
        """Return what to compare with the person called `name`, and pin the name to that key."""
        if name == self._own.name:
            return _own_fingerprint(self._own)
        found = self._pins.choose(name, self.seen(name, room))
        if found is None:
            found, _ = await look_up(self._sync.transport, name)
            self._pins.check(name, found)
        account = found.account
        if account == self._own.account:
            return _own_fingerprint(self._own)
        self._pins.pin(name, found)
        self._looked_up[name] = account
        number = safety_number(self._own.account, account)
        verified = self._pins.is_verified(name, account)
        return Fingerprint(name, account, fingerprint(account), number, verified, found.source)

    def verify(self, name: str, account: bytes | None) -> None:
        """Mark `account`, or else the one shown last, as verified under `name`."""
        if account is None:
            account = self._looked_up.get(name)
        if account is None:
            raise KeyNotShown(f"no key of {sanitize(name)} was shown yet")
        if account == self._own.account:
            raise UsageError("this is your own key; compare it with others, each verifies you")
        self._pins.verify(name, account)

    def repin(self, name: str, account: bytes) -> None:
        """Pin a name to another key."""
        known = self._pins.known(name)
        if known is not None and known.account == self._own.account:
            raise UsageError(f"{sanitize(name)} is you: nobody else can go by that name here")
        self._pins.repin(name, account)
        self._looked_up.pop(name, None)

    def keys(self, name: str, room: bytes | None) -> list[SeenKey]:
        """Return the keys that go by `name`: the pinned one first, then those in all rooms."""
        known = self._pins.known(name)
        found = [known] if known is not None else []
        for one in self.seen(name, room, invitations=True):
            if all(one.account != other.account for other in found):
                found.append(one)
        return found

    def sender(self, line: HistoryLine) -> Person:
        """Return the sender of a history line, with what this profile knows of it now."""
        known = self._pins.contradicted_by(line.name, line.account)
        verified = known is None and self._pins.is_verified(line.name, line.account)
        other = b"" if known is None else known.account
        return Person(line.name, line.account, "", line.sender, verified, other)

    def seen(self, name: str, room: bytes | None, *, invitations: bool = False) -> list[SeenKey]:
        """Return the keys that go by `name` in the joined rooms, those of `room` first."""
        rooms = sorted(self._sync.rooms.values(), key=lambda each: each.id != room)
        found = []
        for each in rooms:
            if invitations or each.record.phase is not Phase.INVITED:
                where = "the invitation to" if each.record.phase is Phase.INVITED else "the group"
                people = each.roster.people().values()
                found += seen_keys(name, people, f"{where} {each.record.title}")
        return found


def _own_fingerprint(me: VerifiedIdentity) -> Fingerprint:
    return Fingerprint(me.name, me.account, fingerprint(me.account), "", verified=True, source="this profile")
