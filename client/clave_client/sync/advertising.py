"""Tells the members of older rooms that this device was updated: leaves change by rekeys only.

Each such rekey costs every member one, so they are paced: one room at a time, after a random time that grows
with how many devices of the room have yet to do so, and only while somebody is there to confirm it. Any other
rekey of this device tells it too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Final

from clave_client.rooms.local_room import LocalRoom
from clave_client.sync.context import SyncContext
from clave_client.sync.timers import RoomTimers

__all__ = ["Advertiser"]

_FIRST_SECONDS: Final = 10.0
_SECONDS_PER_DEVICE: Final = 15.0
"""Of each device of a room that has to rekey; so a room of 100 is through within half an hour or so."""


class Advertiser:
    """The rekeys of one profile's rooms by which its device lists what it reads."""

    def __init__(
        self,
        sync: SyncContext,
        timers: RoomTimers,
        renew: Callable[[LocalRoom], Coroutine[None, None, None]],
    ) -> None:
        self._sync = sync
        self._timers = timers
        self._renew = renew
        self._in_turn = asyncio.Lock()

    def check(self, room: LocalRoom) -> None:
        """Have a room rekeyed some time from now, if it has to be."""
        if room.advertise_due:
            roster = room.roster
            behind = sum(not roster.is_up_to_date(device) for device in roster.devices())
            spread = random.uniform(0.0, _SECONDS_PER_DEVICE * behind)  # noqa: S311 (spreads load only)
            self._timers.once(_FIRST_SECONDS + spread, self._start, room.id)

    def _start(self, room: LocalRoom) -> None:
        if self._sync.is_online and room.advertise_due and self._is_confirmable(room):
            self._sync.spawn(lambda: self._run(room))

    def _is_confirmable(self, room: LocalRoom) -> bool:
        """Return whether another account's device is connected, or nobody else is in the room."""
        others = room.roster.others(room.account)
        return not others or not self._sync.online.get(room.id, set()).isdisjoint(others)

    async def _run(self, room: LocalRoom) -> None:
        async with self._in_turn:
            if self._sync.rooms.get(room.id) is room:
                await self._renew(room)
