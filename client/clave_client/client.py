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

from clave_client.client_devices import ClientDevices
from clave_client.client_setup import open_profile
from clave_client.errors import (
    ClientError,
    MemberNotFound,
    RelayFault,
    RelayRefused,
    RoomBehind,
    RoomUnreadable,
    UsageError,
)
from clave_client.events import Connected, Event, Notice, Person
from clave_client.formats.former_state import MAX_TITLE
from clave_client.net.transport import Connect
from clave_client.people.key_lookup import claim_invitee
from clave_client.people.lifetimes import Clocks
from clave_client.room import Room
from clave_client.rooms.creation import create_group
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import NOTES
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.own_devices import remember_revocations
from clave_client.store.profile import Profile
from clave_client.sync.event_stream import EventStream
from clave_client.values import Phase, SeenKey
from clave_crypto.identity import verify_identity
from clave_crypto.mls import CipherSuite, Proposal
from clave_wire.messages import Code, CreateRoom, DeleteAccount
from clave_wire.text import sanitize

__all__ = ["Client"]

E = TypeVar("E", bound=Event)


_DELETING_SINCE = 5
"""The version of the protocol that has `DeleteAccount`."""

_NAME_REFUSED = {Code.BAD_NAME, Code.NAME_TAKEN, Code.NAME_CONFUSABLE, Code.CLOSED, Code.TOKEN}
"""Refusals of a new name."""


class Client(ClientDevices):
    """A profile in use, as an async context manager: entering connects, leaving closes.

    Constructing it does nothing. `relay` is where a new profile is registered, or where the relay has moved
    to; a profile remembers its relay. `proxy` is a SOCKS5 proxy to reach it by (`socks5://HOST:PORT`), or
    "none" for none; a profile remembers that too, and one that was never told takes ALL_PROXY from the
    environment. `pin` is the SHA-256 digest (32 bytes) of the only certificate to accept, `link_pin` what a
    link says of it at the first contact, `token` what a relay with closed registration asks for, `device`
    what a new profile's device is called ("main" unless given). `clock` is in seconds since 1970, and
    `connect` makes a connection to the relay, in place of TLS and the proxy (see `clave_client.testing`).

    Methods that change something return once the relay has it on disk, and raise `ClientError`. What happens
    is reported by `events()`. Rooms are named by their id, 16 bytes; `room()` returns a handle for one.
    """

    def __init__(
        self,
        profile: Profile,
        relay: str | None = None,
        *,
        proxy: str | None = None,
        pin: bytes | None = None,
        link_pin: bytes | None = None,
        token: str = "",
        device: str = "",
        clock: Callable[[], float] = time.time,
        connect: Connect | None = None,
    ) -> None:
        self._profile = profile
        self._open_profile = partial(
            open_profile,
            profile,
            relay,
            proxy=proxy,
            pin=pin,
            link_pin=link_pin,
            token=token,
            device=device,
            clock=clock,
            connect=connect,
        )
        self._connected: Connected | None = None
        self._is_new = self._refused = False
        self._never_registered: bool | None = None

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
        self.sync.devices.settings.open_room = lambda: self.open_direct(self.name)
        self.sync.expiry.check()  # before anything is shown

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

    async def start(self) -> None:
        """Open the profile's database and connect in the background, so that no relay is needed.

        A new profile has to be registered first, so it connects as `connect` does and raises what that does.
        """
        self.open()
        if self.sync.store.get("relay_pin") is None:
            await self.connect()
        else:
            self.sync.start()

    async def wait_settled(self) -> bool:
        """Wait while an attempt to connect is being made; return whether there is a connection."""
        await self.sync.connection.wait_settled()
        return self.is_online

    async def close(self, *, goodbye: bool = True) -> None:
        """End all event streams, disconnect and close the profile's database.

        Without `goodbye` the others are not told that this device went: another process takes over.
        """
        if self._opened is not None and self._never_registered is None:
            never_registered = self.never_registered
            await self.sync.close(goodbye=goodbye)
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
            notices: list[Notice] = []
            for each in tuple(found):
                try:
                    notices += watch.new_notices(each)
                except RoomUnreadable as error:  # the other rooms go on
                    self.sync.handle_unusable(each, error)
            return notices

        return self.sync.events.open(kind, room=room, key_notices=key_notices)

    @property
    def connected(self) -> Connected:
        """The event of the first connection. Raises `UsageError` before that."""
        if self._connected is None:
            raise UsageError("connect first")
        return self._connected

    async def wait_flushed(self) -> None:
        """Wait until all outboxes are empty."""
        await self.sync.wait_for(lambda: not any(room.outbox for room in self.sync.rooms.values()))

    async def wait_synced(self, room: bytes) -> None:
        """Wait until all that the relay had of a joined room is read."""
        here = self._room(room)
        if here.record.phase is Phase.JOINED:
            await self.sync.wait_for(lambda: self.sync.rooms.get(room) is not here or here.synced)

    # --- rooms ---

    def room(self, room: bytes) -> Room:
        """Return a handle for the room with this id. Raises `NotInRoom`, `RoomUnreadable` or `RoomBehind`."""
        return Room(self, room, self._room(room).record.title)

    def invitations(self) -> list[Room]:
        """Return the rooms this device is invited to, for `Room.accept` or `Room.decline`."""
        invited = (room for room in self.rooms.values() if room.phase is Phase.INVITED)
        return [Room(self, record.id, record.title) for record in invited]

    async def create_room(
        self,
        title: str,
        *,
        suite: CipherSuite = NEW_ROOMS,
        room_id: bytes | None = None,
        direct: Sequence[bytes] = (),
    ) -> Room:
        """Create a room with this device as its only member and its admin.

        `room_id` are 16 bytes that nobody can guess, random ones unless given; creating a room under the id
        of one that this device has created before does nothing. `direct` are the accounts of a room that
        stays between these; see `open_direct`.
        """
        sync, room_id = self.sync, room_id or os.urandom(16)
        room = sync.rooms.get(room_id)
        if room is None:
            group = create_group(sync.account, room_id, title, suite, sync.clock(), direct)
            try:
                await sync.transport.request(lambda request: CreateRoom(request, room_id))
            except RelayRefused as error:
                if error.code is not Code.ROOM_EXISTS:  # the answer to an earlier attempt was lost
                    raise
            room = LocalRoom.create(sync.store, group, sync.clock, sync.incarnation)
            sync.rooms[room_id] = room
            sync.resume(room)
        created = room
        await sync.wait_for(lambda: created.synced)
        return Room(self, room_id, room.record.title)

    async def open_direct(self, name: str, *, room_id: bytes | None = None) -> Room:
        """Find or make the room between this account and `name`, or with the own name that for own notes.

        If both have made one, it is the one with the lower id of those that both have joined. An open
        invitation of `name` to one is accepted. Raises what `fingerprint`, `create_room` and `invite` do.
        """
        me = self.sync.account.verified.account
        other = me if name == self.name else (await self.fingerprint(name)).account
        if self.sync.store.is_blocked(other):
            raise UsageError(f"{sanitize(name)} is blocked; /unblock {sanitize(name)} first")
        pair = sorted({me, other})
        found = [room for room in self.sync.rooms.values() if room.direct == pair]
        joined = sorted((each for each in found if each.is_joined), key=lambda each: each.id)
        both = [each for each in joined if each.is_joint]
        invited = [each for each in found if each.record.phase is Phase.INVITED]
        if both or (joined and not invited):
            here = (both or joined)[0]
        elif invited:
            here = min(invited, key=lambda each: each.id)
            await self.accept(here.id)
        else:
            title = NOTES if other == me else f"{min(name, self.name)} and {max(name, self.name)}"[:MAX_TITLE]
            room = await self.create_room(title, room_id=room_id, direct=pair)
            here = self._room(room.id)
        if other not in here.roster.accounts:
            await self.invite(here.id, name, repeated=True)
        return Room(self, here.id, here.record.title)

    async def invite(self, room: bytes, name: str, *, repeated: bool = False) -> Person:
        """Add the devices of `name` to a room; each receives a welcome, and the user has to accept it.

        A device that lacks the room's cipher suite, or whose key packages are not valid now, is left out and
        named in a `Notice`. Raises `PeerLacksSuite` when all lack the suite; `PeerError`, or `UsageError` if
        this machine's clock is off, when none has a valid key package; and `KeyMismatch` when the relay names
        another account than the pinned one, or than that of a member of a room with that name. With
        `repeated`, which says that this was tried before, it is no error when `name` is a member.
        """
        here, suite = self._room(room), self._room(room).group.suite
        if repeated:
            await self.sync.wait_until_sendable(room)
        members = {person.device for person in here.roster.people().values()}

        def check(found: SeenKey) -> None:
            self._parts.pins.check(name, found, self._parts.people.seen(name, room))

        invitee = await claim_invitee(
            self.sync.transport,
            name,
            suite,
            members=members,
            check=check,
            remember=partial(remember_revocations, self.sync.store),
            clocks=self._clocks,
        )
        if invitee is None:
            if not repeated:
                raise UsageError(f"{name} is in {here.record.title} already")
            for person in here.roster.people().values():
                if person.name == name:
                    return person
            raise MemberNotFound(f"{name} has just left {here.record.title}")

        if not here.state.is_former:
            leaves = [add.key_package.leaf_node for add in invitee.adds]
            needed, _ = here.state.extension()
            if any(needed not in leaf.capabilities.extensions for leaf in leaves):
                raise UsageError(f"{name} has to update clave before joining {here.record.title}")

        def propose(room: LocalRoom) -> Sequence[Proposal] | None:
            return [
                add for add in invitee.adds if not room.roster.has(add.key_package.leaf_node.signature_key)
            ] or None

        await self._commit(room, propose)
        self._parts.pins.pin(name, SeenKey(invitee.account, "who was invited"))
        for device, reason in invitee.left_out:
            text = f"{name}'s device {sanitize(device.device_name)} stays out: {reason}"
            self.sync.emit(Notice(room, text))
        # Not looked for in the roster: who has left again already is not there any more.
        leaf = invitee.adds[0].key_package.leaf_node
        return here.roster.person_of(verify_identity(leaf.credential.identity, leaf.signature_key))

    @property
    def _clocks(self) -> Clocks:
        return Clocks(self.sync.clock(), self.sync.clock_check.ahead)

    async def accept(self, room: bytes) -> bool:
        """Accept an invitation and pin the inviter's name; return whether the relay knows already.

        Without a connection it is noted, and done once there is one. Raises `KeyMismatch` if the inviter's
        name is pinned to another key.
        """
        self.note_answer(room, accept=True)
        self.submit_noted(room)
        return await self.wait_answered(room)

    async def decline(self, room: bytes) -> bool:
        """Decline an invitation, which has the group remove this device; return whether that is done.

        Without a connection it is noted, and done once there is one.
        """
        self.note_answer(room, accept=False)
        self.submit_noted(room)
        return await self.wait_left(room)

    async def wait_answered(self, room: bytes) -> bool:
        """Wait until an accepted room is read; return False when the relay is away. Raises `RoomBehind`."""
        here = self._room(room)
        ended = (Phase.CLOSED, Phase.BEHIND)
        await self.sync.wait_for(
            lambda: here.synced or here.record.phase in ended or self.sync.connection.is_away
        )
        if here.record.phase is Phase.BEHIND:
            raise RoomBehind(here.record.title, here.record.cursor)
        return here.synced

    def note_leave(self, room: bytes) -> None:
        """Store that this device leaves a room, for `submit_noted`; the other ones of the account follow."""
        here = self._room(room)
        with self.sync.store.transaction():
            if here.record.phase is Phase.INVITED:
                here.decline()
            else:
                here.start_leaving()
            if not here.is_notes:
                here.note_answer("out")

    async def leave(self, room: bytes) -> bool:
        """Leave a room: the others rekey, and this device's keys of the room are deleted.

        Returns whether that is done. Without a connection it is noted, and done once there is one.
        """
        self.note_leave(room)
        self.submit_noted(room)
        return await self.wait_left(room)

    async def wait_left(self, room: bytes) -> bool:
        """Wait until a room that this device leaves is closed; return False when the relay is away."""
        here = self.sync.rooms.get(room)
        if here is None:
            return True
        await self.sync.wait_for(
            lambda: here.record.phase is not Phase.LEAVING or self.sync.connection.is_away
        )
        if here.record.phase is Phase.JOINED:
            raise ClientError(f"you are still in {here.record.title}: the relay refused to let you leave")
        return here.record.phase is Phase.CLOSED

    def check_deletable(self) -> None:
        """Raise `RelayFault` if the relay is too old for `delete_account`."""
        if (self.sync.transport.connection.version or 0) < _DELETING_SINCE:
            raise RelayFault("this relay is too old to delete an account; ask its operator to free the name")

    async def delete_account(self) -> None:
        """Have the relay delete this account and free its name; this client is of no use from then on.

        Rooms have to be left before. Raises `RelayError`.
        """
        self.check_deletable()
        await self.sync.transport.request(DeleteAccount)
        self.sync.connection.stop()
        self.sync.store.put("deleted", b"1")
