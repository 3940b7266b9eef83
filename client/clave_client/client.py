"""The library: what a program can do with a profile at its relay. Every mode of `clave` is built on it.

Example, in a coroutine:

    with Profile.open(default_home(), "red") as profile:
        async with Client(profile, relay="chat.example.org") as client:
            room = await client.create_room("friends")
            await client.invite(room, "blue")
            await client.send(room, "hello")
            async for event in client.events():
                print(event)
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from typing import Self

import msgspec

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
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, MAX_TITLE, AgreedState, Role
from clave_client.formats.content import MAX_BODY_BYTES, ContentKind
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.people.key_lookup import claim_invitee
from clave_client.people.key_watch import KeyWatch
from clave_client.people.known_keys import Fingerprint, KnownKeys
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import RoomPolicy
from clave_client.rooms.room_info import RoomInfo
from clave_client.rooms.room_names import resolve_room, similar_room
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import Account, leaf_lifetime
from clave_client.store.database import HistoryLine, Phase, RoomRecord, Store
from clave_client.store.pins import Pins, SeenKey, check_inviter
from clave_client.store.profile import Profile
from clave_client.sync.room_sync import RoomSync
from clave_crypto.errors import CryptoError
from clave_crypto.mls import CipherSuite, Extension, Group, GroupContextExtensions, Proposal, Remove
from clave_wire.login import fingerprint_text
from clave_wire.messages import Code, CreateRoom
from clave_wire.text import sanitize

__all__ = ["Client"]


NAME_REFUSED = {Code.BAD_NAME, Code.NAME_TAKEN, Code.NAME_CONFUSABLE, Code.CLOSED, Code.TOKEN}
"""Refusals after which a new profile is deleted."""


class Client:
    """A profile in use, as an async context manager: entering connects, leaving closes.

    Methods that change something return once the relay has it on disk, and raise `ClientError`. What happens
    is reported by `events()`. Rooms are named by their id, 16 bytes.
    """

    def __init__(
        self,
        profile: Profile,
        relay: str | None = None,
        *,
        pin: bytes | None = None,
        token: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._profile = profile
        self._new = not profile.store_path.exists()
        try:
            address = None if relay is None else RelayAddress.parse(relay)
            if self._new and address is None:
                how = f"clave chat --relay HOST:PORT --name {profile.name}"
                raise UsageError(f"there is no profile {profile.name} yet; make one with: {how}")
        except UsageError:
            if self._new:
                profile.discard()
            raise
        self._store = Store(profile.store_path, profile.take_key())
        try:
            account = Account.load_or_create(self._store, profile.name)
            stored = self._store.get("relay")
            if address is None and stored is None:
                raise UsageError("this profile has not met its relay yet; say where with --relay HOST:PORT")
            address = address or RelayAddress.parse((stored or b"").decode())
            # A profile belongs to one relay: the pinned certificate holds for any address of it.
            trust = CertificateTrust.load(self._store)
            if pin is not None:
                trust = trust.with_pin(pin)
            self._pins = Pins(self._store)
            self._pins.repin(account.name, account.verified.account)
        except ClientError:
            self._store.close()
            raise
        self._watch = KeyWatch(self._pins, account.verified.account)
        self._connected: Connected | None = None
        self._refused = False
        software = f"clave {version('clave')}"
        self._sync = RoomSync(
            self._store, account, address, trust=trust, token=token, software=software, clock=clock
        )
        self._people = KnownKeys(self._pins, self._sync)

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> Connected:
        """Connect, register a new profile's name, and resume the rooms.

        Raises `RelayUnreachable`, `NotARelay`, `RelayChanged` or `RelayRefused`. A new profile whose name is
        refused is deleted by `close`.
        """
        try:
            self._connected = await self._sync.connect()
        except RelayRefused as error:
            self._refused = error.code in NAME_REFUSED
            raise
        return self._connected

    async def close(self) -> None:
        """Send goodbye and close the profile's database."""
        # If the answer to a login was lost the name may be registered: then keep its key.
        never_met = self._new and not self._sync.connection.has_connected
        useless = self._store.get("relay_pin") is None and (self._refused or never_met)
        await self._sync.close()
        self._store.close()
        if useless:
            self._profile.discard()

    async def events(self) -> AsyncIterator[Event]:
        """Yield events as they happen. Raises `ClientError` when the client cannot go on.

        A `Notice` reports each member whose name is pinned to another key, before other events of the room.
        """
        while True:
            event = await self._sync.events.get()
            if isinstance(event, ClientError):
                raise event
            for each in (event.room,) if event.room else tuple(self._sync.rooms):
                for notice in self.key_notices(each):
                    yield notice
            yield event

    def pending_events(self) -> list[Event]:
        """Return the events not read yet. Raises `ClientError` when the client cannot go on."""
        waiting = self._sync.events.drain()
        for event in waiting:
            if isinstance(event, ClientError):
                raise event
        return [event for event in waiting if not isinstance(event, ClientError)]

    # --- state ---

    @property
    def connected(self) -> Connected:
        """The event of the first connection. Raises `UsageError` before that."""
        if self._connected is None:
            raise UsageError("connect first")
        return self._connected

    @property
    def name(self) -> str:
        """The profile's name."""
        return self._sync.account.name

    @property
    def rooms(self) -> dict[bytes, RoomRecord]:
        """The rooms this device is in or invited to, by id."""
        return {room.id: room.record for room in self._sync.rooms.values()}

    def find_room(self, words: str, *, invited: bool = False) -> bytes:
        """Return the id of the room that `words` names, by title or by 8 or more digits of its id's start.

        Joined rooms come before invitations; with `invited`, only invitations are searched. Raises
        `RoomNotFound`, or `UsageError` when several rooms match, by title or by id.
        """
        found = resolve_room(words, self.rooms.values(), invited=invited)
        if found is not None:
            return found
        for error in self._sync.unusable.values():
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

    def members(self, room: bytes) -> list[tuple[Person, bool, bool]]:
        """Return (person, is admin, is online) of every member; online is what the relay says."""
        here = self._room(room)
        online = self._sync.online.get(room, set()) | {self._sync.account.device.public}
        admins = here.state.admins
        people = here.roster.people().values()
        return [(person, person.account in admins, person.device in online) for person in people]

    def info(self, room: bytes) -> RoomInfo:
        """Return the summary of a room, as of what this device has read."""
        return RoomInfo.of(self._room(room), self._sync.account.verified.account)

    @property
    def unusable(self) -> list[str]:
        """One line for each stored room that cannot be used, with the reason."""
        return [str(error) for error in self._sync.unusable.values()]

    @property
    def relay(self) -> tuple[str, str]:
        """The relay address, and the fingerprint of its pinned certificate ("" before the first contact)."""
        pin = self._store.get("relay_pin")
        return str(self._sync.connection.address), fingerprint_text(pin) if pin is not None else ""

    def history(self, room: bytes, *, after: int = 0, last: int = -1) -> list[HistoryLine]:
        """Return messages with a seq above `after`, oldest first; with `last`, the newest of them."""
        return self._store.history(room, after=after, last=min(last, 1_000_000))

    @property
    def is_online(self) -> bool:
        """Whether there is a connection to the relay now."""
        return self._sync.is_online

    def known_names(self) -> list[str]:
        """Return the names of all people whose accounts are stored or pinned, sorted."""
        return self._store.names()

    async def wait_flushed(self) -> None:
        """Wait until all outboxes are empty."""
        await self._sync.wait_for(lambda: not any(room.outbox for room in self._sync.rooms.values()))

    async def wait_synced(self, room: bytes) -> None:
        """Wait until all that the relay had of a joined room is read."""
        here = self._room(room)
        rooms = self._sync.rooms
        if here.record.phase is Phase.JOINED:
            await self._sync.wait_for(lambda: rooms.get(room) is not here or here.synced)

    def unshown(self, room: bytes) -> list[HistoryLine]:
        """Return others' messages that were not shown yet, oldest first."""
        here = self._room(room)
        lines = self._store.history(room, after=min(here.late, default=here.record.shown + 1) - 1)
        lines = [line for line in lines if line.seq > here.record.shown or line.seq in here.late]
        return [line for line in lines if line.sender != self._sync.account.device.public]

    def mark_shown(self, room: bytes, seq: int) -> bool:
        """Note that a message is about to be shown; return False when it was shown before."""
        here = self._sync.rooms.get(room)
        if here is not None:
            return here.mark_shown(seq)
        record = self._store.room(room)
        if record is None or seq <= record.shown:
            return record is None
        with self._store.transaction():  # the room was closed meanwhile; this device may be added again
            self._store.put_room(msgspec.structs.replace(record, shown=seq))
        return True

    # --- keys of people ---

    async def fingerprint(self, name: str, *, room: bytes | None = None) -> Fingerprint:
        """Return what to compare with the person called `name`, and pin the name to that key.

        The key is the pinned one, or that of the member of `room`, of another room, or the one that the relay
        names, in this order. Raises `KeyMismatch` when the first three disagree without a `repin`,
        and `RelayRefused` when nobody has that name.
        """
        return await self._people.fingerprint(name, room)

    async def verify(self, name: str, account: bytes | None = None) -> None:
        """Mark `account` as verified under `name`: the user compared it. Asks nobody.

        Without `account`, it is the one that `fingerprint` returned last for that name. Raises `KeyNotShown`
        if there is none, `UsageError` for the own key, and `KeyMismatch` if the name is pinned otherwise.
        """
        self._people.verify(name, account)

    def repin(self, name: str, account: bytes) -> None:
        """Pin a name to another key: the decision that `KeyMismatch` asks for."""
        self._people.repin(name, account)

    def keys(self, name: str, *, room: bytes | None = None) -> list[SeenKey]:
        """Return the keys that go by `name`: the pinned one first, then those in all rooms."""
        return self._people.keys(name, room)

    def key_notices(self, room: bytes) -> list[Notice]:
        """Return a notice, once each, of every member of a room whose name is pinned to another key."""
        here = self._sync.rooms.get(room)
        return [] if here is None else self._watch.new_notices(here)

    def key_mismatches(self, room: bytes) -> list[Notice]:
        """Return the notices of all members of a room whose name is pinned to another key."""
        return self._watch.mismatches(self._room(room))

    def sender(self, line: HistoryLine) -> Person:
        """Return the sender of a history line, with what this profile knows of it now."""
        return self._people.sender(line)

    # --- rooms ---

    async def create_room(self, title: str, *, suite: CipherSuite = NEW_ROOMS) -> bytes:
        """Create a room with this device as its only member and its admin; return its id."""
        sync = self._sync
        room_id, account = os.urandom(16), sync.account
        state = AgreedState(1, _title(title), [account.verified.account], Role.MEMBER, Role.ADMIN, Role.ADMIN)
        not_before, not_after = leaf_lifetime(sync.clock())
        group = Group.create(
            suite,
            room_id,
            account.identity,
            account.device.secret,
            policy=RoomPolicy(),
            extensions=(Extension(AGREED_STATE_EXTENSION, state.encode()),),
            not_before=not_before,
            not_after=not_after,
            extension_types=(AGREED_STATE_EXTENSION,),
        )
        await sync.transport.request(lambda request: CreateRoom(request, room_id))
        room = LocalRoom.create(self._store, group, sync.clock, sync.incarnation)
        sync.rooms[room_id] = room
        sync.resume(room)
        await sync.wait_for(lambda: room.synced)
        return room_id

    async def invite(self, room: bytes, name: str) -> Person:
        """Add the devices of `name` to a room; each receives a welcome, and the user has to accept it.

        A device that lacks the room's cipher suite is left out and named in a `Notice`. Raises
        `PeerLacksSuite` when all do, and `KeyMismatch` when the relay names another account than the pinned
        one, or than that of a member of a room with that name.
        """
        here, suite = self._room(room), self._room(room).group.suite
        members = {person.device for person in here.roster.people().values()}

        def check(found: SeenKey) -> None:
            self._pins.check(name, found, self._people.seen(name, room))

        guest = await claim_invitee(self._sync.transport, name, suite, members=members, check=check)
        if guest is None:
            raise UsageError(f"{name} is in {here.record.title} already")
        await self._commit(room, lambda _: guest.adds)
        self._pins.pin(name, SeenKey(guest.account, "who was invited"))
        for device in guest.left_out:
            text = f"{name}'s device {sanitize(device.device_name)} stays out: it lacks {suite.words}"
            self._sync.emit(Notice(room, f"{text}; update clave there and invite {name} again"))
        return next(p for p in here.roster.people().values() if p.account == guest.account)

    async def answer(self, room: bytes, *, accept: bool) -> None:
        """Accept an invitation, or decline it, which has the group remove this device again.

        Accepting pins the inviter's name. Raises `KeyMismatch` if that is pinned to another key.
        """
        here = self._room(room)
        inviter = self.inviter(room) if accept else None
        with self._store.transaction():
            if inviter is not None:
                self._pins.pin(inviter.name, check_inviter(self._pins, inviter))
            here.answer(accept=accept)
        self._sync.invitations.retry_deferred()
        if accept:
            here.enqueue(ContentKind.JOINED, "")
        self._sync.resume(here)
        await self._sync.wait_for(lambda: here.synced or here.record.phase in (Phase.CLOSED, Phase.BEHIND))
        if here.record.phase is Phase.BEHIND:
            raise RoomBehind(here.record.title, here.record.cursor)
        if not accept:
            await self._wait_left(here)

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
        checked = _title(title)

        def propose(room: LocalRoom) -> Sequence[Proposal]:
            return [GroupContextExtensions(room.extensions_with(title=checked))]

        await self._commit(room, propose)

    async def leave(self, room: bytes) -> None:
        """Leave a room: the others rekey, and this device's keys of the room are deleted."""
        here = self._room(room)
        here.start_leaving()
        self._sync.submit_due(here)
        await self._wait_left(here)

    async def _wait_left(self, here: LocalRoom) -> None:
        await self._sync.wait_for(lambda: here.record.phase is not Phase.LEAVING)
        if here.record.phase is not Phase.CLOSED:
            raise ClientError(f"you are still in {here.record.title}: the relay refused to let you leave")

    async def _commit(self, room: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> None:
        try:
            await self._sync.commit(room, propose)
        except CryptoError as error:
            raise UsageError(sanitize(str(error))) from None

    def _room(self, room: bytes) -> LocalRoom:
        found = self._sync.rooms.get(room)
        if found is None:
            unknown = NotInRoom("you are not in that room")
            raise self._sync.unusable.get(room, unknown)
        return found

    # --- messages ---

    def post(self, room: bytes, text: str) -> bytes:
        """Append a message to a room's outbox and return its id; an event `Sent` or `SendFailed` follows.

        Once this returns the message survives a crash. Raises `UsageError` when it is empty or too long.
        """
        self._sync.check()
        here = self._room(room)
        text = text.encode(errors="replace").decode()
        if not text.strip():
            raise UsageError("an empty message says nothing")
        if len(text.encode()) > MAX_BODY_BYTES:
            raise UsageError(f"a message has at most {MAX_BODY_BYTES} bytes; send it in pieces")
        if here.record.phase is not Phase.JOINED:
            raise UsageError(f"accept the invitation to {here.record.title} first")
        message_id = here.enqueue(ContentKind.TEXT, text)
        self._sync.submit_due(here)
        return message_id

    async def wait_until_sendable(self, room: bytes) -> None:
        """Wait until a room is read and messages can be encrypted for its present members.

        Raises `ClientError` when the relay refuses to resume the room.
        """
        await self._sync.wait_until_sendable(room)

    async def send(self, room: bytes, text: str) -> int:
        """Send a message; return its history seq once the relay has it on disk. Raises `ClientError`."""
        return await self._sync.wait_for_delivery(room, self.post(room, text))


def _title(title: str) -> str:
    clean = title.strip()
    if not 0 < len(clean) <= MAX_TITLE:
        raise UsageError(f"a room's title has 1 to {MAX_TITLE} characters")
    if sanitize(clean) != clean:
        raise UsageError("a room's title cannot hold control or invisible characters")
    return clean
