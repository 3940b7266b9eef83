"""Keeps the events of a subscription that a window has not read yet, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from clave_client.errors import ClientError
from clave_client.events import Event

__all__ = ["EventBuffer", "SessionEvent"]

_MOST_UNREAD: Final = 1000
"""Most stored events kept for a window that does not read; the next ones are asked for again."""


class SessionEvent(NamedTuple):
    """An event, with its number if it is stored, else 0. `None` is in place of deleted events."""

    number: int
    event: Event | None


class EventBuffer:
    """The events that a window has not read yet. `last` is the number of the last one that is stored."""

    def __init__(self) -> None:
        self._waiting: deque[SessionEvent] = deque()
        self._stored = 0
        self._was_full = False
        self._changed = asyncio.Event()
        self._error: ClientError | None = None
        self.last = 0

    def put(self, event: SessionEvent) -> None:
        """Keep an event, unless the buffer is full: then what is stored is asked for again, the rest lost."""
        if event.number:
            if self._was_full or (event.event is not None and event.number <= self.last):
                return
            if self._stored == _MOST_UNREAD:
                self._was_full = True
                return
            self._stored += 1
            self.last = max(self.last, event.number)
        elif len(self._waiting) >= 2 * _MOST_UNREAD:
            return
        self._waiting.append(event)
        self._changed.set()

    @property
    def is_cut(self) -> bool:
        """Whether the stored events after `last` have to be asked for, as more came than were read."""
        return self._was_full and not self._stored

    def restart(self, after: int) -> None:
        """Begin with another subscription, to what happened after a number."""
        self._waiting = deque(event for event in self._waiting if not event.number)
        self._stored, self._was_full, self.last = 0, False, after

    async def get(self) -> SessionEvent:
        """Return the next event. Raises what `end` was called with."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        event = self._waiting.popleft()
        self._stored -= bool(event.number)
        return event

    def end(self, error: ClientError) -> None:
        """Have `get` raise `error` after the last event."""
        self._error = self._error or error
        self._changed.set()
