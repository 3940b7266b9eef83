"""Clients of version 6 are told when the relay accepted what it sends them, and older ones are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from clave_server.rooms import entry_store, sequencer
from clave_server.storage.db_thread import DbThread
from clave_wire import messages as m
from clave_wire.connection import ClientConnection
from clave_wire.framing import FrameBuffer, unpack_to_client
from clave_wire.limits import MAX_FRAME
from relaykit import PATIENCE_SECONDS, ROOM, Participant, RawClient, RelayUnderTest, entries, payloads, remove

NOON = 1_800_000_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the relay accept at the time that is in here, in ms since 1970."""
    now = [NOON]
    monkeypatch.setattr(sequencer, "now_ms", lambda: now[0])
    return now


async def join_with(relay: RelayUnderTest, participant: Participant, *versions: int) -> RawClient:
    """Log in with a client of these versions, which notes everything that comes in `times`."""
    client = await relay.connect()
    client.connection = ClientConnection(versions)
    return await client.log_in(participant)


def stored(relay: RelayUnderTest) -> list[Any]:
    """Return (first seq, last seq, at, frames) of all segments on disk."""
    connection = apsw.Connection(str(relay.database))
    try:
        rows = connection.execute("SELECT first_seq, last_seq, at, frames FROM segments ORDER BY last_seq")
        return rows.fetchall()
    finally:
        connection.close()


async def say_later(clock: list[int], client: RawClient, count: int) -> None:
    """Say something each second."""
    for number in range(count):
        clock[0] += 1000
        await client.say(b"%d" % number)


def listen(client: RawClient) -> list[m.ToClient]:
    """Return a list to which everything is added that a client receives from now on."""
    heard: list[m.ToClient] = []
    receive = client.connection.receive_data

    def listening(data: bytes | bytearray | memoryview) -> list[m.ToClient]:
        messages = receive(data)
        heard.extend(messages)
        return messages

    client.connection.receive_data = listening  # type: ignore[method-assign]  # for this connection only
    return heard


# --- live ------------------------------------------------------------------------------------------------


async def test_others_and_the_sender_are_told_when_an_entry_was_accepted(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, blue = await relay.room_of("red", "blue")
    await say_later(clock, red, 3)
    await entries(blue, 3)
    told = [(1, NOON), (2, NOON + 1000), (3, NOON + 2000), (4, NOON + 3000)]
    assert red.times[ROOM] == told
    assert blue.times[ROOM] == told[1:], "it joined after the first"
    assert [(last, at) for _, last, at, _ in stored(relay)] == told


async def test_a_batch_of_several_senders_has_one_time_for_all(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    clock[0] += 1000
    sent = [client.connection.send(client.entry(b"%d" % n)) for n in range(5) for client in (red, blue)]
    for client in (red, blue):
        await client.write(b"".join(sent[client is blue :: 2]))
    for client in (red, blue):
        for _ in range(10):
            await client.receive()
    await entries(green, 10)
    for client in (red, blue, green):
        assert client.times[ROOM][-10:] == [(seq, NOON + 1000) for seq in range(2, 12)]


async def test_a_time_comes_once_for_a_batch(relay: RelayUnderTest, clock: list[int]) -> None:
    red, blue = await relay.room_of("red", "blue")
    heard = listen(blue)
    clock[0] += 1000
    await red.write(b"".join(red.connection.send(red.entry(b"%d" % number)) for number in range(50)))
    await entries(blue, 50)
    times = [message for message in heard if isinstance(message, m.AcceptedAt)]
    batches = sum(last > 1 for _, last, _, _ in stored(relay))
    assert times == [m.AcceptedAt(ROOM, NOON + 1000)] * batches
    assert isinstance(heard[0], m.AcceptedAt)


async def test_who_has_not_resumed_the_room_is_told_with_its_acknowledgement(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, _ = await relay.room_of("red", "blue")
    await red.close()
    back = await relay.join(red.participant)
    clock[0] += 1000
    accepted = await back.say(b"without resuming")
    assert back.times[ROOM] == [(accepted.seq, NOON + 1000)]


async def test_the_time_of_a_repeated_acknowledgement_is_not_known(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, blue = await relay.room_of("red", "blue")
    submit = red.entry(b"once")
    await red.submit(submit)
    await blue.expect(m.Entry)
    clock[0] += 1000
    await blue.say(b"between")
    await red.expect(m.Entry)
    await red.submit(submit)
    await blue.say(b"after")
    await red.expect(m.Entry)
    assert red.times[ROOM][1:] == [(2, NOON), (3, NOON + 1000), (2, 0), (4, NOON + 1000)]


# --- catching up -----------------------------------------------------------------------------------------


async def test_catch_up_over_several_segments_has_the_time_of_each(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, blue = await relay.room_of("red", "blue")
    await say_later(clock, red, 5)
    await entries(blue, 5)
    expected = [(seq, NOON + 1000 * (seq - 1)) for seq in range(2, 7)]
    for _ in range(2):
        for after in range(1, 6):
            client = await relay.join(blue.participant)
            await client.resume(after)
            await entries(client, 6 - after)
            assert client.times[ROOM] == expected[after - 1 :]
        await relay.restart()


async def test_catch_up_in_several_reads_has_the_time_of_each(
    relay: RelayUnderTest, clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_store, "CHUNK_BYTES", 400)
    red, blue = await relay.room_of("red", "blue")
    await say_later(clock, red, 20)
    await entries(blue, 20)
    reads = relay.relay.context.counters.catch_up_reads
    await blue.resume(1)
    await entries(blue, 20)
    assert blue.times[ROOM][-20:] == [(seq, NOON + 1000 * (seq - 1)) for seq in range(2, 22)]
    assert relay.relay.context.counters.catch_up_reads - reads > 1


async def test_segments_of_one_time_are_sent_with_one(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    for number in range(5):
        await red.say(b"%d" % number)
    await entries(blue, 5)
    heard = listen(blue)
    await blue.resume(1)
    await entries(blue, 5)
    kinds = [type(message) for message in heard if not isinstance(message, m.Presence)]
    assert kinds == [m.Resumed, m.AcceptedAt, *[m.Entry] * 5]


async def test_a_stream_that_goes_from_catch_up_to_live_says_nothing_false(
    relay: RelayUnderTest, clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries that come while it catches up are of other batches than those that it catches up with."""
    monkeypatch.setattr(entry_store, "CHUNK_BYTES", 400)
    red, blue = await relay.room_of("red", "blue")
    await say_later(clock, red, 20)
    await entries(blue, 20)
    read, held = DbThread.submit, asyncio.Queue[tuple[DbThread, Any, Callable[[Any], None]]]()

    def holding(thread: DbThread, work: Any, done: Callable[[Any], None]) -> None:
        if thread is relay.relay.reader:
            held.put_nowait((thread, work, done))
        else:
            read(thread, work, done)

    monkeypatch.setattr(DbThread, "submit", holding)
    await blue.resume(1)
    for number in range(5):
        clock[0] += 1000
        await red.say(b"live %d" % number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            read(*await held.get())  # one read of the log between every two batches
    monkeypatch.setattr(DbThread, "submit", read)
    while not held.empty():
        read(*held.get_nowait())
    while blue.times[ROOM][-1][0] < 26:
        await blue.receive()
    clock[0] += 1000
    await red.say(b"live")
    await blue.expect(m.Entry)
    expected = [(seq, NOON + 1000 * (seq - 1)) for seq in range(2, 28)]
    assert blue.times[ROOM][-26:] == expected


async def test_own_messages_that_are_accepted_during_catch_up_have_their_time(
    relay: RelayUnderTest, clock: list[int]
) -> None:
    red, blue = await relay.room_of("red", "blue")
    await say_later(clock, red, 3)
    await blue.close()
    back = await relay.join(blue.participant)
    back.participant.seen[ROOM] = 4
    clock[0] += 1000
    await back.write(back.connection.send(m.Resume(1, ROOM, 1)) + back.connection.send(back.entry(b"mine")))
    await back.expect(m.Resumed)
    while len(back.times[ROOM]) < 4:
        await back.receive()
    assert back.times[ROOM] == [(seq, NOON + 1000 * (seq - 1)) for seq in range(2, 6)]


async def test_who_is_removed_is_told_up_to_its_removal(relay: RelayUnderTest, clock: list[int]) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    clock[0] += 1000
    seq = await remove(red, blue, green.participant.device)
    await entries(green, 2)
    assert green.times[ROOM][-1] == (seq, NOON + 1000)
    await red.expect(m.Entry)
    clock[0] += 1000
    await red.say(b"green does not get this")
    answer = await green.ask(m.Lookup(green.next_id(), "red"))
    assert isinstance(answer, m.Account)
    assert green.accepted_at[ROOM] == NOON + 1000


# --- other versions, and what is on disk -----------------------------------------------------------------


@pytest.mark.parametrize("versions", [(5, 4), (4,)])
async def test_clients_of_a_version_before_6_are_sent_no_times(
    relay: RelayUnderTest, clock: list[int], versions: tuple[int, ...]
) -> None:
    red, blue = await relay.room_of("red", "blue")
    green = Participant("green")
    old = await join_with(relay, green, *versions)
    await red.submit(red.entry(b"add", kind=m.Kind.COMMIT, add=(green.device,), welcome=b"welcome"))
    await blue.expect(m.Entry)
    heard = listen(old)
    await old.expect(m.Invitation)
    await old.resume(1)
    assert payloads(await entries(old, 1)) == [b"add"]
    clock[0] += 1000
    await red.say(b"live")
    assert payloads(await entries(old, 1)) == [b"live"]
    submits = [old.entry(b"own"), old.entry(b"own too")]
    await old.write(b"".join(map(old.connection.send, submits)))
    assert [(await old.expect(m.Accepted)).seq for _ in submits] == [4, 5]
    await old.submit(submits[1])
    assert payloads(await entries(blue, 3)) == [b"live", b"own", b"own too"]
    assert not any(isinstance(message, m.AcceptedAt) for message in heard)
    assert blue.times[ROOM][-3:] == [(3, NOON + 1000), (4, NOON + 1000), (5, NOON + 1000)]
    back = await join_with(relay, green, *versions)
    await back.expect(m.Invitation)
    heard = listen(back)
    await back.resume(1)
    await entries(back, 4)
    assert {type(message) for message in heard} <= {m.Resumed, m.Entry, m.Presence}


async def test_stored_frames_are_entries_and_nothing_else(relay: RelayUnderTest, clock: list[int]) -> None:
    red, blue = await relay.room_of("red", "blue")
    heard = listen(blue)
    await say_later(clock, red, 3)
    sent = await entries(blue, 3)
    frames = b"".join(frames for *_, frames in stored(relay)[1:])
    assert [unpack_to_client(body) for body in FrameBuffer(MAX_FRAME).cut(frames)] == sent
    assert [each for each in heard if isinstance(each, m.Entry)] == sent


@pytest.mark.parametrize("at", [-5, 2**53, 2**63 - 1])
async def test_a_time_that_was_damaged_on_disk_is_not_known(relay: RelayUnderTest, at: int) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.say(b"hello")
    await blue.expect(m.Entry)
    connection = apsw.Connection(str(relay.database))
    connection.execute("UPDATE segments SET at = ? WHERE last_seq = 2", (at,))
    connection.close()
    await blue.resume(1)
    await blue.expect(m.Entry)
    assert blue.times[ROOM][-1] == (2, 0)
