"""Coroutines that wait for something in the rooms: for a condition, or for a message to be logged.

Knows no rooms: whoever changes something calls `recheck`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from clave_client.errors import ClientError
from clave_client.events import SendFailed, Sent

__all__ = ["Waiters"]

_Delivery = asyncio.Future[Sent | SendFailed]


class Waiters:
    """The waiting coroutines of one profile. Its length is how many wait for a condition."""

    def __init__(self) -> None:
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._deliveries: dict[bytes, list[tuple[bytes, _Delivery]]] = {}

    def __len__(self) -> int:
        return len(self._conditions)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (condition, future)
        self._conditions.append(waiting)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):  # taken out by whoever woke it
                self._conditions.remove(waiting)

    def recheck(self) -> None:
        """Check the conditions again and wake those that hold."""
        for condition, future in self._conditions:
            if not future.done() and condition():
                future.set_result(None)
        self._conditions = [each for each in self._conditions if not each[1].done()]

    async def wait_for_delivery(self, room: bytes, message: bytes) -> Sent | SendFailed:
        """Wait until `deliver` is called with the event of a message, by its id."""
        future: _Delivery = asyncio.get_running_loop().create_future()
        waiting = self._deliveries.setdefault(message, [])
        waiting.append((room, future))
        try:
            return await future
        finally:
            waiting.remove((room, future))
            if not waiting and self._deliveries.get(message) is waiting:
                del self._deliveries[message]

    def deliver(self, event: Sent | SendFailed) -> None:
        """Wake whoever waits for the message of `event`."""
        for _, future in self._deliveries.pop(event.id, ()):
            if not future.done():
                future.set_result(event)

    def fail_room(self, room: bytes, error: ClientError) -> None:
        """Raise `error` in whoever waits for a delivery in a room."""
        _fail((future for id_, future in self._every_delivery() if id_ == room), error)

    def fail_all(self, error: ClientError) -> None:
        """Raise `error` in all."""
        _fail((future for _, future in self._conditions), error)
        _fail((future for _, future in self._every_delivery()), error)
        self._conditions.clear()

    def _every_delivery(self) -> list[tuple[bytes, _Delivery]]:
        return [each for waiting in self._deliveries.values() for each in waiting]


def _fail(futures: Iterable[asyncio.Future[Any]], error: ClientError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
