"""A real relay on loopback and a client that says exactly what a test tells it to, over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import ssl
import sys
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self, TypeVar

from clave_crypto.identity import AccountKey, DeviceKey
from clave_server.accounts.registration import RegistrationPolicy
from clave_server.limits.connection_limits import ConnectionCaps
from clave_server.observe.line_output import LineOutput
from clave_server.observe.mirror import Mirror
from clave_server.option_values import MirrorMode, RegistrationMode
from clave_server.relay.relay import Relay
from clave_server.relay.settings import Settings
from clave_server.rooms.rekeys import reference
from clave_server.rooms.sequencer import Sequencer
from clave_server.storage.data_dir import DataDir
from clave_wire import messages as m
from clave_wire.connection import ALPN, ClientConnection
from clave_wire.header import Header, Seen, digest_names, pack_header, split_payload
from clave_wire.login import certificate_digest

HOST = "127.0.0.1"
ROOM = bytes(range(16))
HEAD = bytes(32)
PATIENCE_SECONDS = 20.0
CHANGE_BURST = Settings.change_burst
_CLOSE_SECONDS = 1.0

_NAMES: dict[bytes, str] = {}
"""Whose each device is, for commits that add it."""

_T = TypeVar("_T", bound=m.ToClient)


class Participant:
    """Someone with an account, one device, and a count of what it submitted."""

    def __init__(self, name: str, account: AccountKey | None = None) -> None:
        self.name = name
        self.account = account or AccountKey.generate()
        self.key = DeviceKey.generate()
        self.device = self.key.public
        self.identity = self.account.certify(name, "laptop", self.device)
        _NAMES[self.device] = name
        self.submissions: dict[bytes, int] = defaultdict(int)
        self.seen: dict[bytes, int] = defaultdict(int)
        self.handshakes: dict[bytes, int] = defaultdict(int)
        self._kinds: dict[tuple[bytes, int], m.Kind] = {}

    def number(self, room: bytes, kind: m.Kind) -> int:
        """Count one more submission."""
        self.submissions[room] += 1
        self._kinds[room, self.submissions[room]] = kind
        return self.submissions[room]

    def hear(self, message: m.ToClient) -> None:
        """Take note of where a room stands, and of a number that is free again."""
        kind = m.Kind.APPLICATION
        match message:
            case m.Entry():
                kind = message.kind
            case m.Accepted():
                kind = self._kinds.get((message.room, message.submission), kind)
            case m.Invitation():
                kind = m.Kind.COMMIT
            case m.Resumed():
                self.submissions[message.room] = max(message.submission, self.submissions[message.room])
                return
            case m.Rejected() if message.code is not m.Code.RENUMBER:
                self.submissions[message.room] = min(message.submission - 1, self.submissions[message.room])
                return
            case _:
                return
        self.seen[message.room] = max(message.seq, self.seen[message.room])
        if kind is not m.Kind.APPLICATION:
            self.handshakes[message.room] = max(message.seq, self.handshakes[message.room])


class ConnectionClosed(Exception):
    """The relay closed the connection, after `Closing` if it said so."""

    def __init__(self, closing: m.Closing | None) -> None:
        super().__init__(closing)
        self.closing = closing

    @property
    def code(self) -> m.Code | None:
        return self.closing.code if self.closing else None


class RawClient:
    """One connection of a participant. Presence is kept aside in `presence`; nothing else is interpreted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received: deque[m.ToClient] = deque()
        self._ids = 0
        self.connection = ClientConnection()
        self.presence: list[m.Presence] = []
        self.times: defaultdict[bytes, list[tuple[int, int | None]]] = defaultdict(list)
        """By room, the seqs of entries and acknowledgements with what `AcceptedAt` said of them, or None."""
        self.accepted_at: dict[bytes, int] = {}
        self.plain_certificate = b""
        self._participant: Participant | None = None
        self.logged_in: m.LoggedIn

    @classmethod
    async def connect(
        cls, port: int, *, host: str = HOST, read_limit: int = 2**16, before_tls: bytes = b""
    ) -> Self:
        """Connect over TLS, having said `before_tls` as a proxy does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([ALPN])
        reader, writer = await asyncio.open_connection(host, port, limit=read_limit)
        writer.write(before_tls)
        try:
            await writer.start_tls(context)
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer)

    @classmethod
    async def connect_plain(cls, port: int, certificate: bytes, *, before: bytes = b"") -> Self:
        """Connect without TLS to a relay whose certificate is known, having said `before`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(before)
        client = cls(reader, writer)
        client.plain_certificate = certificate
        return client

    @property
    def certificate(self) -> bytes:
        if self.plain_certificate:
            return self.plain_certificate
        return certificate_digest(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async def greet(self) -> m.Greeting:
        await self.write(self.connection.hello("test"))
        return await self.expect(m.Greeting)

    async def log_in(self, participant: Participant, token: str = "") -> Self:
        await self.greet()
        transcript = self.connection.transcript(self.certificate, participant.identity)
        signature = participant.key.sign(transcript)
        await self.send(m.Login(participant.device, participant.identity, signature, token))
        self.logged_in = await self.expect(m.LoggedIn)
        self._participant = participant
        return self

    @property
    def participant(self) -> Participant:
        assert self._participant is not None
        return self._participant

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send(self, message: m.ToRelay) -> None:
        await self.write(self.connection.send(message))

    async def receive(self) -> m.ToClient:
        """Return the next message that is no presence. Raises `ConnectionClosed`."""
        while isinstance(message := await self._next(), m.Presence):
            self.presence.append(message)
        return message

    async def _next(self) -> m.ToClient:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._received:
                try:
                    data = await self._reader.read(2**18)
                except ConnectionError:
                    data = b""
                if not data:
                    raise ConnectionClosed(None)
                self._received.extend(self.connection.receive_data(data))
        message = self._received.popleft()
        if isinstance(message, m.AcceptedAt):
            self.accepted_at[message.room] = message.at
            return await self._next()
        if isinstance(message, m.Entry | m.Accepted):
            self.times[message.room].append((message.seq, self.accepted_at.get(message.room)))
        if isinstance(message, m.Closing):
            raise ConnectionClosed(message)
        if self._participant is not None:
            self._participant.hear(message)
        return message

    async def expect(self, kind: type[_T]) -> _T:
        message = await self.receive()
        assert isinstance(message, kind), message
        return message

    async def closed(self) -> m.Code | None:
        """Read to the end; return why the relay closed."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed as ended:
            return ended.code

    async def next_presence(self) -> m.Presence:
        """Return the next presence; anything else arriving first is an error."""
        if self.presence:
            return self.presence.pop(0)
        message = await self._next()
        assert isinstance(message, m.Presence), message
        return message

    # --- the usual requests ----------------------------------------------------------------------------

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    async def ask(self, message: m.ToRelay) -> m.ToClient:
        """Send a request and return its answer, whatever it is."""
        await self.send(message)
        return await self.receive()

    async def create(self, room: bytes = ROOM) -> None:
        answer = await self.ask(m.CreateRoom(self.next_id(), room))
        assert isinstance(answer, m.Done), answer

    async def resume(self, after: int = 0, room: bytes = ROOM) -> m.Resumed:
        await self.send(m.Resume(self.next_id(), room, after))
        return await self.expect(m.Resumed)

    def entry(
        self,
        payload: bytes,
        *,
        room: bytes = ROOM,
        read: int | None = None,
        kind: m.Kind = m.Kind.APPLICATION,
        add: tuple[bytes, ...] = (),
        remove: tuple[bytes, ...] = (),
        welcome: bytes = b"",
        head: bytes = HEAD,
        ref: bytes = b"",
        seen: int | None = None,
    ) -> m.Submit:
        """Return the next submission: `payload` itself if it is a message, else behind a header.

        What of the room was read is what was heard of it, unless `read` and `seen` say otherwise.
        """
        who = self.participant
        if kind is not m.Kind.APPLICATION:
            if kind is m.Kind.COMMIT:
                ref = digest_names((device, _NAMES.get(device, "")) for device in add)
            until = Seen(who.seen[room] if seen is None else seen, bytes(32))
            header = Header(kind, head, until, add=list(add), remove=list(remove), ref=ref)
            payload = pack_header(header) + payload
        if read is None:
            read = who.handshakes[room]
        return m.Submit(room, who.number(room, kind), read, kind, payload, welcome)

    def confirm(self, rekey: m.Submit) -> m.Submit:
        """Return the next submission, which confirms this one."""
        return self.entry(b"confirm", kind=m.Kind.CONFIRM, ref=reference(rekey.payload))

    async def submit(self, submit: m.Submit) -> m.Accepted:
        """Submit and wait for the acknowledgement, which must be the next thing to come."""
        await self.send(submit)
        return await self.expect(m.Accepted)

    async def say(self, payload: bytes, *, room: bytes = ROOM) -> m.Accepted:
        return await self.submit(self.entry(payload, room=room))

    async def close(self) -> None:
        self._writer.close()
        closing = asyncio.ensure_future(self._writer.wait_closed())
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        if not closing.done():  # much is unread, and TLS would wait for it
            self._writer.transport.abort()
        with contextlib.suppress(OSError, ssl.SSLError):
            await closing


def payloads(entries: list[m.Entry]) -> list[bytes]:
    """Return what entries say, without headers."""
    return [
        entry.payload if entry.kind is m.Kind.APPLICATION else split_payload(entry.payload)[2]
        for entry in entries
    ]


async def remove(by: RawClient, confirmer: RawClient, *devices: bytes) -> int:
    """Have devices removed and return the seq of that; the first to come to both is the rekey."""
    rekey = by.entry(b"rekey", kind=m.Kind.REKEY, remove=devices)
    await by.submit(rekey)
    assert payloads([await confirmer.expect(m.Entry)]) == [b"rekey"]
    return (await confirmer.submit(confirmer.confirm(rekey))).seq


async def entries(client: RawClient, count: int) -> list[m.Entry]:
    return [await client.expect(m.Entry) for _ in range(count)]


class Told:
    """Keeps what a writer of lines reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str | int]] = []
        self._changed = threading.Condition()

    def _report(self, what: str, value: str | int) -> None:
        with self._changed:
            self.reports.append((what, value))
            self._changed.notify_all()

    def failed(self, reason: str) -> None:
        self._report("failed", reason)

    def recovered(self, lost: int) -> None:
        self._report("recovered", lost)

    def ended(self) -> None:
        self._report("ended", "")

    def not_reopened(self, reason: str) -> None:
        self._report("not reopened", reason)

    def wait_for(self, what: str) -> str | int:
        """Wait until `what` is reported; return with which value."""
        with self._changed:
            assert self._changed.wait_for(lambda: what in dict(self.reports), PATIENCE_SECONDS)
            return dict(self.reports)[what]


class RelayUnderTest:
    """A relay in this process; `mirror_text` is what its screen shows."""

    def __init__(self, folder: Path, host: str = HOST, **settings: object) -> None:
        self.folder = folder
        self.host = host
        self.settings = settings
        self.relay: Relay
        self.port = 0
        self._clients: list[RawClient] = []

    async def start(self) -> None:
        self.data_dir = DataDir(self.folder / "data")
        self._screen = os.open(self.folder / "mirror.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._mirror = Mirror(
            MirrorMode.SHORT,
            LineOutput(self._screen),
            coloured=False,
            clock=lambda: dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
            listener=Told(),
        )
        chosen = {
            "registration": RegistrationPolicy(RegistrationMode.OPEN),
            "connections": ConnectionCaps(1000, 1000),
            **self.settings,
        }
        settings = Settings(self.host, self.port, **chosen)  # type: ignore[arg-type]  # tests name them
        self.relay = await Relay.start(settings, self.data_dir, self._mirror)
        self.port = self.relay.addresses[0][1]

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        self._clients.clear()
        await self.relay.stop()
        self._mirror.stop()
        os.close(self._screen)
        self.data_dir.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def plain_port(self) -> int:
        (listening,) = (each for each in self.relay.listener.sockets if not each.encrypted)
        return listening.address[1]

    @property
    def sequencer(self) -> Sequencer:
        return self.relay.context.sequencer

    @property
    def database(self) -> Path:
        return self.folder / "data" / "relay.db"

    def mirror_text(self) -> str:
        return (self.folder / "mirror.txt").read_text()

    async def connect(self, *, read_limit: int = 2**16) -> RawClient:
        client = await RawClient.connect(self.port, host=self.host, read_limit=read_limit)
        self._clients.append(client)
        return client

    async def join(self, participant: Participant | str, token: str = "") -> RawClient:
        """Connect and log in."""
        if isinstance(participant, str):
            participant = Participant(participant)
        return await (await self.connect()).log_in(participant, token)

    async def room_of(self, *names: str, room: bytes = ROOM) -> list[RawClient]:
        """Log in everyone, put them into one room and have them resume it; its seq is 1."""
        clients = [await self.join(name) for name in names]
        first, *others = clients
        await first.create(room)
        await first.resume(0, room)
        added = tuple(client.participant.device for client in others)
        commit = first.entry(b"add everyone", room=room, kind=m.Kind.COMMIT, add=added, welcome=b"hello")
        accepted = await first.submit(commit)
        for client in others:
            invitation = await client.expect(m.Invitation)
            await client.resume(invitation.seq, room)
            assert isinstance(await client.ask(m.TakeInvitation(client.next_id(), invitation.id)), m.Done)
        assert accepted.seq == 1
        for client in clients:
            assert isinstance(await client.ask(m.Lookup(client.next_id(), names[0])), m.Account)
            client.presence.clear()
        return clients


class RelayProcess:
    """A real `clave-relay` process on a free port of loopback, killed at the end unless it ended itself."""

    def __init__(
        self, data: Path, *options: str, environment: dict[str, str] | None = None, ready: bool = True
    ) -> None:
        self._command = [sys.executable, "-m", "clave_server", "--listen", "127.0.0.1:0", "--data", str(data)]
        self._command += options
        self._environment = {**os.environ, **(environment or {})}
        self.process: asyncio.subprocess.Process
        self._ready = ready
        self.first_line = ""
        self.port = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        if not self._ready:
            return self
        self.first_line = await self.next_line()
        if self.first_line.startswith("{"):
            address = json.loads(self.first_line)["address"]
        else:
            address = self.first_line.split()[2]
        self.port = int(address.rpartition(":")[2])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def last_words(self) -> str:
        """Wait until the process ends by itself; return the last line of its standard error."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, errors = await self.process.communicate()
        return errors.decode().strip().rpartition("\n")[2]

    async def next_line(self) -> str:
        """Return the next line of standard output."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self.process.stdout.readline()).decode()


@contextlib.asynccontextmanager
async def running_relay(folder: Path, host: str = HOST, **settings: object) -> AsyncIterator[RelayUnderTest]:
    """Run a relay on a free port of loopback."""
    relay = RelayUnderTest(folder, host, **settings)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
