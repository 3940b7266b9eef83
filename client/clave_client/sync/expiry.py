"""Has messages deleted when their time is over. Knows the clock and the event loop, not what is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from clave_client.errors import StoreFull
from clave_client.events import Event
from clave_client.rooms.expiring import expire_messages
from clave_client.store.database import Store

__all__ = ["ExpiryTimer"]

_MOST_SECONDS: Final = 60.0
"""Longest time between two looks at the clock: a machine that slept must not be late by as much."""

_RETRY_SECONDS: Final = 5.0
"""Time until what could not be deleted now is tried again: the disk was full, or somebody read the store."""


class ExpiryTimer:
    """Deletes what is due, and sets a timer for what is due next."""

    def __init__(self, store: Store, clock: Callable[[], float], emit: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._timer: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Delete what is due now; in a coroutine, also set the timer."""
        due = self._store.next_expiry
        if due and due <= self._clock() * 1000:
            for event in expire_messages(self._store, round(self._clock() * 1000)):
                self._emit(event)
        self._store.remove_traces()
        self._schedule(_RETRY_SECONDS if self._store.erased else _MOST_SECONDS)

    def stop(self) -> None:
        """Delete nothing more by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, most: float, least: float = 0.0) -> None:
        """Look again when something is due, in `least` to `most` seconds."""
        self.stop()
        due = self._store.next_expiry
        if not due and not self._store.erased:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # opened only to read
        wait = due / 1000 - self._clock() + 0.001 if due else most
        seconds = min(most, max(least, wait))
        self._timer = loop.call_later(seconds, self._check_open)

    def _check_open(self) -> None:
        if self._store.is_closed:
            return
        try:
            self.check()
        except StoreFull:  # whoever writes next is told
            self._schedule(_MOST_SECONDS, _RETRY_SECONDS)
