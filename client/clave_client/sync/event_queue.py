"""The bounded queue of events that the program has not read yet. Knows no rooms."""

from __future__ import annotations

import asyncio
from collections import deque

from clave_client import events
from clave_client.errors import ClientError
from clave_client.events import Event

__all__ = ["MAX_EVENTS", "EventQueue"]

MAX_EVENTS = 10_000
"""Most events in the queue."""


class EventQueue:
    """Events in order, for one reader. When full, drop the oldest of the lowest rank and report how many."""

    def __init__(self) -> None:
        self._ranks = tuple(deque[tuple[int, Event | ClientError]]() for _ in range(3))
        self._next = 0
        self._dropped = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def put(self, event: Event | ClientError) -> None:
        """Append an event; if there are too many, drop the oldest of the lowest rank."""
        self._ranks[_rank(event)].append((self._next, event))
        self._next += 1
        if len(self) > MAX_EVENTS:
            next(filter(None, self._ranks)).popleft()
            self._dropped += 1
        self._filled.set()

    async def get(self) -> Event | ClientError:
        """Return the next event, waiting for it; if any were dropped, return a `Notice` of that first."""
        while not len(self):
            self._filled.clear()
            await self._filled.wait()
        return self._take()

    def drain(self) -> list[Event | ClientError]:
        """Return all events in the queue and empty it."""
        waiting = []
        while len(self):
            waiting.append(self._take())
        return waiting

    def _take(self) -> Event | ClientError:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            text = f"{count} events were dropped, as too many waited to be shown"
            return events.Notice(b"", text, events.Advice.READ_HISTORY)
        _, event = min(filter(None, self._ranks), key=lambda rank: rank[0][0]).popleft()
        return event


def _rank(event: Event | ClientError) -> int:
    """Return 0 for presence and notices, 1 for what history or the next event repeats, 2 for the rest."""
    match event:
        case events.PresenceChanged() | events.Notice():
            return 0
        case events.Message() | events.Sent() | events.Connected() | events.Disconnected():
            return 1
        case _:
            return 2
