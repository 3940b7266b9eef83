"""Slots for connections that log in: a number in all, a number for each network, and a queue for the rest.

Knows no sockets. Networks take turns, so that many from one do not keep the others waiting.
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
"""Connections of one network that wait for a slot."""


class LoginSlots:
    """Gives slots to connections and queues those that have to wait."""

    def __init__(self, slots: int = MAX_LOGIN_SLOTS, of_network: int = MAX_SLOTS_OF_NETWORK) -> None:
        self._slots = slots
        self._of_network = of_network
        self._taken: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    def may_queue(self, network: str) -> bool:
        """Return whether one more connection of this network may wait."""
        return len(self._queues.get(network, ())) < MAX_QUEUED_OF_NETWORK

    def drop_queued(self) -> None:
        """Cancel the last connection in the longest queue."""
        longest = max(self._queues.values(), key=len, default=None)
        if longest:
            longest.pop().cancel()

    @property
    def has_shortage(self) -> bool:
        """Whether all slots are taken and a network below its share waits."""
        return self._taken.total() >= self._slots and any(map(self._is_below_share, self._queues))

    def acquire(self, network: str) -> asyncio.Future[None]:
        """Return a future that is done once there is a slot; `release` it in any case, also before."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(network, deque()).append(turn)
        self._give_slots()
        return turn

    def release(self, network: str, turn: asyncio.Future[None]) -> None:
        """Free the slot of `turn`, or take it out of the queue."""
        if turn.done() and not turn.cancelled():
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]
        else:
            turn.cancel()
        self._give_slots()

    def _is_below_share(self, network: str) -> bool:
        return self._taken[network] < self._of_network

    def _give_slots(self) -> None:
        """Give free slots to those that wait, one network after the other."""
        for network in tuple(self._queues):
            if self._taken.total() >= self._slots:
                return
            queue = self._queues.pop(network)
            while queue and queue[0].cancelled():
                queue.popleft()
            if queue and self._is_below_share(network):
                self._taken[network] += 1
                queue.popleft().set_result(None)
            if queue:
                self._queues[network] = queue  # moved to the end: the others are next
