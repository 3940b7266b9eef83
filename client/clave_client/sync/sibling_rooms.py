"""Has every device of this account in every room of this one, and removed devices in none. Knows no relay.

What is to be done follows from who is in each room, so it goes on after a restart wherever it was. One commit
a room, one room at a time. Of several devices in a room the first one that is connected does it, another one
if it is not done after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

from clave_client import events
from clave_client.errors import ClientError, RelayUnreachable, UsageError
from clave_client.formats.agreed_state import Role
from clave_client.net.transport import RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.account import Account
from clave_client.sync.committer import Propose
from clave_client.sync.context import SyncContext
from clave_client.sync.siblings import Siblings
from clave_client.values import Phase
from clave_crypto.mls import Add, CipherSuite, MLSError, Proposal, Remove
from clave_wire.text import sanitize

__all__ = ["Claim", "SiblingRooms", "SiblingRoomsContext"]

Claim = Callable[[RelayTransport, CipherSuite, Collection[bytes]], Awaitable[list[Add]]]
"""Claims a key package of each of these devices of the account that has a valid one."""

_NOT_ADDED: Final = "devices not added"
"""The part of a room with the account's devices that this one does not add, whoever removed them.

They were in the room before, or were known and not in it when another device brought this one there. It only
grows as long as this device is in the room.
"""

_PAUSE_SECONDS: Final = 0.05
"""Pause between two rooms: the other work of a client goes on."""

_GATHER_SECONDS: Final = 3.0
"""Rooms into which this device was brought within this time are told in one line."""

_AGAIN_SECONDS: Final = 20.0
"""After this long what is left is tried again, also what another device of the account should have done."""

_MOST_SECONDS: Final = 3600.0
"""The pause doubles with each failure up to this, as each try uses up a key package."""


_WHO_ADDS: Final = {Role.MEMBER: "a member", Role.ADMIN: "an admin", Role.OWNER: "an owner"}


class SiblingRoomsContext(SyncContext, Protocol):
    """What this needs of a `RoomSync`."""

    async def commit(self, room_id: bytes, propose: Propose) -> bool:
        """Commit a change of a room, as `Committer.commit` does."""

    def submit_noted(self, room: LocalRoom) -> None:
        """Submit what is due in a room, after resuming it if that was not asked for yet."""


class SiblingRooms:
    """The rooms of one profile as far as the devices of its account are concerned."""

    def __init__(self, sync: SiblingRoomsContext, account: Account, siblings: Siblings) -> None:
        self._sync = sync
        self._account = account
        self._siblings = siblings
        self.claim: Claim | None = None
        self._running = self._again = False
        self._is_timed = False
        self._unanswered: set[bytes] = set()
        self._brought: set[bytes] = set()
        self._postponed: dict[bytes, float] = {}
        self._failures: dict[bytes, int] = {}
        self._told: dict[tuple[bytes, bytes], str] = {}
        self._added: dict[bytes, int] = {}
        self._removed: dict[bytes, int] = {}

    # --- what is to be done ---

    def missing(self, room: LocalRoom) -> list[bytes]:
        """Return the devices of the account that are to be added to a room."""
        if room.record.phase is not Phase.JOINED or room.awaits_entry:
            return []
        not_added = set() if room.is_notes else _not_added(room)  # they share their settings there
        others = self._siblings.known.others().values()
        wanted = [each.device for each in others if each.is_paired and each.device not in not_added]
        return [device for device in wanted if not room.roster.has(device)]

    def removed(self, room: LocalRoom) -> list[bytes]:
        """Return the devices in a room that the account has revoked."""
        if room.record.phase is not Phase.JOINED or room.awaits_entry:
            return []
        return [device for device in self._siblings.known.revoked() if room.roster.has(device)]

    def note(self, room: LocalRoom, changes: Sequence[events.Event]) -> None:
        """Note which devices of the account came into a room or are there no longer; see to the others."""
        own, named, is_changed = self._account.verified.account, set(), False
        for event in changes:
            match event:
                case (
                    events.MemberAdded(person=who)
                    | events.MemberJoined(person=who)
                    | events.MemberLeft(person=who)
                    | events.MemberRemoved(person=who)
                ):
                    is_changed = True
                    if who.account == own:
                        named.add(who.device)
                case _:
                    continue
        if is_changed:
            self._note_there(room, named)
            self.check()

    def _note_there(self, room: LocalRoom, named: Collection[bytes] = ()) -> None:
        """Note the devices of the account that are in a room, and those `named`: not to be added again."""
        before = _not_added(room)
        there = {device for device in self._siblings.known.others() if room.roster.has(device)}
        is_member = room.record.phase in (Phase.JOINED, Phase.INVITED)
        if is_member and not before.issuperset(there.union(named)):
            room.put_part(_NOT_ADDED, b"".join(sorted(before.union(there, named))))

    # --- being brought in ---

    def note_brought(self, room: LocalRoom) -> None:
        """Answer an invitation by a device of the account once the relay was asked which devices it has."""
        self._unanswered.add(room.id)
        if self._siblings.is_asked:
            self._answer_invitations()

    def _answer_invitations(self) -> None:
        """Accept the invitations by devices of the account; leave to the user those by devices it removed."""
        others = self._siblings.known.others()
        for room in list(self._sync.rooms.values()):
            inviter = room.roster.inviting_member() if room.record.phase is Phase.INVITED else None
            if inviter is not None and inviter.signature_key in others:
                with self._siblings.known.store.transaction():
                    room.accept()
                    room.put_part(_NOT_ADDED, b"".join(sorted(others)))
                self._brought.add(room.id)
                if len(self._brought) == 1:
                    self._sync.later(_GATHER_SECONDS, self._tell_brought)
                self._sync.submit_noted(room)
            elif inviter is not None and room.id in self._unanswered:
                self._sync.emit(room.invitation())
        self._unanswered.clear()

    # --- doing it ---

    def begin(self) -> None:
        """Begin anew in all rooms: there is another device, a removed one, or a new connection."""
        self._postponed.clear()
        self._failures.clear()
        if self._siblings.is_asked:
            self._answer_invitations()
        self.check()

    def check(self) -> None:
        """Do in the background what is to be done in any room."""
        if not self._sync.is_online or not self._siblings.known.has_any:
            return
        self._again = True
        if not self._running:
            self._running = True
            self._sync.spawn(self._run)

    def check_room(self, room: LocalRoom) -> None:
        """Do in the background what is to be done in one room, if anything is."""
        if (
            self._siblings.known.has_any
            and room.id not in self._postponed
            and (self.missing(room) or self.removed(room))
        ):
            self.check()

    async def _run(self) -> None:
        is_left = False
        try:
            while self._again:
                self._again = is_left = False
                for room_id in list(self._sync.rooms):
                    is_left |= not await self._settle(room_id)
                self._report()
        except RelayUnreachable:
            return  # goes on once there is a connection
        finally:
            self._running = False
        if is_left and not self._is_timed:
            self._is_timed = True
            self._sync.later(_AGAIN_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._is_timed = False
        self.check()

    async def _settle(self, room_id: bytes) -> bool:
        """Do what is to be done in a room; return whether nothing is left to be done there.

        The first time it is left to another device of the account that comes first. A room that cannot be
        changed now is left, so that it does not hold up the others; `check_room` comes back to it. Raises
        `RelayUnreachable`.
        """
        room = self._sync.rooms.get(room_id)
        if room is None or not self._sync.is_online:
            return True
        self._note_there(room)
        if not (self.missing(room) or self.removed(room)):
            return True
        loop = asyncio.get_running_loop()
        if loop.time() < self._postponed.get(room_id, 0.0):
            return False
        if not (room.synced and (room.may_commit or room.too_old)):
            return False
        if _awaits_change(room):
            return False
        if room_id not in self._postponed and self._rank(room):
            self._postponed[room_id] = loop.time() + _AGAIN_SECONDS
            return False
        try:
            done = await self._remove(room) and await self._add(room)
        except (ClientError, MLSError) as error:
            if isinstance(error, RelayUnreachable):
                raise
            if not _awaits_change(room):  # else that came first
                self._tell_failure(room, error)
            done = False
        if done:
            self._postponed.pop(room_id, None)
            self._failures.pop(room_id, None)
        else:
            failures = self._failures[room_id] = self._failures.get(room_id, 0) + 1
            pause = min(_AGAIN_SECONDS * 2.0 ** (failures - 1), _MOST_SECONDS)
            self._postponed[room_id] = loop.time() + pause
        await asyncio.sleep(_PAUSE_SECONDS)
        return done

    def _rank(self, room: LocalRoom) -> int:
        """Return how many devices of this account come before this one in a room, of those that are there."""
        siblings = self._siblings.known.others()
        online = self._sync.online.get(room.id, set()) | self._siblings.online
        return room.roster.own_rank(online, siblings)

    async def _remove(self, room: LocalRoom) -> bool:
        """Remove the revoked devices from a room; return whether that counts."""
        gone = self.removed(room)
        if not gone:
            return True

        def propose(here: LocalRoom) -> Sequence[Proposal] | None:
            left = self.removed(here)
            members = here.roster.members().items()
            return [Remove(leaf) for leaf, each in members if each.signature_key in left] or None

        counts = await self._sync.commit(room.id, propose)
        for device in () if room.is_notes else gone:
            self._removed[device] = self._removed.get(device, 0) + 1
        return counts

    async def _add(self, room: LocalRoom) -> bool:
        """Add the missing devices to a room; return whether all are in."""
        missing = self.missing(room)
        if not missing:
            return True
        state = room.state
        may_add = not state.is_former or room.roster.is_current or state.role_of(room.account) >= state.add
        if not may_add:  # before key packages are used up
            raise UsageError(f"{_WHO_ADDS[state.add]} has to add them there, by /invite")
        adds = [] if self.claim is None else await self.claim(self._sync.transport, room.group.suite, missing)

        def propose(here: LocalRoom) -> Sequence[Proposal] | None:
            wanted = self.missing(here)
            return [add for add in adds if add.key_package.leaf_node.signature_key in wanted] or None

        if adds and await self._sync.commit(room.id, propose):
            for add in adds:
                device = add.key_package.leaf_node.signature_key
                if room.roster.has(device):
                    self._added[device] = self._added.get(device, 0) + (not room.is_notes)
                    self._told.pop((room.id, device), None)
        return not self.missing(room)

    # --- telling ---

    def _tell_brought(self) -> None:
        joined = [each for each in self._sync.rooms.values() if each.record.phase is Phase.JOINED]
        count = sum(not each.is_notes for each in joined)
        if count:
            text = f"your other device brought you in: you are in {_rooms(count)} now"
            self._sync.emit(events.Notice(b"", text))
        self._brought.clear()

    def _report(self) -> None:
        """Say in a line each in how many rooms a device is now, or no longer."""
        known = self._siblings.known
        others = known.others()
        for device, count in self._added.items():
            if count and device in others:
                name = sanitize(known.identity(others[device]).device_name)
                self._sync.emit(events.Notice(b"", f"your device {name} was added to {_rooms(count)}"))
        for count in self._removed.values():
            self._sync.emit(events.Notice(b"", f"your removed device is taken out of {_rooms(count)}"))
        self._added.clear()
        self._removed.clear()

    def _tell_failure(self, room: LocalRoom, error: Exception) -> None:
        """Say once why a room could not be changed."""
        for device in (*self.missing(room), *self.removed(room)):
            text = sanitize(str(error))
            if self._told.get((room.id, device)) != text:
                self._told[room.id, device] = text
                title = room.record.title
                self._sync.emit(events.Notice(room.id, f"your devices in {title} are not up to date: {text}"))
                return


def _awaits_change(room: LocalRoom) -> bool:
    """Return whether others have to confirm a change, or somebody's leaving, before anybody can be added."""
    return room.commits.awaits_confirmation or bool(room.intent or room.roster.leavers())


def _not_added(room: LocalRoom) -> set[bytes]:
    stored = room.part(_NOT_ADDED) or b""
    return {stored[place : place + 32] for place in range(0, len(stored), 32)}


def _rooms(count: int) -> str:
    return "1 room" if count == 1 else f"{count} rooms"
