"""A session with a relay that says what a test has it say: over TLS, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certificatekit import Authority, ec_key, write_pair
from clave_client import events
from clave_client.errors import ClientError, RelayChanged, RelayRefused, StoreDamaged
from clave_client.net.address import RelayAddress
from clave_client.net.backoff import LONGEST_ASKED
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.sync.room_sync import RoomSync
from clave_crypto.keys import Secret
from clave_wire import messages as m
from clave_wire.connection import ALPN, RelayConnection
from clave_wire.login import certificate_digest, fingerprint_text, succession

PATIENCE = 20.0
NEXT = b"\2" * 32


class Visitor:
    """One connection at the relay, logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = RelayConnection()

    async def let_in(self, spread: int = 0) -> None:
        async for message in self._heard():
            if isinstance(message, m.Hello):
                self._writer.write(self._connection.greet(bytes(32), "scripted"))
            if isinstance(message, m.Login):
                return self.say(m.LoggedIn("red", True, [], spread, bytes(16)))
        return None

    async def _heard(self) -> AsyncIterator[m.ToRelay]:
        while data := await self._reader.read(2**16):
            for message in self._connection.receive_data(data):
                yield message

    def say(self, message: m.ToClient) -> None:
        self._writer.write(self._connection.send(message))

    def close(self, code: m.Code, text: str, retry_after: int = 0) -> None:
        self._writer.write(self._connection.closing(code, text, retry_after))
        self._writer.close()

    def cut(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def heard(self) -> None:
        """Wait for what a client says once its login is settled."""
        async with asyncio.timeout(PATIENCE):
            await anext(self._heard())

    async def left(self) -> None:
        """Wait until the client has ended the connection."""
        async with asyncio.timeout(PATIENCE):
            async for _ in self._heard():
                pass


Script = Callable[[Visitor], Awaitable[None]]


class ScriptedRelay:
    """Treats each connection as the next of its scripts says, and ends at the last one."""

    def __init__(self, folder: Path, *scripts: Script) -> None:
        self._folder = folder
        self._scripts = list(scripts)
        self.came: list[float] = []
        self.show()

    def show(self) -> None:
        """Make another key and certificate, for new connections."""
        self.key = ec_key()
        chain = Authority().vouch(self.key, "127.0.0.1")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols([ALPN])
        self._context.load_cert_chain(*write_pair(self._folder, chain, self.key))
        leaf = chain.decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
        self.digest = certificate_digest(ssl.PEM_cert_to_DER_cert(leaf))

    def announcement(
        self, following: bytes, key: ec.EllipticCurvePrivateKey | None = None
    ) -> m.NextCertificate:
        signed = succession(self.digest, following)
        return m.NextCertificate(following, (key or self.key).sign(signed, ec.ECDSA(hashes.SHA256())))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RelayAddress]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        try:
            yield RelayAddress(*server.sockets[0].getsockname())
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if self._scripts:
                self.came.append(asyncio.get_running_loop().time())
                await self._scripts.pop(0)(Visitor(reader, writer))
        writer.close()


@asynccontextmanager
async def session_at(address: RelayAddress, folder: Path, trust: CertificateTrust) -> AsyncIterator[RoomSync]:
    store = Store(folder / "store.db", Secret(b"k" * 32))
    account = Account.load_or_create(store, "red")
    session = RoomSync(store, account, address, trust=trust, clock=lambda: 1_800_000_000.0)
    try:
        yield session
    finally:
        await session.close()
        store.close()


E = TypeVar("E", bound=events.Event)


class Listener:
    """Reads the events of a session."""

    def __init__(self, session: RoomSync) -> None:
        self.stream = session.events.open(events.Event)

    async def sees(self, kind: type[E]) -> E:
        """Return the next event of a kind, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            async for event in self.stream:
                if isinstance(event, kind):
                    return event
        raise AssertionError("the stream ended")

    async def ends(self) -> ClientError:
        """Return the error that the stream ends with."""
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ClientError) as raised:
                async for _ in self.stream:
                    pass
        return raised.value


async def stays(visitor: Visitor) -> None:
    await visitor.let_in()
    await visitor.left()


def closes(code: m.Code, text: str, retry_after: int = 0) -> Script:
    async def script(visitor: Visitor) -> None:
        await visitor.let_in()
        visitor.close(code, text, retry_after)

    return script


# --- certificates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["with the login", "later"])
async def test_an_announced_certificate_is_stored_at_once(tmp_path: Path, when: str) -> None:
    async def announces(visitor: Visitor) -> None:
        await visitor.let_in()
        if when == "later":
            await visitor.heard()
        visitor.say(relay.announcement(NEXT))
        visitor.say(m.Invitation(1, bytes(16), 1, bytes(32), b"no welcome"))  # heard after it
        await visitor.left()

    relay = ScriptedRelay(tmp_path, announces)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        await listener.sees(events.Notice)
        copy = Store(tmp_path / "store.db", Secret(b"k" * 32))
        assert CertificateTrust.load(copy) == CertificateTrust(relay.digest, NEXT)
        copy.close()


async def test_a_first_contact_is_reported_also_with_an_announcement(tmp_path: Path) -> None:
    async def announces(visitor: Visitor) -> None:
        await visitor.let_in()
        visitor.say(relay.announcement(NEXT))
        await visitor.left()

    relay = ScriptedRelay(tmp_path, announces, stays)
    async with relay.running() as address:
        async with session_at(address, tmp_path, CertificateTrust()) as session:
            connected = await session.connect()
            assert connected.first_use
            trust = CertificateTrust.load(session.store)
            assert trust == CertificateTrust(relay.digest, NEXT)
        async with session_at(address, tmp_path, trust) as session:
            assert not (await session.connect()).first_use


async def test_certificates_that_could_not_be_stored_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def let_in(visitor: Visitor) -> None:
        await visitor.let_in()
        await visitor.left()

    def fail(*_: object) -> None:
        raise StoreDamaged("the disk is full")

    relay = ScriptedRelay(tmp_path, let_in)
    async with relay.running() as address, session_at(address, tmp_path, CertificateTrust()) as session:
        monkeypatch.setattr(session, "store_login", fail)
        with pytest.raises(StoreDamaged):
            await session.connect()
        assert session.connection.trust.pin is None, "the next contact is still the first"


async def test_an_unsigned_announcement_ends_the_connection(tmp_path: Path) -> None:
    async def lies(visitor: Visitor) -> None:
        await visitor.let_in()
        visitor.say(relay.announcement(NEXT, ec_key()))
        await visitor.left()

    relay = ScriptedRelay(tmp_path, lies, stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        event = await listener.sees(events.Disconnected)
        assert isinstance(event, events.Disconnected)
        assert "its present key did not sign; ask its operator" in event.reason
        await listener.sees(events.Connected)
        assert CertificateTrust.load(session.store) == CertificateTrust(relay.digest), "nothing of it is kept"


async def test_an_announced_certificate_is_accepted_and_reported_once(tmp_path: Path) -> None:
    relay = ScriptedRelay(tmp_path, stays, stays)
    async with relay.running() as address:
        async with session_at(address, tmp_path, CertificateTrust(bytes(32), relay.digest)) as session:
            listener = Listener(session)
            await session.connect()
            event = await listener.sees(events.Notice)
            assert isinstance(event, events.Notice)
            assert event.text.endswith(fingerprint_text(relay.digest))
            assert "had announced" in event.text
            trust = CertificateTrust.load(session.store)
            assert trust == CertificateTrust(relay.digest)
        async with session_at(address, tmp_path, trust) as session:
            listener = Listener(session)
            await session.connect()
            assert not any(isinstance(event, events.Notice) for event in listener.stream.pending())


async def test_an_unknown_certificate_at_a_reconnect_ends_the_client(tmp_path: Path) -> None:
    relay = ScriptedRelay(tmp_path, closes(m.Code.SHUTDOWN, "the relay shuts down"), stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        session.connection.trust = CertificateTrust(bytes(32))  # as if the relay had shown another one before
        error = await listener.ends()
        assert fingerprint_text(relay.digest) in str(error)
        with pytest.raises(RelayChanged):
            session.check()


# --- coming back ---------------------------------------------------------------------------------------


async def test_a_relay_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    relay = ScriptedRelay(tmp_path, closes(m.Code.SHUTDOWN, "the relay shuts down", 700), stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        await listener.sees(events.Disconnected)
        await listener.sees(events.Connected)
        first, second = relay.came
        assert second - first >= 0.7


async def test_a_full_relay_is_tried_again_after_the_pause_it_asks_for(tmp_path: Path) -> None:
    async def turns_away(visitor: Visitor) -> None:
        visitor.close(m.Code.FULL, "this relay is full", 600)

    relay = ScriptedRelay(tmp_path, closes(m.Code.SLOW, "too slow"), turns_away, stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        reasons = [await listener.sees(events.Disconnected) for _ in range(2)]
        assert [getattr(event, "reason", "") for event in reasons] == ["too slow", "this relay is full"]
        await listener.sees(events.Connected)
        _, second, third = relay.came
        assert third - second >= 0.6


async def test_a_connection_that_breaks_waits_within_the_spread(tmp_path: Path) -> None:
    async def breaks(visitor: Visitor) -> None:
        await visitor.let_in(spread=2**52)
        visitor.cut()

    relay = ScriptedRelay(tmp_path, breaks)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        event = await listener.sees(events.Disconnected)
        assert isinstance(event, events.Disconnected)
        assert event.retry_in <= LONGEST_ASKED
        assert event.retry_in > 1.0, "drawn from ages, not from a quarter second"


@pytest.mark.parametrize("code", [m.Code.SHUTDOWN, m.Code.FULL, m.Code.SLOW, m.Code.TIMEOUT])
async def test_temporary_refusals_are_tried_again(tmp_path: Path, code: m.Code) -> None:
    relay = ScriptedRelay(tmp_path, closes(code, "for now"), stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        await listener.sees(events.Disconnected)
        await listener.sees(events.Connected)


async def test_a_ban_ends_the_client_with_one_line(tmp_path: Path) -> None:
    relay = ScriptedRelay(tmp_path, closes(m.Code.BANNED, "the account red is banned from this relay"), stays)
    async with (
        relay.running() as address,
        session_at(address, tmp_path, CertificateTrust(relay.digest)) as session,
    ):
        listener = Listener(session)
        await session.connect()
        error = await listener.ends()
        assert str(error) == "the account red is banned from this relay; ask its operator"
        assert len(relay.came) == 1
        with pytest.raises(RelayRefused):
            session.check()
