"""What a client knows of its rooms and people, read from the profile. Asks the relay only for a key.

The part of `client.Client` that changes no room.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clave_client.client_setup import OpenedProfile
from clave_client.errors import NotInRoom, RoomNotFound, UsageError
from clave_client.events import Notice, Person
from clave_client.formats.agreed_state import Role
from clave_client.formats.join_words import joining_text
from clave_client.net.address import RelayInfo
from clave_client.people.key_watch import KeyWatch
from clave_client.rooms.audit import audit_room
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.room_info import room_info
from clave_client.rooms.room_names import resolve_room, similar_room
from clave_client.store.database import RoomRecord
from clave_client.store.message_tables import HistoryLine
from clave_client.sync.room_sync import RoomSync
from clave_client.values import AuditFinding, Fingerprint, MemberInfo, Phase, RoomInfo, SeenKey
from clave_wire.login import fingerprint_text
from clave_wire.text import sanitize

__all__ = ["ClientState"]

_MOST_SEARCHED = 1000
"""Texts that are looked up for an audit, as nothing else is done meanwhile."""


class ClientState:
    """The rooms, people and keys of one profile; the base of `Client`, which opens it."""

    _opened: OpenedProfile | None = None

    # --- state ---

    @property
    def sync(self) -> RoomSync:
        """The rooms and the connection behind this client: no stable interface, for tests and tools.

        Raises `UsageError` before the client was entered or opened.
        """
        return self._parts.sync

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.sync.account.name

    @property
    def rooms(self) -> dict[bytes, RoomRecord]:
        """The rooms this device is in or invited to, by id."""
        return {room.id: room.record for room in self.sync.rooms.values() if not room.is_refused}

    def find_room(self, words: str, *, invited: bool = False) -> bytes:
        """Return the id of the room that `words` names, by title or by 8 or more digits of its id's start.

        Joined rooms come before invitations; with `invited`, only invitations are searched. Raises
        `RoomNotFound`, or `UsageError` when several rooms match, by title or by id.
        """
        if not words.strip():
            raise UsageError("say which room: its title, or 8 digits of its id")
        found = resolve_room(words, self.rooms.values(), invited=invited)
        if found is not None:
            return found
        for error in self.sync.unusable.values():
            if error.title == words:
                raise error
        if invited:
            raise UsageError(f"there is no open invitation to {sanitize(words)}")
        raise RoomNotFound(f"you are in no room called {sanitize(words)}")

    def similar_room(self, room: bytes) -> RoomRecord | None:
        """Return a joined room whose title is confusable with that of `room`, or None."""
        here = self.rooms.get(room)
        return None if here is None else similar_room(here, self.rooms.values())

    def inviter(self, room: bytes) -> Person | None:
        """Return who invites this device to a room; None once the invitation is answered."""
        here = self._room(room)
        return here.roster.inviter() if here.record.phase is Phase.INVITED else None

    def members(self, room: bytes) -> list[MemberInfo]:
        """Return every member's device, with its role and whether it is online."""
        here = self._room(room)
        online = self.sync.online.get(room, set()) | {self.sync.account.device.public}
        people = here.roster.people().values()
        roles = {each: here.state.role_of(each) for each in here.roster.accounts}
        return [
            MemberInfo(
                each,
                roles[each.account] >= Role.ADMIN,
                each.device in online,
                roles[each.account].word,
            )
            for each in people
        ]

    def info(self, room: bytes) -> RoomInfo:
        """Return the summary of a room, as of what this device has read."""
        return room_info(self._room(room), self.sync.account.verified.account)

    def audit(self, room: bytes) -> list[AuditFinding]:
        """Check what is stored of a room, also of one that cannot be used; changes nothing.

        Of old texts of others only the first 1,000 are looked up in the search index, which takes half a
        second: `clave_client.rooms.audit` checks them all. Raises `NotInRoom` if nothing is.
        """
        record = self.sync.store.room(room)
        if record is None:
            raise NotInRoom("nothing is stored of that room")
        return audit_room(self.sync.store, record, most_searched=_MOST_SEARCHED)

    @property
    def unusable(self) -> list[str]:
        """One line for each stored room that cannot be used, with the reason."""
        return [str(error) for error in self.sync.unusable.values()]

    @property
    def relay(self) -> RelayInfo:
        """The relay's address, and the fingerprint of its pinned certificate."""
        pin = self.sync.store.get("relay_pin")
        fingerprint = fingerprint_text(pin) if pin is not None else ""
        return RelayInfo(str(self.sync.connection.address), fingerprint)

    def history(self, room: bytes, *, after: int = 0, last: int = -1) -> list[HistoryLine]:
        """Return messages with a seq above `after`, oldest first; with `last`, the newest of them."""
        self.sync.expiry.check()
        return self.sync.store.history(room, after=after, last=min(last, 1_000_000))

    @property
    def is_online(self) -> bool:
        """Whether there is a connection to the relay now."""
        return self.sync.is_online

    def known_names(self) -> list[str]:
        """Return the names of all people whose accounts are stored or pinned, sorted."""
        return self.sync.store.names()

    def unshown(self, room: bytes, limit: int) -> list[HistoryLine]:
        """Return the first of others' messages that were not shown yet, oldest first."""
        self.sync.expiry.check()
        here, own = self._room(room), self.sync.account.device.public
        late = frozenset(here.late)
        return self.sync.store.unshown_messages(room, own, here.record.shown, late, limit)

    def mark_shown(self, room: bytes, seq: int, *, until: bool = False) -> bool:
        """Note that a message is about to be shown, with `until` all up to it; return False if it was."""
        here = self.sync.rooms.get(room)
        if here is not None:
            is_new = here.mark_shown(seq, until=until)
            self.sync.expiry.check()
            self.sync.receipts.check(here)
            return is_new
        record = self.sync.store.room(room)
        if record is None or seq <= record.shown:
            return record is None
        with self.sync.store.transaction():  # the room was closed meanwhile; this device may be added again
            self.sync.store.put_room(msgspec.structs.replace(record, shown=seq))
        return True

    # --- keys of people ---

    async def fingerprint(self, name: str, *, room: bytes | None = None) -> Fingerprint:
        """Return what to compare with the person called `name`, and pin the name to that key.

        The key is the pinned one, or that of the member of `room`, of another room, or the one that the relay
        names, in this order. Raises `KeyMismatch` when the first three disagree without a `repin`,
        and `RelayRefused` when nobody has that name.
        """
        return await self._parts.people.fingerprint(name, room)

    async def verify(self, name: str, account: bytes | None = None) -> None:
        """Mark `account` as verified under `name`: the user compared it. Asks nobody.

        Without `account`, it is the one that `fingerprint` returned last for that name. Raises `KeyNotShown`
        if there is none, `UsageError` for the own key, and `KeyMismatch` if the name is pinned otherwise.
        """
        self._parts.people.verify(name, account)

    def verify_room(self, room: bytes, code: Sequence[str]) -> list[str]:
        """Mark the accounts of all members of a room as verified, and return the names of the others.

        The user had each of them read the code of the room, and compared it: `code` are its 12 words, as in
        `RoomInfo`. Asks nobody. Raises `UsageError` if that is not the code of the epoch now, and
        `KeyMismatch` if a name is pinned to another key; then nobody is marked.
        """
        here = self._room(room)
        own = self.sync.account.verified.account
        now = room_info(here, own).code
        if not now or tuple(code) != now:
            raise UsageError(
                f"{here.record.title} has changed since these words were its code: compare them again"
            )
        others = {each.account: each.name for each in here.roster.people().values() if each.account != own}
        with self.sync.store.transaction():
            for account, name in others.items():
                self._parts.people.verify(name, account)
        return sorted(others.values())

    def repin(self, name: str, account: bytes) -> None:
        """Pin a name to another key: the decision that `KeyMismatch` asks for."""
        self._parts.people.repin(name, account)

    def keys(self, name: str, *, room: bytes | None = None) -> list[SeenKey]:
        """Return the keys that go by `name`: the pinned one first, then those in all rooms."""
        return self._parts.people.keys(name, room)

    def key_mismatches(self, room: bytes) -> list[Notice]:
        """Return the notices of all members of a room whose name is pinned to another key."""
        return self._key_watch().mismatches(self._room(room))

    def notices_before_sending(self, room: bytes) -> list[Notice]:
        """Return what the user is told of a room before each message: `key_mismatches`, and how it joined.

        That is while a link led this device there, and whoever made it has not spoken there yet.
        """
        here, notices = self._room(room), self.key_mismatches(room)
        if here.joining is not None:
            name = here.name_of(here.joining.inviter)
            text = joining_text(here.record.title, name, waits=here.awaits_entry)
            notices.append(Notice(room, text))
        return notices

    def sender(self, line: HistoryLine) -> Person:
        """Return the sender of a history line, with what this profile knows of it now."""
        return self._parts.people.sender(line)

    def _key_watch(self) -> KeyWatch:
        return KeyWatch(self._parts.pins, self.sync.account.verified.account)

    @property
    def _parts(self) -> OpenedProfile:
        if self._opened is None:
            raise UsageError("enter the client first: async with Client(...) as client")
        return self._opened

    def _room(self, room: bytes) -> LocalRoom:
        found = self.sync.rooms.get(room)
        if found is None:
            unknown = NotInRoom("you are not in that room")
            raise self.sync.unusable.get(room, unknown)
        return found
