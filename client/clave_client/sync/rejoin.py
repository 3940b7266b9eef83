"""How a device comes back that cannot follow the others, and how they help it. Knows no rules.

It says that it is lost; a member seals it a group info; its external commit brings it back, once confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from clave_client import events
from clave_client.errors import PeerError, RelayUnreachable
from clave_client.formats.welcome import RejoinInfo
from clave_client.net.backoff import jitter
from clave_client.rooms.local_room import LocalRoom
from clave_crypto.mls import MLSError

if TYPE_CHECKING:
    from clave_client.sync.room_sync import RoomSync

__all__ = ["RejoinCoordinator"]

REQUEST_SECONDS = 6.0
"""How long a device waits for help, and for a confirmation, before it asks again."""

REQUEST_ALONE_SECONDS = 50.0
"""The same while nobody else is online who could help: each question is an entry in the room's log."""

ANSWER_TURN_SECONDS = 0.5
"""How long each further member waits before it helps."""

_UNHEARD = 5
"""Questions without an answer after which the person is told that there may be none."""

_ANSWERS_APART = 2.0
"""Seconds between two answers to one device."""

_DOUBTS_APART = 10.0
"""Seconds between two questions of a device that can follow, as far as it knows."""


class RejoinCoordinator:
    """The devices that cannot follow, of one session's rooms: this one, and others."""

    def __init__(self, session: RoomSync) -> None:
        self._session = session
        self._crying: set[bytes] = set()
        self._doubted_at: dict[bytes, float] = {}
        self._helped_at: dict[tuple[bytes, bytes], float] = {}
        self._cries: Counter[tuple[bytes, bytes]] = Counter()

    # --- this device ---

    def cry(self, room: LocalRoom) -> None:
        """Ask the others of a room for help until this device can follow them.

        One that can follow, and only doubts that it should, asks once in a while.
        """
        now = asyncio.get_running_loop().time()
        doubted_at = self._doubted_at.get(room.id, -_DOUBTS_APART)
        if not room.is_astray and now - doubted_at < _DOUBTS_APART:
            return
        if room.id not in self._crying:
            self._crying.add(room.id)
            self._doubted_at[room.id] = now
            self._session.spawn(lambda: self._cry(room))

    async def _cry(self, room: LocalRoom) -> None:
        session = self._session
        try:
            again, unheard = True, 0
            while again and session.rooms.get(room.id) is room and session.is_online:
                if room.in_step:  # also whoever leaves has to be able to say so
                    session.submit(room, room.prepare_cry())
                unheard += await self._wait_for_help(room)
                if unheard == _UNHEARD:
                    title = room.record.title
                    text = f"nobody lets this device back into {title}; if you were removed, /leave it"
                    session.emit(events.Notice(room.id, text))
                if room.commits.returning:
                    room.stop_returning()
                    session.go_on(room)
                again = room.is_astray
        except RelayUnreachable:
            return  # asked again once the room is in step
        finally:
            self._crying.discard(room.id)

    async def _wait_for_help(self, room: LocalRoom) -> bool:
        """Wait until this device follows, or it is time to ask again: True if others could have helped."""
        head, online = room.head, self._session.online
        alone = not online.get(room.id)
        try:
            async with asyncio.timeout((REQUEST_ALONE_SECONDS if alone else REQUEST_SECONDS) + jitter(1.0)):
                await self._session.wait_for(
                    lambda: room.head != head or (alone and bool(online.get(room.id)))
                )
        except TimeoutError:
            return not alone and room.is_astray and not room.commits.returning
        return False

    def take(self, room: LocalRoom, help_: RejoinInfo) -> None:
        """Try to come back with what a member has sealed for this device, if it has asked for that."""
        if room.id not in self._crying or not room.wants(help_):
            return
        try:
            identity = self._session.account.identity
            submit = room.prepare_return(room.open_help(help_), help_.head, identity)
        except (MLSError, PeerError):
            return  # the next one may do
        self._session.submit(room, submit)

    # --- others ---

    def help(self, room: LocalRoom, device: bytes) -> None:
        """See to it that a device that cannot follow gets a group info, this one's if nobody acts before."""
        key = room.id, device
        self._cries[key] += 1
        now = asyncio.get_running_loop().time()
        if now - self._helped_at.get(key, -_ANSWERS_APART) >= _ANSWERS_APART:
            self._helped_at[key] = now
            self._session.spawn(lambda: self._help(room, device))

    async def _help(self, room: LocalRoom, device: bytes) -> None:
        session, key = self._session, (room.id, device)
        others = [each for each in room.roster.devices() if each != device]
        online = [each for each in others if each in session.online.get(room.id, ()) or each == session.own]
        turn = (online.index(session.own) - self._cries[key] + 1) % len(online)
        helped = room.helped[device]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(turn * ANSWER_TURN_SECONDS + jitter(0.1)):
                await session.wait_for(lambda: room.helped[device] != helped)
        if turn and room.helped[device] != helped:
            return
        with contextlib.suppress(RelayUnreachable, MLSError):
            if (
                session.rooms.get(room.id) is room
                and room.is_open
                and not room.lost
                and room.roster.has(device)
            ):
                session.submit(room, room.prepare_help(device))
