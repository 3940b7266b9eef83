"""Clients that break the protocol, do not read or exceed a limit are told so; no other client is affected."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import threading
from pathlib import Path

import pytest

from clave_server.limits.connection_limits import ConnectionCaps
from clave_server.rooms.session import MAX_PENDING
from clave_wire import messages as m
from clave_wire.connection import VERSIONS
from clave_wire.framing import pack
from clave_wire.limits import MAX_FRAME, MAX_FRAME_BEFORE_LOGIN
from relaykit import Participant, RawClient, RelayUnderTest, running_relay


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"garbage"), m.Code.MALFORMED),
        (frame(b""), m.Code.MALFORMED),
        (frame(b"\x92\x63\x01"), m.Code.MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n", m.Code.TOO_LARGE),
        ((MAX_FRAME_BEFORE_LOGIN + 1).to_bytes(4, "big"), m.Code.TOO_LARGE),
        (pack(m.Goodbye()), m.Code.UNEXPECTED),
        (pack(m.Submit(bytes(16), 1, 0, m.Kind.APPLICATION, b"")), m.Code.UNEXPECTED),
        (pack(m.Hello(list(VERSIONS), "test")) * 2, m.Code.UNEXPECTED),
        (pack(m.Hello([1, 9], "test")), m.Code.VERSION),
    ],
)
async def test_an_invalid_message_before_login_closes_the_connection(
    relay: RelayUnderTest, data: bytes, code: m.Code
) -> None:
    client = await relay.connect()
    client.connection.hello("test")
    await client.write(data)
    assert await client.closed() is code
    await relay.join("red")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"garbage"), m.Code.MALFORMED),
        ((MAX_FRAME + 1).to_bytes(4, "big"), m.Code.TOO_LARGE),
        (pack(m.Hello(list(VERSIONS), "test")), m.Code.UNEXPECTED),
        (pack(m.Done(1)), m.Code.MALFORMED),
    ],
)
async def test_an_invalid_message_after_login_closes_only_its_connection(
    relay: RelayUnderTest, data: bytes, code: m.Code
) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    await blue.write(data)
    assert await blue.closed() is code
    assert (await red.next_presence()).name == "blue"
    await red.say(b"hello")
    assert (await green.expect(m.Entry)).payload == b"hello"


async def test_random_bytes_on_many_connections_disturb_no_other_client(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    chance = random.Random(7)  # noqa: S311  (a repeatable test)

    async def babble(participant: Participant | None) -> None:
        client = await relay.connect()
        if participant:
            await client.log_in(participant)
        for _ in range(5):
            data = chance.randbytes(chance.randrange(1, 300))
            try:
                await client.write(frame(data) if chance.random() < 0.7 else data)
            except ConnectionError:
                return
        await client.close()

    strangers = [None, *(Participant(f"p{number}") for number in range(5))] * 4
    await asyncio.gather(*map(babble, strangers))
    await red.say(b"hello")
    assert (await blue.expect(m.Entry)).payload == b"hello"


async def test_a_truncated_frame_is_closed_at_the_login_deadline(tmp_path: Path) -> None:
    async with running_relay(tmp_path, login_seconds=0.2) as relay:
        client = await relay.connect()
        await client.write(pack(m.Hello(list(VERSIONS), "test"))[:-2])
        assert await client.closed() is m.Code.TIMEOUT


async def test_an_unfinished_login_is_closed_at_the_deadline_and_a_finished_one_is_not(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path, login_seconds=0.3) as relay:
        red = await relay.join("red")
        silent = await relay.connect()
        await silent.greet()
        assert await silent.closed() is m.Code.TIMEOUT
        assert isinstance(await red.ask(m.Lookup(1, "red")), m.Account)


async def test_a_connection_that_never_begins_tls_is_closed_at_the_deadline(tmp_path: Path) -> None:
    async with running_relay(tmp_path, login_seconds=0.2) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_plain_text_on_the_tls_port_is_closed(relay: RelayUnderTest) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"hello, is this a relay?\r\n" * 10)
    async with asyncio.timeout(10):
        try:
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
    writer.close()
    await relay.join("red")


@pytest.mark.parametrize("alpn", [None, ["h2", "http/1.1"]])
async def test_another_alpn_protocol_is_refused_with_version(
    relay: RelayUnderTest, alpn: list[str] | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port, ssl=context)
    except ssl.SSLError:
        return  # the TLS library refused it first
    client = RawClient(reader, writer)
    assert await client.closed() is m.Code.VERSION
    await client.close()


async def test_tls_older_than_1_3_is_refused(relay: RelayUnderTest) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", relay.port, ssl=context)


# --- too many, too slow --------------------------------------------------------------------------------


@pytest.mark.parametrize("caps", [ConnectionCaps(2, 1000), ConnectionCaps(1000, 2)])
async def test_a_connection_above_a_cap_is_refused(tmp_path: Path, caps: ConnectionCaps) -> None:
    async with running_relay(tmp_path, connections=caps) as relay:
        red, blue = await relay.join("red"), await relay.join("blue")
        extra = await relay.connect()
        assert await extra.closed() is m.Code.FULL
        assert isinstance(await red.ask(m.Lookup(1, "blue")), m.Account)
        await blue.close()
        assert isinstance(await red.ask(m.Lookup(1, "blue")), m.Account)
        await relay.join("green")


async def test_a_client_that_does_not_read_is_dropped_and_the_others_are_not(tmp_path: Path) -> None:
    async with running_relay(tmp_path, send_queue_bytes=2**20) as relay:
        red, blue, green = await relay.room_of("red", "blue", "green")
        count = 40
        payload = bytes(2**19)

        async def talk() -> None:
            for _ in range(count):
                await red.send(red.entry(payload))
                await red.expect(m.Accepted)

        async def listen() -> None:  # while green reads nothing
            for _ in range(count):
                await blue.expect(m.Entry)

        await asyncio.gather(talk(), listen())
        gone = await red.next_presence()
        assert (gone.name, gone.online, gone.text) == ("green", False, "too slow")
        assert await green.closed() is m.Code.SLOW
        back = await relay.join(green.participant)
        await back.resume(1)
        for _ in range(count):
            assert len((await back.expect(m.Entry)).payload) == len(payload)


async def test_a_client_that_catches_up_slowly_is_not_dropped(tmp_path: Path) -> None:
    async with running_relay(tmp_path, send_queue_bytes=2**20) as relay:
        red, blue = await relay.room_of("red", "blue")
        await blue.close()
        for _ in range(40):
            await red.say(bytes(2**19))
        back = await relay.join(blue.participant)
        await back.resume(1)
        await red.ask(m.Lookup(1, "red"))
        for _ in range(40):
            await back.expect(m.Entry)


async def test_more_requests_than_the_pending_limit_are_all_answered(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    count = 5000
    lookups = b"".join(pack(m.Lookup(number, "red")) for number in range(count))
    writing = asyncio.create_task(red.write(lookups))
    assert [(await red.expect(m.Account)).id for _ in range(count)] == list(range(count))
    await writing


async def test_more_request_bytes_than_the_pending_limit_are_all_accepted(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    submits = [red.entry(bytes(2**20)) for _ in range(24)]
    writing = asyncio.create_task(red.write(b"".join(map(pack, submits))))
    assert [(await red.expect(m.Accepted)).seq for _ in submits] == list(range(2, 26))
    await writing


async def test_entries_sent_before_goodbye_are_accepted(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.write(red.connection.send(red.entry(b"last words")) + red.connection.send(m.Goodbye()))
    assert await red.closed() is None
    messages = {type(await blue.receive())}
    assert messages == {m.Entry}


async def test_a_client_that_keeps_sending_does_not_delay_the_stop(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        clients = await relay.room_of("red")

        async def flood(client: RawClient) -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.write(b"".join(pack(client.entry(b"more")) for _ in range(100)))

        flooding = [asyncio.create_task(flood(client)) for client in clients]
        for client in clients:
            await client.receive()
        draining = [asyncio.create_task(client.closed()) for client in clients]
        async with asyncio.timeout(10):
            await relay.relay.stop()
            codes = await asyncio.gather(*draining)
        assert set(codes) <= {m.Code.SHUTDOWN, None}  # None: cut off before it had read so far
        for task in flooding:
            task.cancel()


async def test_a_ping_is_answered_while_the_database_is_busy(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    go_on = threading.Event()
    finished: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    relay.relay.context.reader.submit(lambda _: go_on.wait(), finished.set_result)
    try:
        for number in range(MAX_PENDING // 2):
            await red.send(m.Lookup(number, "red"))
        answer = await red.ask(m.Lookup(5000, m.PING))
        assert isinstance(answer, m.Refused)
        assert (answer.id, answer.code) == (5000, m.Code.NO_SUCH_NAME)
    finally:
        go_on.set()
        await finished
    for number in range(MAX_PENDING // 2):
        assert (await red.expect(m.Account)).id == number


async def test_pings_count_towards_the_rate_and_are_all_answered(tmp_path: Path) -> None:
    async with running_relay(tmp_path, account_rate=1000) as relay:  # 10,000 at once
        (red,) = await relay.room_of("red")
        count = 11_000
        pings = b"".join(pack(m.Lookup(number, m.PING)) for number in range(count))
        writing = asyncio.create_task(red.write(pings))
        assert [(await red.expect(m.Refused)).id for _ in range(count)] == list(range(count))
        await writing
        assert relay.relay.context.counters.rate_refusals > 0


async def test_a_client_that_reads_no_answers_to_its_pings_is_dropped(tmp_path: Path) -> None:
    async with running_relay(tmp_path, send_queue_bytes=2**16) as relay:
        (red,) = await relay.room_of("red")
        pings = b"".join(pack(m.Lookup(number, m.PING)) for number in range(10_000))
        counters = relay.relay.context.counters
        with contextlib.suppress(ConnectionError):
            while not counters.slow_drops:
                await red.write(pings)
        assert counters.slow_drops == 1
