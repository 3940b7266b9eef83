"""A bounded queue of events that one reader has not read yet. Knows no rooms."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from clave_client import events
from clave_client.errors import ClientError
from clave_client.events import Event

__all__ = ["MAX_EVENTS", "EventQueue"]

MAX_EVENTS = 10_000
"""Most events in the queue."""


class EventQueue:
    """Events in order, for one reader. When full, drop the oldest of the lowest rank and report how many."""

    def __init__(self) -> None:
        self._ranks = tuple(deque[tuple[int, Event]]() for _ in range(3))
        self._next = 0
        self._dropped = 0
        self._filled = asyncio.Event()
        self._ended = False
        self._error: ClientError | None = None

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def copy(self, wanted: Callable[[Event], bool]) -> EventQueue:
        """Return a queue of its own with those events that are `wanted`, and the count of dropped ones."""
        copied = EventQueue()
        for own, rank in zip(copied._ranks, self._ranks, strict=True):
            own.extend(each for each in rank if wanted(each[1]))
        copied._next, copied._dropped = self._next, self._dropped
        return copied

    def put(self, event: Event) -> None:
        """Append an event; if there are too many, drop the oldest of the lowest rank."""
        self._ranks[_rank(event)].append((self._next, event))
        self._next += 1
        if len(self) > MAX_EVENTS:
            next(filter(None, self._ranks)).popleft()
            self._dropped += 1
        self._filled.set()

    def end(self, error: ClientError | None = None) -> None:
        """Let the queue end after the events it holds: with `error`, if given."""
        if not self._ended:
            self._ended, self._error = True, error
            self._filled.set()

    def close(self) -> None:
        """Drop all events and end the queue without an error."""
        for rank in self._ranks:
            rank.clear()
        self._dropped, self._ended, self._error = 0, True, None
        self._filled.set()

    async def get(self) -> Event | None:
        """Return the next event, waiting for it; if any were dropped, return a `Notice` of that first.

        After the last event return None, or raise the error that the queue ended with.
        """
        while not len(self) and not self._ended:
            self._filled.clear()
            await self._filled.wait()
        if len(self):
            return self._take()
        if self._error is not None:
            raise self._error
        return None

    def drain(self) -> list[Event]:
        """Return all events and empty the queue; if it has none, raise the error that ended it, if any."""
        if self._error is not None and not len(self):
            raise self._error
        waiting = []
        while len(self):
            waiting.append(self._take())
        return waiting

    def _take(self) -> Event:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            text = f"{count} events were dropped, as too many waited to be shown"
            return events.Notice(b"", text, events.Advice.READ_HISTORY)
        _, event = min(filter(None, self._ranks), key=lambda rank: rank[0][0]).popleft()
        return event


def _rank(event: Event) -> int:
    """Return 0 for presence and notices, 1 for what history or the next event repeats, 2 for the rest."""
    match event:
        case events.PresenceChanged() | events.Notice():
            return 0
        case events.Message() | events.Sent() | events.Connected() | events.Disconnected():
            return 1
        case _:
            return 2
