"""Memory for incomplete frames and unsent bytes is limited; clients above their rate are slowed down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_server.errors import StorageError
from clave_server.net import send_queue, transport
from clave_wire import messages as m
from clave_wire.framing import pack
from relaykit import ConnectionClosed, RawClient, RelayUnderTest, running_relay


async def closing_of(client: RawClient) -> m.Closing | None:
    """Read to the end; return the relay's `Closing`, if any."""
    try:
        while True:
            await client.receive()
    except ConnectionClosed as ended:
        return ended.closing


async def test_a_client_that_sends_half_a_frame_is_closed_after_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(transport, "FRAME_SECONDS", 0.2)
    async with running_relay(tmp_path) as relay:
        red, blue = await relay.room_of("red", "blue")
        await blue.write(pack(blue.entry(bytes(1000)))[:500])
        assert await blue.closed() is m.Code.TIMEOUT
        gone = await red.next_presence()
        assert (gone.name, gone.text) == ("blue", "sent half a frame")
        await red.say(b"on")


async def test_a_frame_that_arrives_in_pieces_is_accepted(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    frame = pack(red.entry(bytes(2**20)))
    for start in range(0, len(frame), 2**16):
        await red.write(frame[start : start + 2**16])
    await red.expect(m.Accepted)
    assert relay.relay.transports.buffered_bytes == 0


async def test_incomplete_frames_of_all_clients_together_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BUFFERED_BYTES", 2**20)
    async with running_relay(tmp_path) as relay:
        red, blue, green = await relay.room_of("red", "blue", "green")
        frames = {client: pack(client.entry(bytes(700_000))) for client in (red, blue)}
        await red.write(frames[red][:600_000])
        await blue.write(frames[blue][:600_000])
        codes = {await first_close_code(red, blue)}
        assert codes == {m.Code.FULL}
        survivor = red if blue.connection.state.name == "CLOSED" else blue
        await survivor.write(frames[survivor][600_000:])
        await survivor.expect(m.Accepted)
        await green.expect(m.Entry)
        await green.say(b"small frames pass")
        await relay.stop()
        assert relay.relay.transports.buffered_bytes == 0
        await relay.start()


async def first_close_code(*clients: RawClient) -> m.Code | None:
    endings = [asyncio.create_task(client.closed()) for client in clients]
    done, running = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return done.pop().result()


async def test_unsent_bytes_of_all_clients_together_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_queue, "MAX_UNSENT_BYTES", 2**20)
    async with running_relay(tmp_path) as relay:
        red, blue, green = await relay.room_of("red", "blue", "green")
        for _ in range(40):  # blue and green read nothing
            await red.send(red.entry(bytes(2**19)))
            await red.expect(m.Accepted)
        assert await blue.closed() is m.Code.SLOW
        assert await green.closed() is m.Code.SLOW
        assert relay.relay.context.counters.slow_drops == 2


async def test_a_client_above_its_rate_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    async with running_relay(tmp_path, account_rate=200) as relay:  # 2000 at once
        red, blue = await relay.room_of("red", "blue")
        count = 2100
        submits = [red.entry(b"%d" % number) for number in range(count)]
        writing = asyncio.create_task(red.write(b"".join(map(pack, submits))))
        heard = [(await blue.expect(m.Entry)).payload for _ in range(count)]
        assert heard == [submit.payload for submit in submits]
        await writing
        assert relay.relay.context.counters.rate_refusals > 0


async def test_clients_get_staggered_reconnect_times_when_the_relay_stops(relay: RelayUnderTest) -> None:
    clients = [await relay.join(f"n{number}") for number in range(10)]
    assert [client.logged_in.spread for client in clients] == [4 * number for number in range(1, 11)]
    endings = [asyncio.create_task(closing_of(client)) for client in clients]
    await relay.relay.stop()
    closings = [ending for ending in await asyncio.gather(*endings) if ending is not None]
    assert {closing.code for closing in closings} == {m.Code.SHUTDOWN}
    times = sorted(closing.retry_after for closing in closings)
    assert times == [500 + 4 * number for number in range(10)]


async def test_delayed_messages_are_dropped_with_their_connection(tmp_path: Path) -> None:
    async with running_relay(tmp_path, account_rate=1) as relay:  # ten at once
        (red,) = await relay.room_of("red")
        large = b"".join(pack(red.entry(bytes(100_000))) for _ in range(3))
        await red.write(large)
        await red.write(large)
        while not relay.relay.transports.buffered_bytes:  # noqa: ASYNC110  (nobody tells that it waits for its time)
            await asyncio.sleep(0)
        await relay.join(red.participant)  # the connection before gives way
        assert relay.relay.transports.buffered_bytes == 0


async def test_a_failing_step_fails_no_other_request(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def wrong(_connection: object) -> None:
        raise KeyError("a defect")

    await red.send(red.entry(b"meanwhile"))
    relay.sequencer.submit(wrong, outcome.set_result)
    assert isinstance(await outcome, StorageError)
    await red.expect(m.Accepted)
    assert (await blue.expect(m.Entry)).payload == b"meanwhile"
    assert [type(failure) for failure in failures] == [KeyError]
