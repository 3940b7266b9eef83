"""A relay that goes silent is pinged, and dropped if it stays silent; mostly in virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import pytest

from clave_client import EventStream, events
from clave_client.errors import RelayUnreachable
from clave_client.net import transport
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_client.testing import MemoryRelay
from clave_client.testing.memory_transport import connect_pair
from clave_crypto.identity import DeviceKey
from clave_wire import messages as m
from clave_wire.connection import RelayConnection
from simulation.clock import Idle, VirtualLoop, run

E = TypeVar("E", bound=events.Event)
PATIENCE = 30.0
PRESENCE = m.Presence(bytes(16), bytes(32), "blue", True, "")


class QuietRelay(asyncio.Protocol):
    """Lets a client in; then answers its pings while `answers`, and keeps when each came."""

    def __init__(self) -> None:
        self.answers = True
        self.is_mute = False
        self.pings: list[float] = []
        self._connection = RelayConnection()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.is_mute:
            return
        for message in self._connection.receive_data(data):
            match message:
                case m.Hello():
                    self._transport.write(self._connection.greet(bytes(32), "quiet"))
                case m.Login():
                    self.say(m.LoggedIn("red", True, [], 0, bytes(16)))
                case m.Lookup(request, m.PING):
                    self.pings.append(asyncio.get_running_loop().time())
                    if self.answers:
                        self.say(m.Refused(request, m.Code.NO_SUCH_NAME, "nobody"))

    def say(self, message: m.ToClient) -> None:
        self._transport.write(self._connection.send(message))


class Link:
    """A client's connection to a quiet relay, logged in; `heard` is what it passed on."""

    def __init__(self) -> None:
        self.relay = QuietRelay()
        self.heard: list[m.ToClient] = []
        self.client = RelayTransport(RelayAddress("quiet.invalid", 1), self.heard.extend)
        self.ended_at: float | None = None
        self.client.closed.add_done_callback(lambda _: self._note_end())
        end = connect_pair(self.client, self.relay, b"certificate")
        self.client.check_certificate(end, CertificateTrust(), vouched=False)

    def _note_end(self) -> None:
        self.ended_at = asyncio.get_running_loop().time()


def told(story: Callable[[Link], Awaitable[None]]) -> Link:
    """Log in and have `story` happen, in virtual time."""

    async def main() -> Link:
        link = Link()
        await link.client.login(b"identity", DeviceKey.generate(), "test", "")
        await story(link)
        return link

    return run(VirtualLoop(), main())


def test_a_relay_that_does_not_answer_is_away_20_s_after_the_ping() -> None:
    async def story(link: Link) -> None:
        link.relay.answers = False
        await asyncio.sleep(100)
        error = link.client.closed.result()
        assert isinstance(error, RelayUnreachable)
        assert str(error) == "the relay does not answer"

    link = told(story)
    assert link.relay.pings == [pytest.approx(10)]
    assert link.ended_at == pytest.approx(30)


@pytest.mark.parametrize("when", [10.5, 19.9, 25.0, 29.5, 1003.0])
def test_a_relay_that_stops_is_noticed_within_30_s_whenever_it_does(when: float) -> None:
    async def story(link: Link) -> None:
        await asyncio.sleep(when)
        assert link.client.is_up
        link.relay.answers = False
        await asyncio.sleep(100)

    link = told(story)
    assert link.ended_at is not None
    assert when + 20 < link.ended_at <= when + 30 + 0.001


def test_a_quiet_relay_that_answers_stays() -> None:
    link = told(lambda _: asyncio.sleep(1005))
    assert link.client.is_up
    assert link.relay.pings == [pytest.approx(10 * number) for number in range(1, 101)]
    assert link.heard == [], "no answer to a ping is passed on"


@pytest.mark.parametrize(("every", "pings"), [(9.0, 0), (15.0, 10)])
def test_anything_received_is_a_sign_of_life(every: float, pings: int) -> None:
    async def story(link: Link) -> None:
        link.relay.answers = False
        for _ in range(10):
            await asyncio.sleep(every)
            link.relay.say(PRESENCE)
            await asyncio.sleep(0)
        assert link.client.is_up

    link = told(story)
    assert len(link.relay.pings) == pings
    assert link.heard == [PRESENCE] * 10


def test_a_connection_that_was_closed_waits_for_nothing() -> None:
    async def story(link: Link) -> None:
        await link.client.close()
        await asyncio.Event().wait()

    with pytest.raises(Idle, match=r"at 0\.000 s"):
        told(story)


async def sees(stream: EventStream[events.Event], kind: type[E]) -> E:
    """Return the next event of a kind."""
    async for event in stream:
        if isinstance(event, kind):
            return event
    raise AssertionError("the stream ended")


async def test_a_frozen_relay_is_reported_and_come_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SILENCE_SECONDS", 0.01)
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 0.5)
    async with MemoryRelay() as relay, relay.client("red") as red:
        stream, room = red.events(), await red.create_room("friends")
        relay.freeze()
        async with asyncio.timeout(PATIENCE):
            lost = await sees(stream, events.Disconnected)
            assert lost.reason == "the relay does not answer"
            assert not red.is_online
            relay.thaw()
            await sees(stream, events.Connected)
            await room.send("hello")


async def test_a_login_that_gets_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.05)
    async with MemoryRelay() as relay:
        relay.freeze()
        with pytest.raises(RelayUnreachable, match="takes the connection but does not answer"):
            async with relay.client("red"):
                pass


@pytest.mark.parametrize("trust", [CertificateTrust(), CertificateTrust(bytes(32))])
async def test_a_port_that_says_nothing_is_given_up(
    trust: CertificateTrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.05)
    gone = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server, asyncio.timeout(PATIENCE):
        address = RelayAddress(*server.sockets[0].getsockname())
        with pytest.raises(RelayUnreachable, match=r"takes the connection but does not answer"):
            await RelayTransport.connect(address, trust, lambda _: None)
        await gone.wait()


def test_the_login_has_the_time_that_connecting_left() -> None:
    async def main() -> float:
        relay = QuietRelay()
        client = RelayTransport(RelayAddress("quiet.invalid", 1), lambda _: None)
        client.deadline = 3.0
        end = connect_pair(client, relay, b"certificate")
        client.check_certificate(end, CertificateTrust(), vouched=False)
        relay.is_mute = True
        await asyncio.sleep(2)
        with pytest.raises(RelayUnreachable, match="takes the connection but does not answer"):
            await client.login(b"identity", DeviceKey.generate(), "test", "")
        return asyncio.get_running_loop().time()

    assert run(VirtualLoop(), main()) == pytest.approx(3.0)


def test_a_refusal_to_who_was_cancelled_with_it_is_reported_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []

    async def story(link: Link) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        asking = [asyncio.ensure_future(link.client.request(lambda request: m.Lookup(request, m.PING)))]
        receive = link.client.data_received

        def receive_and_cancel(data: bytes) -> None:
            receive(data)
            asking.pop().cancel()

        monkeypatch.setattr(link.client, "data_received", receive_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        gc.collect()

    told(story)
    assert reported == []
