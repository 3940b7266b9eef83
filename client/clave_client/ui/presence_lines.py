"""Decides which comings and goings are worth a line: those that last, and none of the beginning.

Whoever sends one message, loses a connection for a moment, or is there when a window opens, is not announced.
Knows no screen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from clave_client.events import PresenceChanged

__all__ = ["LAST_SECONDS", "PresenceLines"]

LAST_SECONDS = 10.0
"""How long somebody has to be there, or away, to be announced; and how long the beginning is."""


@dataclass
class _Known:
    announced: bool
    latest: PresenceChanged
    timer: asyncio.TimerHandle | None = None


class PresenceLines:
    """The presence of people, by device; calls `show` with what is to be announced."""

    def __init__(self, show: Callable[[PresenceChanged], None]) -> None:
        self._show = show
        self._people: dict[str | bytes, _Known] = {}
        self._quiet_until = 0.0

    def begin(self) -> None:
        """Take what comes in the next seconds for what was so before: the connection is new."""
        self._quiet_until = asyncio.get_running_loop().time() + LAST_SECONDS

    def changed(self, event: PresenceChanged) -> None:
        """Note that somebody came or went."""
        loop = asyncio.get_running_loop()
        who = event.name if event.person is None else event.person.device
        known = self._people.setdefault(who, _Known(False, event))
        known.latest = event
        if loop.time() < self._quiet_until:
            known.announced = event.online
        elif known.timer is None and known.announced != event.online:
            known.timer = loop.call_later(LAST_SECONDS, self._settle, who)

    def stop(self) -> None:
        """Announce nothing more."""
        for known in self._people.values():
            if known.timer is not None:
                known.timer.cancel()
        self._people.clear()

    def _settle(self, who: str | bytes) -> None:
        known = self._people[who]
        known.timer = None
        if known.latest.online != known.announced:
            known.announced = known.latest.online
            self._show(known.latest)
