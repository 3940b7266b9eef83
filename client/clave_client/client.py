"""The library: what a program can do with a profile and a relay. Every mode stands on this.

with Profile.open(home, "red") as profile:
async with Client(profile, relay="chat.example.org") as client:
    room = await client.create_room("friends")
    await client.invite(room, "blue")
    await client.send(room, "hello")
    async for event in client.events():
        ...
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from typing import Self

import msgspec

from clave_client.errors import ClientError, RelayRefused, RoomBehind, UsageError
from clave_client.events import Connected, Event, Notice, Person
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, MAX_TITLE, AgreedState, Role
from clave_client.formats.content import MAX_BODY_BYTES, ContentKind
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayAddress
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
"""Refusals after which a new profile is of no use."""


class Client:
    """A profile in use. An async context manager: entering connects, leaving says goodbye.

    Methods that change something return when the relay has it on disk. They raise `ClientError`; everything
    that happens comes out of `events()`.
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
            # A profile belongs to one relay, wherever that listens: the pin holds for every address.
            trust = CertificateTrust.load(self._store)
            if pin is not None:
                trust = trust.insist(pin)
            self._pins = Pins(self._store)
            self._pins.repin(account.name, account.verified.account)
        except ClientError:
            self._store.close()
            raise
        self._watch = KeyWatch(self._pins, account.verified.account)
        self._connected: Connected | None = None
        self._refused = False
        software = f"clave {version('clave')}"
        self._session = RoomSync(
            self._store, account, address, trust=trust, token=token, software=software, clock=clock
        )
        self._people = KnownKeys(self._pins, self._session)

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
        """Connect, register a new profile's name, and bring the rooms up to date.

        Raises `RelayUnreachable`, `NotARelay`, `RelayChanged` or `RelayRefused`. A new profile whose name is
        refused is deleted again.
        """
        try:
            self._connected = await self._session.connect()
        except RelayRefused as error:
            self._refused = error.code in NAME_REFUSED
            raise
        return self._connected

    async def close(self) -> None:
        """Say goodbye and close the profile's database."""
        # A login whose answer was lost may have registered the name: then its key must stay.
        never_met = self._new and not self._session.has_met_relay
        useless = self._store.get("relay_pin") is None and (self._refused or never_met)
        await self._session.close()
        self._store.close()
        if useless:
            self._profile.discard()

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, as it happens; raises `ClientError` when the session cannot go on.

        A `Notice` tells of each member whose name is bound to another key, before anything else of the room.
        """
        while True:
            event = await self._session.events.get()
            if isinstance(event, ClientError):
                raise event
            room = getattr(event, "room", b"")
            for each in (room,) if room else tuple(self._session.rooms):
                for notice in self.key_notices(each):
                    yield notice
            yield event

    def pending_events(self) -> list[Event]:
        """Return what happened and was not read yet; raises `ClientError` when the session cannot go on."""
        waiting = self._session.events.drain()
        for event in waiting:
            if isinstance(event, ClientError):
                raise event
        return [event for event in waiting if not isinstance(event, ClientError)]

    # --- looking ---

    @property
    def connected(self) -> Connected:
        """How the first connection went: the relay, its fingerprint, and whether the name is new there."""
        if self._connected is None:
            raise UsageError("connect first")
        return self._connected

    @property
    def name(self) -> str:
        """The name this profile goes by."""
        return self._session.account.name

    @property
    def rooms(self) -> dict[bytes, RoomRecord]:
        """The rooms this device is in or invited to, by id."""
        return {room.id: room.record for room in self._session.rooms.values()}

    def find_room(self, words: str, *, invited: bool = False) -> bytes:
        """Return the id of the room that `words` names by title, or by 8 digits or more of its id's start.

        Rooms one is in come before invitations; with `invited`, only those count. Raises `UsageError` when no
        room fits, or several do, be it one by its title and another by its id.
        """
        found = resolve_room(words, self.rooms.values(), invited=invited)
        if found is not None:
            return found
        for error in self._session.unusable.values():
            if error.title == words:
                raise error
        if invited:
            raise UsageError(f"there is no open invitation to {sanitize(words)}")
        raise UsageError(f"you are in no room called {sanitize(words)}; /room or clave info lists them")

    def similar_room(self, room: bytes) -> RoomRecord | None:
        """Return a room this device is in whose title looks like that of another, `room`."""
        here = self.rooms.get(room)
        return None if here is None else similar_room(here, self.rooms.values())

    def inviter(self, room: bytes) -> Person | None:
        """Return who invites this device to a room; None once that is answered."""
        here = self._room(room)
        return here.roster.inviter() if here.record.phase is Phase.INVITED else None

    def members(self, room: bytes) -> list[tuple[Person, bool, bool]]:
        """Return (person, is admin, is online) for every member; online is the relay's word."""
        here = self._room(room)
        online = self._session.online.get(room, set()) | {self._session.account.device.public}
        admins = here.state.admins
        people = here.roster.people().values()
        return [(person, person.account in admins, person.device in online) for person in people]

    def info(self, room: bytes) -> RoomInfo:
        """Return what a room is and how it is encrypted, as of what this device has seen."""
        return RoomInfo.of(self._room(room), self._session.account.verified.account)

    @property
    def unusable(self) -> list[str]:
        """What to tell of stored rooms that cannot be used as they are, a line each."""
        return [str(error) for error in self._session.unusable.values()]

    @property
    def relay(self) -> tuple[str, str]:
        """The relay's address, and the fingerprint pinned at the first contact ("" before that)."""
        pin = self._store.get("relay_pin")
        return str(self._session.address), fingerprint_text(pin) if pin is not None else ""

    def history(self, room: bytes, *, after: int = 0, last: int = -1) -> list[HistoryLine]:
        """Return messages with a seq above `after`, oldest first; with `last`, the newest of them."""
        return self._store.history(room, after=after, last=min(last, 1_000_000))

    @property
    def is_online(self) -> bool:
        """Whether there is a connection to the relay now."""
        return self._session.is_online

    def known_names(self) -> list[str]:
        """Return the names of the people this profile has met, sorted."""
        return self._store.names()

    async def wait_flushed(self) -> None:
        """Wait until nothing waits to be sent."""
        await self._session.wait_for(lambda: not any(room.outbox for room in self._session.rooms.values()))

    async def wait_synced(self, room: bytes) -> None:
        """Wait until this device has read all that the relay had of a room one is in."""
        here = self._room(room)
        rooms = self._session.rooms
        if here.record.phase is Phase.JOINED:
            await self._session.wait_for(lambda: rooms.get(room) is not here or here.synced)

    def unshown(self, room: bytes) -> list[HistoryLine]:
        """Return others' messages that no screen showed yet, oldest first."""
        here = self._room(room)
        lines = self._store.history(room, after=min(here.late, default=here.record.shown + 1) - 1)
        lines = [line for line in lines if line.seq > here.record.shown or line.seq in here.late]
        return [line for line in lines if line.sender != self._session.account.device.public]

    def mark_shown(self, room: bytes, seq: int) -> bool:
        """Note, before showing it, that a message goes onto a screen; False when one did already."""
        here = self._session.rooms.get(room)
        if here is not None:
            return here.mark_shown(seq)
        record = self._store.room(room)
        if record is None or seq <= record.shown:
            return record is None
        with self._store.transaction():  # it was closed meanwhile, and this device may be added anew
            self._store.put_room(msgspec.structs.replace(record, shown=seq))
        return True

    # --- whose key is whose ---

    async def fingerprint(self, name: str, *, room: bytes | None = None) -> Fingerprint:
        """Return what to compare with the person called `name`, and bind the name to that key.

        The key is the one the name is bound to, or that of the member of `room`, of another room, or whom the
        relay names, in this order. Raises `KeyMismatch` when the first three disagree and `repin` did not
        decide it, and `RelayRefused` when nobody goes by that name.
        """
        return await self._people.fingerprint(name, room)

    async def verify(self, name: str, account: bytes | None = None) -> None:
        """Remember that `account` was compared with the person called `name` and is right; asks nobody.

        Without `account`, it is the one that `fingerprint` returned last for that name in this session.
        Raises `UsageError` if there is none, and `KeyMismatch` if the name is bound to another account.
        """
        self._people.verify(name, account)

    def repin(self, name: str, account: bytes) -> None:
        """Bind a name to another key from now on: the decision that `KeyMismatch` asks for."""
        self._people.repin(name, account)

    def keys(self, name: str, *, room: bytes | None = None) -> list[SeenKey]:
        """Return the keys that go by `name` here: the one it is bound to first, then those of all rooms."""
        return self._people.keys(name, room)

    def key_notices(self, room: bytes) -> list[Notice]:
        """Return, each once a session, what to tell of members whose name is bound to another key."""
        here = self._session.rooms.get(room)
        return [] if here is None else self._watch.fresh(here)

    def key_mismatches(self, room: bytes) -> list[Notice]:
        """Return what there is to tell of members of a room whose name is bound to another key."""
        return self._watch.mismatches(self._room(room))

    def sender(self, line: HistoryLine) -> Person:
        """Return who said a line of the history, as this profile sees them now."""
        return self._people.sender(line)

    # --- rooms ---

    async def create_room(self, title: str, *, suite: CipherSuite = NEW_ROOMS) -> bytes:
        """Open a room with this device as only member and admin; return its id."""
        session = self._session
        room_id, account = os.urandom(16), session.account
        state = AgreedState(1, _title(title), [account.verified.account], Role.MEMBER, Role.ADMIN, Role.ADMIN)
        not_before, not_after = leaf_lifetime(session.clock())
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
        await session.link.request(lambda request: CreateRoom(request, room_id))
        room = LocalRoom.create(self._store, group, session.clock, session.incarnation)
        session.rooms[room_id] = room
        session.resume(room)
        await session.wait_for(lambda: room.synced)
        return room_id

    async def invite(self, room: bytes, name: str) -> Person:
        """Add the devices of `name` to a room, with a welcome that waits until they answer.

        A device that cannot take part in the room's encryption is left out, and a `Notice` names it. Raises
        `PeerLacksSuite` when that goes for all of them, and `KeyMismatch` when the relay names another
        account than the one the name is bound to, or than the member of a room who goes by it.
        """
        here, suite = self._room(room), self._room(room).group.suite
        members = {person.device for person in here.roster.people().values()}

        def check(found: SeenKey) -> None:
            self._pins.check(name, found, self._people.seen(name, room))

        guest = await claim_invitee(self._session.link, name, suite, members=members, check=check)
        if guest is None:
            raise UsageError(f"{name} is in {here.record.title} already")
        await self._commit(room, lambda _: guest.adds)
        self._pins.pin(name, SeenKey(guest.account, "who was invited"))
        for device in guest.left_out:
            text = f"{name}'s device {sanitize(device.device_name)} stays out: it lacks {suite.words}"
            self._session.emit(Notice(room, f"{text}; update clave there and invite {name} again"))
        return next(p for p in here.roster.people().values() if p.account == guest.account)

    async def answer(self, room: bytes, *, accept: bool) -> None:
        """Accept an invitation, or decline it: then the group removes this device again.

        To accept binds the inviter's name; raises `KeyMismatch` if that is bound to another key.
        """
        here = self._room(room)
        inviter = self.inviter(room) if accept else None
        with self._store.transaction():
            if inviter is not None:
                self._pins.pin(inviter.name, check_inviter(self._pins, inviter))
            here.answer(accept=accept)
        self._session.invitations.retry_deferred()
        if accept:
            here.enqueue(ContentKind.JOINED, "")
        self._session.resume(here)
        await self._session.wait_for(lambda: here.synced or here.record.phase in (Phase.CLOSED, Phase.BEHIND))
        if here.record.phase is Phase.BEHIND:
            raise RoomBehind(here.record.title, here.record.cursor)
        if not accept:
            await self._left(here)

    async def remove(self, room: bytes, name: str) -> None:
        """Remove every device of `name` from a room and rekey it."""
        here = self._room(room)
        if name == self.name:
            raise UsageError("to leave a room yourself, use /leave")

        def propose(room: LocalRoom) -> Sequence[Proposal]:
            return [Remove(index) for index, person in room.roster.people().items() if person.name == name]

        if not propose(here):
            raise UsageError(f"there is no {sanitize(name)} in {here.record.title}; /members lists who is")
        await self._commit(room, propose)

    async def set_title(self, room: bytes, title: str) -> None:
        """Call a room something else, for everyone."""
        checked = _title(title)

        def propose(room: LocalRoom) -> Sequence[Proposal]:
            return [GroupContextExtensions(room.extensions_with(title=checked))]

        await self._commit(room, propose)

    async def leave(self, room: bytes) -> None:
        """Give up membership: the others rekey, and this device's keys of the room are deleted."""
        here = self._room(room)
        here.start_leaving()
        self._session.submit_due(here)
        await self._left(here)

    async def _left(self, here: LocalRoom) -> None:
        await self._session.wait_for(lambda: here.record.phase is not Phase.LEAVING)
        if here.record.phase is not Phase.CLOSED:
            raise ClientError(f"you are still in {here.record.title}: the relay refused to let you leave")

    async def _commit(self, room: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> None:
        try:
            await self._session.commit(room, propose)
        except CryptoError as error:
            raise UsageError(sanitize(str(error))) from None

    def _room(self, room: bytes) -> LocalRoom:
        found = self._session.rooms.get(room)
        if found is None:
            unknown = UsageError("you are not in that room; /room lists yours")
            raise self._session.unusable.get(room, unknown)
        return found

    # --- talking ---

    def post(self, room: bytes, text: str) -> bytes:
        """Put a message into a room's outbox and return its id; `Sent` or `SendFailed` tells the rest.

        The message survives a crash of this program from here on.
        """
        self._session.check()
        here = self._room(room)
        text = text.encode(errors="replace").decode()
        if not text.strip():
            raise UsageError("an empty message says nothing")
        if len(text.encode()) > MAX_BODY_BYTES:
            raise UsageError(f"a message has at most {MAX_BODY_BYTES} bytes; send it in pieces")
        if here.record.phase is not Phase.JOINED:
            raise UsageError(f"accept the invitation to {here.record.title} first")
        message_id = here.enqueue(ContentKind.TEXT, text)
        self._session.submit_due(here)
        return message_id

    async def wait_until_sendable(self, room: bytes) -> None:
        """Wait until all that the relay has of a room is read, and a message is for whoever is in it then.

        Raises `ClientError` when the relay does not let this device read the room.
        """
        await self._session.wait_until_sendable(room)

    async def send(self, room: bytes, text: str) -> int:
        """Send a message; return its seq once the relay has it on disk, or raise `ClientError`."""
        return await self._session.delivered(room, self.post(room, text))


def _title(title: str) -> str:
    clean = title.strip()
    if not 0 < len(clean) <= MAX_TITLE:
        raise UsageError(f"a room's title has 1 to {MAX_TITLE} characters")
    if sanitize(clean) != clean:
        raise UsageError("a room's title cannot hold control or invisible characters")
    return clean
