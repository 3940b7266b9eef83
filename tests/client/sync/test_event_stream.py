"""Every consumer reads all events, and a session's end ends every stream."""

from __future__ import annotations

import asyncio
import gc

import pytest

from clave_client import events
from clave_client.errors import RelayFault
from clave_client.events import Event, Message, Notice, RoomClosed
from clave_client.sync.event_queue import MAX_EVENTS
from clave_client.sync.event_stream import EventSource

ROOM, OTHER = b"r" * 16, b"o" * 16
RED = events.Person("red", b"a" * 32, "laptop", b"d" * 32, verified=False)


def message(room: bytes, seq: int) -> Message:
    return Message(room, seq, RED, bytes([seq]) * 16, f"message {seq}", 0.0)


async def test_two_streams_each_get_every_event() -> None:
    source = EventSource()
    first, second = source.open(Event), source.open(Event)
    source.put(message(ROOM, 1))
    assert await anext(first) == await anext(second) == message(ROOM, 1)


async def test_streams_opened_before_the_first_read_get_the_backlog_and_later_ones_do_not() -> None:
    source = EventSource()
    source.put(message(ROOM, 1))
    first, second = source.open(Event), source.open(Event)
    source.put(message(ROOM, 2))
    assert first.pending() == [message(ROOM, 1), message(ROOM, 2)]
    late = source.open(Event)
    source.put(message(ROOM, 3))
    assert late.pending() == [message(ROOM, 3)]
    assert len(second.pending()) == 3
    assert source.waiting == 1


async def test_a_stream_of_a_room_has_only_its_events_of_the_kind_and_ends_with_it() -> None:
    source = EventSource()
    everything, messages = source.open(Event, room=ROOM), source.open(Message, room=ROOM)
    for event in (message(OTHER, 1), Notice(ROOM, "look"), message(ROOM, 2), Notice(b"", "all")):
        source.put(event)
    source.put(RoomClosed(ROOM, "friends", None))
    source.put(message(ROOM, 3))
    assert [event async for event in messages] == [message(ROOM, 2)]
    assert [type(event) for event in [e async for e in everything]] == [Notice, Message, RoomClosed]
    assert [event async for event in messages] == []


async def test_key_notices_come_before_anything_else_of_their_room() -> None:
    source = EventSource()
    waiting = {ROOM: [Notice(ROOM, "another key")]}
    stream = source.open(Event, key_notices=lambda room: waiting.pop(room, []))
    source.put(message(OTHER, 1))
    source.put(message(ROOM, 2))
    assert stream.pending() == [message(OTHER, 1), Notice(ROOM, "another key"), message(ROOM, 2)]


async def test_an_error_ends_every_stream_after_its_events_also_those_opened_later() -> None:
    source, error = EventSource(), RelayFault("it is over")
    stream = source.open(Event)
    source.put(message(ROOM, 1))
    source.end(error)
    assert await anext(stream) == message(ROOM, 1)
    for each in (stream, source.open(Event)):
        for _ in range(2):
            with pytest.raises(RelayFault, match="it is over"):
                await anext(each)
        with pytest.raises(RelayFault):
            each.pending()


async def test_a_waiting_reader_is_woken_by_the_end() -> None:
    source = EventSource()
    stream = source.open(Event)
    reading = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    source.end()
    assert await reading is None


async def test_a_closed_stream_ends_and_takes_nothing_more() -> None:
    source = EventSource()
    async with source.open(Event) as stream:
        source.put(message(ROOM, 1))
        source.put(message(ROOM, 2))
        assert await anext(stream) == message(ROOM, 1)
    source.put(message(ROOM, 3))
    assert [event async for event in stream] == []
    assert source.waiting == 0


async def test_closing_a_stream_ends_a_read_that_waits() -> None:
    source = EventSource()
    stream = source.open(Event)
    reading = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    stream.close()
    async with asyncio.timeout(5):
        assert await reading is None


async def test_what_nobody_reads_stays_bounded_and_a_forgotten_stream_keeps_nothing() -> None:
    source = EventSource()
    slow, forgotten = source.open(Event), source.open(Event)
    source.open(Event).pending()
    for number in range(MAX_EVENTS + 10):
        source.put(events.Sent(ROOM, number, b"i" * 16))
    assert source.waiting == MAX_EVENTS
    first = await anext(slow)
    assert isinstance(first, Notice)
    assert first.text.startswith("10 events were dropped")
    del slow, forgotten
    gc.collect()
    assert source.waiting == 0
