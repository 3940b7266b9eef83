"""What waits to be read stays bounded, and what matters most stays longest."""

from __future__ import annotations

import asyncio

import pytest

from clave_client import events
from clave_client.errors import RelayFault
from clave_client.sync.event_queue import MAX_EVENTS, EventQueue

ROOM = b"r" * 16
RED = events.Person("red", b"a" * 32, "laptop", b"d" * 32, verified=False)


async def test_events_come_in_order_and_are_waited_for() -> None:
    queue = EventQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(events.Notice(ROOM, "first"))
    queue.put(events.MemberLeft(ROOM, RED))
    queue.put(events.Sent(ROOM, 1, b"i" * 16))
    queue.put(events.Notice(ROOM, "last"))
    assert await waiting == events.Notice(ROOM, "first")
    kinds = [type(await queue.get()) for _ in range(3)]
    assert kinds == [events.MemberLeft, events.Sent, events.Notice]


async def test_low_rank_events_are_dropped_first_and_reported_once() -> None:
    queue = EventQueue()
    queue.put(events.MemberAdded(ROOM, RED, RED))
    queue.put(events.Sent(ROOM, 1, b"i" * 16))
    for number in range(3 * MAX_EVENTS):
        queue.put(events.PresenceChanged(ROOM, "red", number % 2 == 0, ""))
    assert len(queue) == MAX_EVENTS
    told = await queue.get()
    assert isinstance(told, events.Notice)
    assert told.text.startswith(f"{2 * MAX_EVENTS + 2} events")
    assert isinstance(await queue.get(), events.MemberAdded)
    assert isinstance(await queue.get(), events.Sent)
    assert isinstance(await queue.get(), events.PresenceChanged)


async def test_endless_messages_do_not_drop_room_changes() -> None:
    queue = EventQueue()
    queue.put(events.Diverged(ROOM, RED, events.Inconsistency.HISTORY))
    for number in range(MAX_EVENTS + 5):
        queue.put(events.Sent(ROOM, number, b"i" * 16))
    queue.end(RelayFault("it is over"))
    await queue.get()
    assert isinstance(await queue.get(), events.Diverged)
    following = await queue.get()
    assert isinstance(following, events.Sent)
    assert following.seq == 6, "the oldest went"
    assert len(queue.drain()) == MAX_EVENTS - 2
    assert len(queue) == 0
    with pytest.raises(RelayFault):
        queue.drain()
    with pytest.raises(RelayFault):
        await queue.get()
