"""The places in which connections log in: so many in all, so many of one network, and who comes next.

Knows no sockets. Networks take turns, so that a crowd of one does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

__all__ = ["MAX_LOGIN_SLOTS", "MAX_QUEUED_OF_NETWORK", "MAX_SLOTS_OF_NETWORK", "LoginSlots"]

MAX_LOGIN_SLOTS: Final = 256
"""Connections that log in at a time."""

MAX_SLOTS_OF_NETWORK: Final = 16
"""Those of one network among them."""

MAX_QUEUED_OF_NETWORK: Final = 1024
"""Connections of one network that wait for a place."""


class LoginSlots:
    """Hands out places; `shortage` tells whether somebody waits because all are taken."""

    def __init__(self, places: int = MAX_LOGIN_SLOTS, of_network: int = MAX_SLOTS_OF_NETWORK) -> None:
        self._places = places
        self._of_network = of_network
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    def has_room(self, network: str) -> bool:
        """Whether one more of this network may wait."""
        return len(self._lines.get(network, ())) < MAX_QUEUED_OF_NETWORK

    def shorten(self) -> None:
        """Turn away the last of the longest line."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest:
            longest.pop().cancel()

    @property
    def shortage(self) -> bool:
        """Whether somebody waits although his network has a share left."""
        return self._taken.total() >= self._places and any(map(self._has_share, self._lines))

    def ask(self, network: str) -> asyncio.Future[None]:
        """Return a future that is done once there is a place; `leave` gives it back, also before."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(network, deque()).append(turn)
        self._call_next()
        return turn

    def leave(self, network: str, turn: asyncio.Future[None]) -> None:
        """Give back the place that `turn` stands for, or what one waits for."""
        if turn.done() and not turn.cancelled():
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]
        else:
            turn.cancel()
        self._call_next()

    def _has_share(self, network: str) -> bool:
        return self._taken[network] < self._of_network

    def _call_next(self) -> None:
        """Give free places to those that wait, one network after the other."""
        for network in tuple(self._lines):
            if self._taken.total() >= self._places:
                return
            line = self._lines.pop(network)
            while line and line[0].cancelled():
                line.popleft()
            if line and self._has_share(network):
                self._taken[network] += 1
                line.popleft().set_result(None)
            if line:
                self._lines[network] = line  # at the end: the others first
