"""The library: what a program can do with a profile at its relay. Every mode of `clave` is built on it.

Example, in a coroutine:

    from clave_client import Client, Profile, default_home

    with Profile(default_home(), "red") as profile:
        async with Client(profile, relay="chat.example.org") as client:
            room = await client.create_room("friends")
            await room.invite("blue")
            await room.send("hello")
            async for event in client.events():
                print(event)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

import msgspec

from clave_client.client_setup import OpenedProfile, open_profile
from clave_client.errors import (
    ClientError,
    MemberNotFound,
    NotInRoom,
    RelayRefused,
    RoomBehind,
    RoomNotFound,
    SelfRemoval,
    UsageError,
)
from clave_client.events import Connected, Event, Notice, Person
from clave_client.formats.content import MAX_BODY_BYTES, ContentKind
from clave_client.net.address import RelayInfo
from clave_client.net.transport import Connect, RelayTransport
from clave_client.people.key_lookup import claim_invitee
from clave_client.people.key_watch import KeyWatch
from clave_client.people.known_keys import Fingerprint
from clave_client.room import Room
from clave_client.rooms.creation import check_title, create_group
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.room_info import MemberInfo, RoomInfo
from clave_client.rooms.room_names import resolve_room, similar_room
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.database import HistoryLine, Phase, RoomRecord
from clave_client.store.pins import SeenKey, check_inviter
from clave_client.store.profile import Profile
from clave_client.sync.event_stream import EventStream
from clave_client.sync.room_sync import RoomSync
from clave_crypto.errors import CryptoError
from clave_crypto.mls import CipherSuite, GroupContextExtensions, Proposal, Remove
from clave_wire.login import fingerprint_text
from clave_wire.messages import Code, CreateRoom
from clave_wire.text import sanitize

__all__ = ["Client"]

E = TypeVar("E", bound=Event)

_NAME_REFUSED = {Code.BAD_NAME, Code.NAME_TAKEN, Code.NAME_CONFUSABLE, Code.CLOSED, Code.TOKEN}
"""Refusals of a new name."""


class Client:
    """A profile in use, as an async context manager: entering connects, leaving closes.

    Constructing it does nothing. `relay` is where a new profile is registered, or where the relay has moved
    to; a profile remembers its relay. `pin` is the SHA-256 digest (32 bytes) of the only certificate to
    accept, `token` what a relay with closed registration asks for. `clock` is in seconds since 1970, and
    `connect` makes a connection to the relay: over TLS unless given (see `clave_client.testing`).

    Methods that change something return once the relay has it on disk, and raise `ClientError`. What happens
    is reported by `events()`. Rooms are named by their id, 16 bytes; `room()` returns a handle for one.
    """

    def __init__(
        self,
        profile: Profile,
        relay: str | None = None,
        *,
        pin: bytes | None = None,
        token: str = "",
        clock: Callable[[], float] = time.time,
        connect: Connect = RelayTransport.connect,
    ) -> None:
        self._profile = profile
        self._open_profile = partial(
            open_profile, profile, relay, pin=pin, token=token, clock=clock, connect=connect
        )
        self._connected: Connected | None = None
        self._is_new = self._refused = False
        self._never_registered: bool | None = None
        self._opened: OpenedProfile | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def open(self) -> None:
        """Open the profile's database without connecting; does nothing if it is open.

        Enough for what asks the relay nothing: `rooms`, `info()`, `members()`, `history()`, `relay`. Raises
        `ProfileError`, or `UsageError` if the profile is new and no relay is given.
        """
        if self._never_registered is not None:
            raise UsageError("this client was closed; make another one")
        if self._opened is not None:
            return
        self._is_new = not self._profile.has_store
        self._opened = self._open_profile()

    async def connect(self) -> Connected:
        """Open the profile's database, connect, register a new profile's name, and resume the rooms.

        Raises `RelayUnreachable`, `NotARelay`, `RelayChanged` or `RelayRefused`, and what `open` does.
        """
        self.open()
        try:
            self._connected = await self.sync.connect()
        except RelayRefused as error:
            self._refused = error.code in _NAME_REFUSED
            raise
        return self._connected

    async def close(self) -> None:
        """Send goodbye, end all event streams and close the profile's database."""
        if self._opened is not None and self._never_registered is None:
            never_registered = self.never_registered
            await self.sync.close()
            self._never_registered = never_registered  # which also says that the client is closed
            self.sync.store.close()

    @property
    def never_registered(self) -> bool:
        """Whether the profile is of no use: no relay can know its name, so nothing is lost with its key.

        A program that made the profile for this client deletes it then, with `Profile.discard`.
        """
        if self._never_registered is not None:
            return self._never_registered
        if self._opened is None:
            return not self._profile.has_store
        # If the answer to a login was lost the name may be registered: then its key is needed.
        never_met = self._is_new and not self.sync.connection.has_connected
        return self.sync.store.get("relay_pin") is None and (self._refused or never_met)

    # --- events ---

    def events(self) -> EventStream[Event]:
        """Open a stream of what happens: `async for event in client.events()`.

        Each call opens a stream of its own. The streams opened before one is read begin with what happened
        since the client was entered, later ones with what happens next. A `Notice` reports each member whose
        name is pinned to another key, before other events of the room.
        """
        return self.stream(Event)

    def stream(self, kind: type[E], room: bytes | None = None) -> EventStream[E]:
        """Open a stream of the events of one kind, with `room` only of that room; see `events`."""
        watch = self._key_watch()

        def key_notices(about: bytes) -> list[Notice]:
            if self._never_registered is not None:
                return []  # the client is closed, and with it the database
            found = self.sync.rooms.values() if not about else filter(None, [self.sync.rooms.get(about)])
            return [notice for each in tuple(found) for notice in watch.new_notices(each)]

        return self.sync.events.open(kind, room=room, key_notices=key_notices)

    # --- state ---

    @property
    def connected(self) -> Connected:
        """The event of the first connection. Raises `UsageError` before that."""
        if self._connected is None:
            raise UsageError("connect first")
        return self._connected

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
        return {room.id: room.record for room in self.sync.rooms.values()}

    def find_room(self, words: str, *, invited: bool = False) -> bytes:
        """Return the id of the room that `words` names, by title or by 8 or more digits of its id's start.

        Joined rooms come before invitations; with `invited`, only invitations are searched. Raises
        `RoomNotFound`, or `UsageError` when several rooms match, by title or by id.
        """
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

    def room(self, room: bytes) -> Room:
        """Return a handle for the room with this id. Raises `NotInRoom`, `RoomUnreadable` or `RoomBehind`."""
        return Room(self, room, self._room(room).record.title)

    def invitations(self) -> list[Room]:
        """Return the rooms this device is invited to, for `Room.accept` or `Room.decline`."""
        invited = (room for room in self.rooms.values() if room.phase is Phase.INVITED)
        return [Room(self, record.id, record.title) for record in invited]

    def inviter(self, room: bytes) -> Person | None:
        """Return who invites this device to a room; None once the invitation is answered."""
        here = self._room(room)
        return here.roster.inviter() if here.record.phase is Phase.INVITED else None

    def members(self, room: bytes) -> list[MemberInfo]:
        """Return every member's device, with whether it is an admin's and whether it is online."""
        here = self._room(room)
        online = self.sync.online.get(room, set()) | {self.sync.account.device.public}
        admins = here.state.admins
        people = here.roster.people().values()
        return [MemberInfo(each, each.account in admins, each.device in online) for each in people]

    def info(self, room: bytes) -> RoomInfo:
        """Return the summary of a room, as of what this device has read."""
        return RoomInfo.of(self._room(room), self.sync.account.verified.account)

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
        return self.sync.store.history(room, after=after, last=min(last, 1_000_000))

    @property
    def is_online(self) -> bool:
        """Whether there is a connection to the relay now."""
        return self.sync.is_online

    def known_names(self) -> list[str]:
        """Return the names of all people whose accounts are stored or pinned, sorted."""
        return self.sync.store.names()

    async def wait_flushed(self) -> None:
        """Wait until all outboxes are empty."""
        await self.sync.wait_for(lambda: not any(room.outbox for room in self.sync.rooms.values()))

    async def wait_synced(self, room: bytes) -> None:
        """Wait until all that the relay had of a joined room is read."""
        here = self._room(room)
        if here.record.phase is Phase.JOINED:
            await self.sync.wait_for(lambda: self.sync.rooms.get(room) is not here or here.synced)

    def unshown(self, room: bytes) -> list[HistoryLine]:
        """Return others' messages that were not shown yet, oldest first."""
        here = self._room(room)
        lines = self.sync.store.history(room, after=min(here.late, default=here.record.shown + 1) - 1)
        lines = [line for line in lines if line.seq > here.record.shown or line.seq in here.late]
        return [line for line in lines if line.sender != self.sync.account.device.public]

    def mark_shown(self, room: bytes, seq: int) -> bool:
        """Note that a message is about to be shown; return False when it was shown before."""
        here = self.sync.rooms.get(room)
        if here is not None:
            return here.mark_shown(seq)
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

    def repin(self, name: str, account: bytes) -> None:
        """Pin a name to another key: the decision that `KeyMismatch` asks for."""
        self._parts.people.repin(name, account)

    def keys(self, name: str, *, room: bytes | None = None) -> list[SeenKey]:
        """Return the keys that go by `name`: the pinned one first, then those in all rooms."""
        return self._parts.people.keys(name, room)

    def key_mismatches(self, room: bytes) -> list[Notice]:
        """Return the notices of all members of a room whose name is pinned to another key."""
        return self._key_watch().mismatches(self._room(room))

    def sender(self, line: HistoryLine) -> Person:
        """Return the sender of a history line, with what this profile knows of it now."""
        return self._parts.people.sender(line)

    # --- rooms ---

    async def create_room(self, title: str, *, suite: CipherSuite = NEW_ROOMS) -> Room:
        """Create a room with this device as its only member and its admin."""
        sync, room_id = self.sync, os.urandom(16)
        group = create_group(sync.account, room_id, title, suite, sync.clock())
        await sync.transport.request(lambda request: CreateRoom(request, room_id))
        room = LocalRoom.create(sync.store, group, sync.clock, sync.incarnation)
        sync.rooms[room_id] = room
        sync.resume(room)
        await sync.wait_for(lambda: room.synced)
        return Room(self, room_id, room.record.title)

    async def invite(self, room: bytes, name: str) -> Person:
        """Add the devices of `name` to a room; each receives a welcome, and the user has to accept it.

        A device that lacks the room's cipher suite is left out and named in a `Notice`. Raises
        `PeerLacksSuite` when all do, and `KeyMismatch` when the relay names another account than the pinned
        one, or than that of a member of a room with that name.
        """
        here, suite = self._room(room), self._room(room).group.suite
        members = {person.device for person in here.roster.people().values()}

        def check(found: SeenKey) -> None:
            self._parts.pins.check(name, found, self._parts.people.seen(name, room))

        invitee = await claim_invitee(self.sync.transport, name, suite, members=members, check=check)
        if invitee is None:
            raise UsageError(f"{name} is in {here.record.title} already")
        await self._commit(room, lambda _: invitee.adds)
        self._parts.pins.pin(name, SeenKey(invitee.account, "who was invited"))
        for device in invitee.left_out:
            text = f"{name}'s device {sanitize(device.device_name)} stays out: it lacks {suite.words}"
            self.sync.emit(Notice(room, f"{text}; update clave there and invite {name} again"))
        return next(p for p in here.roster.people().values() if p.account == invitee.account)

    async def accept(self, room: bytes) -> None:
        """Accept an invitation and pin the inviter's name.

        Raises `KeyMismatch` if that is pinned to another key.
        """
        here, inviter = self._room(room), self.inviter(room)
        with self.sync.store.transaction():
            if inviter is not None:
                self._parts.pins.pin(inviter.name, check_inviter(self._parts.pins, inviter))
            here.accept()
        self.sync.invitations.retry_deferred()
        here.enqueue(ContentKind.JOINED, "")
        await self._resume_answered(here)

    async def decline(self, room: bytes) -> None:
        """Decline an invitation, which has the group remove this device again."""
        here = self._room(room)
        with self.sync.store.transaction():
            here.decline()
        self.sync.invitations.retry_deferred()
        await self._resume_answered(here)
        await self._wait_left(here)

    async def _resume_answered(self, here: LocalRoom) -> None:
        self.sync.resume(here)
        await self.sync.wait_for(lambda: here.synced or here.record.phase in (Phase.CLOSED, Phase.BEHIND))
        if here.record.phase is Phase.BEHIND:
            raise RoomBehind(here.record.title, here.record.cursor)

    async def remove(self, room: bytes, name: str) -> None:
        """Remove every device of `name` from a room and rekey it."""
        here = self._room(room)
        if name == self.name:
            raise SelfRemoval("you cannot remove yourself from a room; leave it")

        def propose(room: LocalRoom) -> Sequence[Proposal]:
            return [Remove(index) for index, person in room.roster.people().items() if person.name == name]

        if not propose(here):
            raise MemberNotFound(f"there is no {sanitize(name)} in {here.record.title}")
        await self._commit(room, propose)

    async def set_title(self, room: bytes, title: str) -> None:
        """Change a room's title for all members."""
        checked = check_title(title)

        def propose(room: LocalRoom) -> Sequence[Proposal]:
            return [GroupContextExtensions(room.extensions_with(title=checked))]

        await self._commit(room, propose)

    async def leave(self, room: bytes) -> None:
        """Leave a room: the others rekey, and this device's keys of the room are deleted."""
        here = self._room(room)
        here.start_leaving()
        self.sync.submit_due(here)
        await self._wait_left(here)

    async def _wait_left(self, here: LocalRoom) -> None:
        await self.sync.wait_for(lambda: here.record.phase is not Phase.LEAVING)
        if here.record.phase is not Phase.CLOSED:
            raise ClientError(f"you are still in {here.record.title}: the relay refused to let you leave")

    async def _commit(self, room: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> None:
        try:
            await self.sync.commit(room, propose)
        except CryptoError as error:
            raise UsageError(sanitize(str(error))) from None

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

    # --- messages ---

    def post(self, room: bytes, text: str) -> bytes:
        """Append a message to a room's outbox and return its id; an event `Sent` or `SendFailed` follows.

        Once this returns the message survives a crash. Raises `UsageError` when it is empty or too long.
        """
        self.sync.check()
        here = self._room(room)
        text = text.encode(errors="replace").decode()
        if not text.strip():
            raise UsageError("an empty message says nothing")
        if len(text.encode()) > MAX_BODY_BYTES:
            raise UsageError(f"a message has at most {MAX_BODY_BYTES} bytes; send it in pieces")
        if here.record.phase is not Phase.JOINED:
            raise UsageError(f"accept the invitation to {here.record.title} first")
        message_id = here.enqueue(ContentKind.TEXT, text)
        self.sync.submit_due(here)
        return message_id

    async def wait_until_sendable(self, room: bytes) -> None:
        """Wait until a room is read and messages can be encrypted for its present members.

        Raises `ClientError` when the relay refuses to resume the room.
        """
        await self.sync.wait_until_sendable(room)

    async def send(self, room: bytes, text: str) -> int:
        """Send a message; return its history seq once the relay has it on disk. Raises `ClientError`."""
        return await self.sync.wait_for_delivery(room, self.post(room, text))
