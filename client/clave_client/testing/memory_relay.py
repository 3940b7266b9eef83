"""A relay in memory for tests: it speaks the real protocol over connections that are no sockets.

It keeps what a client depends on: names, key packages, rooms with their order and routing, invitations,
presence. It has no quotas, rates, registration tokens, pruning or disk.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, cast

from clave_client.client import Client
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import OnMessages, RelayTransport
from clave_client.store.profile import Profile
from clave_client.testing.memory_devices import MemoryDevices
from clave_client.testing.memory_directory import Device, MemoryDirectory
from clave_client.testing.memory_links import is_join
from clave_client.testing.memory_room import AlreadyAccepted, MemoryRoom
from clave_client.testing.memory_transport import connect_pair
from clave_client.testing.refusals import Refusal
from clave_wire import messages as m
from clave_wire.connection import VERSIONS, RelayConnection, State
from clave_wire.errors import RemoteError
from clave_wire.login import certificate_digest
from clave_wire.messages import Code

__all__ = ["MemoryRelay"]

_CERTIFICATE = b"the certificate of a relay in memory"
_OF_CONNECTIONS = {
    *(Code.FULL, Code.SLOW, Code.SHUTDOWN, Code.TIMEOUT, Code.REPLACED, Code.VERSION),
    *(Code.BAD_LOGIN, Code.BANNED, Code.BAD_NAME, Code.NAME_TAKEN, Code.NAME_CONFUSABLE),
    *(Code.CLOSED, Code.TOKEN, Code.DEVICE_REMOVED),
}
"""Codes that a relay refuses a login with; it refuses requests with the others."""

_NEEDS_LINKS = "links need version 7 of the protocol"


class MemoryRelay:
    """A relay in memory. Use it as an async context manager; several clients can connect.

    `clock` is its clock, in seconds since 1970, and `versions` are those of the protocol that it speaks.
    `client(name)` is a client on a profile of its own, kept until the relay is left. For a client on another
    profile pass on both: `Client(profile, relay.address, connect=relay.connect)`.
    """

    address = "memory.invalid:7878"

    def __init__(self, *, clock: Callable[[], float] = time.time, versions: Sequence[int] = VERSIONS) -> None:
        self.clock = clock
        self.versions = versions
        self.directory = MemoryDirectory()
        self.rooms: dict[bytes, MemoryRoom] = {}
        self.sessions: dict[bytes, _Session] = {}
        self.devices = MemoryDevices(self.sessions)
        self.incarnation = os.urandom(16)
        self.is_reachable = True
        """Set it to False to have attempts to connect fail."""

        self.refused_with: Code | None = None
        self._held: list[Callable[[], None]] | None = None
        self._connections: set[_Session] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._last_invitation = 0

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="clave-memory-relay-")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.disconnect_all()
        await asyncio.sleep(0)
        if self._folder is not None:
            self._folder.cleanup()

    @asynccontextmanager
    async def client(self, name: str, *, clock: Callable[[], float] | None = None) -> AsyncIterator[Client]:
        """Enter a client that goes by `name`; the second time it is the same account again.

        Its clock is the relay's unless one is given. It has published its key packages, so that others can
        invite it.
        """
        if self._folder is None:
            raise RuntimeError("enter the relay first: async with MemoryRelay() as relay")
        with Profile(Path(self._folder.name) / "home", name) as profile:
            clock = clock or self.clock
            async with Client(profile, self.address, clock=clock, connect=self.connect) as client:
                await asyncio.gather(*client.sync.tasks)
                yield client

    async def connect(
        self, address: RelayAddress, trust: CertificateTrust, on_messages: OnMessages
    ) -> RelayTransport:
        """Connect a client: its `connect` argument. Raises `RelayUnreachable` or `RelayChanged`."""
        if not self.is_reachable:
            raise RelayUnreachable(f"no relay at {address}; is it running?")
        link, session = RelayTransport(address, on_messages), _Session(self)
        self._connections.add(session)
        end = connect_pair(link, session, _CERTIFICATE)
        try:
            link.check_certificate(end, trust, vouched=False)
        except ClientError:
            link.abort()
            raise
        return link

    def disconnect_all(self) -> None:
        """Break all connections, as a failing network does; clients connect again after a short pause."""
        for session in tuple(self._connections):
            session.abort()

    def freeze(self) -> None:
        """Answer nothing until `thaw`, as a stopped process does; clients can still connect."""
        if self._held is None:
            self._held = []

    def thaw(self) -> None:
        """Handle what has come since `freeze`, and whatever comes from now on."""
        held, self._held = self._held or [], None
        for work in held:
            work()

    def refuse(self, code: Code | None) -> None:
        """Refuse from now on, until called with None, every login or every request with `code`.

        Which of the two depends on the code: `Code.FULL` or `Code.BANNED` refuse logins, `Code.STORAGE` or
        `Code.LIMIT` requests and submissions.
        """
        self.refused_with = code

    # --- called by sessions ---

    def handle(self, work: Callable[[], None]) -> None:
        """Do `work`, later while the relay is frozen."""
        if self._held is None:
            work()
        else:
            self._held.append(work)

    def check(self, *, login: bool) -> None:
        """Raise the `Refusal` that `refuse` asks for, if any, of a login or of a request."""
        if self.refused_with is not None and (self.refused_with in _OF_CONNECTIONS) == login:
            raise Refusal(self.refused_with, f"refused by a test: {self.refused_with}")

    def logged_in(self, session: _Session, device: Device) -> None:
        """Note a session, and close the device's former one."""
        former = self.sessions.get(device.key)
        if former is not None:
            former.close(Code.REPLACED, "this device connected again from elsewhere")
        self.sessions[device.key] = session

    def ended(self, session: _Session, text: str) -> None:
        """Forget a session and tell the members of its rooms."""
        self._connections.discard(session)
        if session.device is not None and self.sessions.get(session.device.key) is session:
            del self.sessions[session.device.key]
            self.devices.close(session.device.key)
        for room in tuple(session.streams):
            self.close_stream(session, room, text)

    def create_room(self, device: Device, room: bytes) -> None:
        """Create a room. Raises `Refusal` if there is another with this id."""
        known = self.rooms.get(room)
        if known is not None and (known.entries or list(known.members) != [device.key]):
            raise Refusal(Code.ROOM_EXISTS, "there is a room with this id already")
        self.rooms.setdefault(room, MemoryRoom(room, device.key, device.name))

    def room(self, room: bytes) -> MemoryRoom:
        """Return a room. Raises `Refusal`."""
        if room not in self.rooms:
            raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
        return self.rooms[room]

    def submit(self, device: Device, submit: m.Submit, offer: m.Offer | None) -> int:
        """Append an entry, send it to the members and the welcomes to who is invited; return its seq.

        `offer` is the one that came with it. Raises `Refusal` or `AlreadyAccepted`.
        """
        room = self.room(submit.room)
        now = int(self.clock() * 1000)
        entry, left, invited, settles = room.submit(device.key, submit, self.directory.names, now)
        if offer is not None:
            room.keep_offer(device.key, offer, settled=settles)
        self._end_streams(room, left, by_mend=False)
        self._deliver(room)
        for key in invited:
            self._last_invitation += 1
            invitation = m.Invitation(self._last_invitation, room.id, entry.seq, device.key, submit.welcome)
            self.directory.devices[key].invitations[invitation.id] = invitation
            if key in self.sessions:
                self.sessions[key].send(invitation)
        return entry.seq

    def find_link(self, device: Device, request: m.FindLink) -> m.LinkOffer:
        """Return an offer of the room of a link. Raises `Refusal`."""
        for room in self.rooms.values():
            if request.link in room.links:
                return room.find_link(device.key, request, self.clock())
        raise Refusal(Code.NO_SUCH_LINK, "there is no such link")

    def mend(self, device: Device, request: m.Mend) -> None:
        """Correct a room's routing. Raises `Refusal`."""
        room = self.room(request.room)
        left, readmitted = room.mend(device.key, request.add, request.remove, self.directory.names)
        for key in left:
            self._end_streams(room, [key], by_mend=key != device.key)
        for key in readmitted:
            stream = self.sessions[key].streams.get(room.id) if key in self.sessions else None
            if stream is not None:
                stream.end, stream.is_over = None, False
        self._deliver(room)

    def open_stream(self, session: _Session, device: Device, request: m.Resume) -> None:
        """Answer a `Resume`, send the entries it asks for, and tell who else is there. Raises `Refusal`."""
        self.close_stream(session, request.room, "")
        room = self.room(request.room)
        after, left = room.membership(device.key, request.after)
        last = len(room.entries) if left is None else left
        members = list(room.members.items()) if left is None else []
        submission = room.highest_submission(device.key)
        session.send(
            m.Resumed(request.id, room.id, last, min(room.handshake, last), submission, 0, [], members)
        )
        stream = session.streams[room.id] = _Stream(request.id, after, left, len(room.entries))
        if left is None:
            self._announce(room, session, device, online=True, text="")
        self._advance(room, session, stream)

    def close_stream(self, session: _Session, room_id: bytes, text: str) -> None:
        """Send a session nothing more of a room; `text` tells the members why it went."""
        stream, room = session.streams.pop(room_id, None), self.rooms.get(room_id)
        if stream is not None and stream.end is None and room is not None and session.device is not None:
            self._announce(room, session, session.device, online=False, text=text)

    # --- streams ---

    def _live(self, room: MemoryRoom) -> list[tuple[_Session, _Stream]]:
        sessions = self.sessions.values()
        return [(each, each.streams[room.id]) for each in tuple(sessions) if room.id in each.streams]

    def _deliver(self, room: MemoryRoom) -> None:
        for session, stream in self._live(room):
            self._advance(room, session, stream)

    def _advance(self, room: MemoryRoom, session: _Session, stream: _Stream) -> None:
        """Send a session what it has not been sent of a room, and end its stream where it has to end."""
        if stream.is_over or session.device is None:
            return
        last = len(room.entries) if stream.end is None else stream.end
        said = -1
        for seq, entry in enumerate(room.entries[stream.cursor : last], stream.cursor + 1):
            own = entry.sender == session.device.key and seq > stream.known
            sent = m.Accepted(room.id, entry.submission, seq) if own else entry
            at = room.times[seq - 1]
            if at == said:
                session.send(sent)
            else:
                session.send_timed(at, sent)
                said = at
        stream.cursor = max(stream.cursor, last)
        if stream.end is not None:
            stream.is_over = True
            if stream.ended_by_mend:
                text = "this device is no longer a member of the room"
                session.send(m.Refused(stream.request, Code.NOT_MEMBER, text))

    def _end_streams(self, room: MemoryRoom, left: Sequence[bytes], *, by_mend: bool) -> None:
        for key in left:
            stream = self.sessions[key].streams.get(room.id) if key in self.sessions else None
            if stream is not None and stream.end is None:
                stream.end, stream.ended_by_mend = len(room.entries), by_mend

    def _announce(
        self, room: MemoryRoom, session: _Session, device: Device, *, online: bool, text: str
    ) -> None:
        for other, stream in self._live(room):
            if other is not session and stream.end is None and other.device is not None:
                other.send(m.Presence(room.id, device.key, device.name, online, text))
                if online:
                    session.send(m.Presence(room.id, other.device.key, other.device.name, True, ""))


@dataclass
class _Stream:
    """A room that a session has open: entries up to `cursor` are sent, none above `end`.

    Those up to `known` were there when it was opened: own ones among them are sent as they are.
    """

    request: int
    cursor: int
    end: int | None
    known: int
    is_over: bool = False
    ended_by_mend: bool = False


class _Session(asyncio.Protocol):
    """The relay's end of one connection; `device` is None before the login."""

    def __init__(self, relay: MemoryRelay) -> None:
        self._relay = relay
        self._connection = RelayConnection(relay.versions)
        self._transport: asyncio.Transport
        self._why = "connection lost"
        self.device: Device | None = None
        self.host = b""
        self.streams: dict[bytes, _Stream] = {}
        self._offer: m.Offer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.handle(lambda: self._relay.ended(self, self._why))

    def data_received(self, data: bytes) -> None:
        self._relay.handle(partial(self._receive, data))

    def _receive(self, data: bytes) -> None:
        try:
            for message in self._connection.receive_data(data):
                self._handle(message)
        except RemoteError as error:
            self.close(error.code, str(error))

    def send(self, message: m.ToClient) -> None:
        if self._connection.state is not State.CLOSED:
            self._transport.write(self._connection.send(message))

    def send_timed(self, at: int, message: m.Entry | m.Accepted) -> None:
        """Send a message behind its time `at` (ms since 1970), in one piece; before version 6 alone."""
        if self._connection.has_times and self._connection.state is not State.CLOSED:
            time = self._connection.send(m.AcceptedAt(message.room, at))
            self._transport.write(time + self._connection.send(message))
        else:
            self.send(message)

    def close(self, code: Code, text: str) -> None:
        self._transport.write(self._connection.closing(code, text))
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # --- messages ---

    def _handle(self, message: m.ToRelay) -> None:
        match message:
            case m.Hello():
                self._transport.write(self._connection.greet(os.urandom(32), "clave in memory"))
            case m.Login():
                self._log_in(message)
            case m.Goodbye():
                self._why = "left"
                self._transport.close()
            case m.Submit():
                self._submit(message)
            case m.Offer():
                self._keep_offer(message)
            case _ if self.device is not None:
                try:
                    self._relay.check(login=False)
                    self._answer(self.device, message)
                except Refusal as refusal:
                    self.send(m.Refused(message.id, refusal.code, str(refusal)))

    def _log_in(self, login: m.Login) -> None:
        transcript = self._connection.transcript(certificate_digest(_CERTIFICATE), login.identity)
        try:
            self._relay.check(login=True)
            if not login.identity:
                self._log_in_paired(login, transcript)
                return
            device, registered = self._relay.directory.log_in(login, transcript)
        except Refusal as refusal:
            self.close(refusal.code, str(refusal))
            return
        self._relay.logged_in(self, device)
        self.device = device
        now = self._relay.clock()
        device.drop_expired(now)
        logged_in = partial(m.LoggedIn, device.name, registered, device.counts, 0, self._relay.incarnation)
        self.send(logged_in(device.published, int(now * 1000)))
        for invitation in device.invitations.values():
            self.send(invitation)

    def _log_in_paired(self, login: m.Login, transcript: bytes) -> None:
        """Let a device in that comes to be paired. Raises `Refusal`."""
        relay = self._relay
        self.device = relay.devices.log_in(login, transcript)
        self.host = relay.devices.pairings[login.device]
        relay.sessions[login.device] = self
        self.send(m.LoggedIn(self.device.name, False, [], 0, relay.incarnation, 0, int(relay.clock() * 1000)))
        relay.sessions[self.host].send(m.Passed(login.device, b""))

    def _submit(self, submit: m.Submit) -> None:
        if self.device is None:
            return
        offer, place = self._offer, (submit.room, submit.submission)
        if offer is not None and (offer.room, offer.submission) == place:
            self._offer = None
        else:
            offer = None
        stream = self.streams.get(submit.room)
        in_stream = stream is not None and not stream.is_over
        try:
            self._relay.check(login=False)
            if is_join(submit) and not self._connection.has_links:
                raise Refusal(Code.BAD_REQUEST, _NEEDS_LINKS)
            seq = self._relay.submit(self.device, submit, offer)
        except AlreadyAccepted as accepted:
            self.send_timed(0, m.Accepted(submit.room, submit.submission, accepted.seq))
        except Refusal as refusal:
            self.send(m.Rejected(submit.room, submit.submission, refusal.code, str(refusal)))
        else:
            if not in_stream:  # else the stream has acknowledged it
                at = self._relay.room(submit.room).times[seq - 1]
                self.send_timed(at, m.Accepted(submit.room, submit.submission, seq))

    def _keep_offer(self, offer: m.Offer) -> None:
        """Keep an offer, or remember it until the submission that it comes with."""
        room = self._relay.rooms.get(offer.room)
        if self.device is None or room is None or not self._connection.has_links:
            return
        if offer.submission:
            self._offer = offer
        else:
            room.keep_offer(self.device.key, offer, settled=False)

    def _answer(self, device: Device, request: m.ToRelay) -> None:
        """Answer a request. Raises `Refusal`."""
        relay, directory = self._relay, self._relay.directory
        match request:
            case m.PublishKeyPackages():
                device.publish(request)
            case m.Lookup():
                found = [(each.key, each.identity) for each in directory.find(request.name)]
                self.send(m.Account(request.id, found))
                return
            case m.ClaimKeyPackages():
                now = relay.clock()
                claimed = directory.claim(request.name, request.suite, now, request.device)
                self.send(m.KeyPackages(request.id, claimed))
                return
            case m.PassOn():
                relay.devices.pass_on(device, request)
            case m.OpenPairing():
                if request.key:
                    directory.check_space(device.account)
                relay.devices.open(device, request)
            case m.FindRevocations():
                self.send(m.Revocations(request.id, directory.revocations(request.name)))
                return
            case m.RemoveDevice():
                directory.revoke(device.account, request.device, request.revocation)
                removed = relay.sessions.get(request.device)
                if removed is not None and removed.device is not None:
                    self._relay.handle(partial(_close_removed, removed))
            case m.CreateRoom():
                relay.create_room(device, request.room)
            case m.Resume():
                relay.open_stream(self, device, request)
                return
            case m.Mend():
                relay.mend(device, request)
            case m.FindLink():
                if not self._connection.has_links:
                    raise Refusal(Code.BAD_REQUEST, _NEEDS_LINKS)
                self.send(relay.find_link(device, request))
                return
            case m.DeleteAccount():
                directory.delete(device.account)
            case m.TakeInvitation():
                device.invitations.pop(request.invitation, None)
            case _:
                return
        self.send(m.Done(request.id))


def _close_removed(session: _Session) -> None:
    session.close(Code.DEVICE_REMOVED, "your account removed this device")
