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

_UNANSWERED = 5
"""Questions without an answer after which the person is told that there may be none."""

_ANSWER_INTERVAL = 2.0
"""Seconds between two answers to one device."""

_REQUEST_INTERVAL = 10.0
"""Seconds between two questions of a device that can follow, as far as it knows."""


class RejoinCoordinator:
    """The devices that cannot follow, of one session's rooms: this one, and others."""

    def __init__(self, session: RoomSync) -> None:
        self._session = session
        self._requesting: set[bytes] = set()
        self._asked_at: dict[bytes, float] = {}
        self._answered_at: dict[tuple[bytes, bytes], float] = {}
        self._requests: Counter[tuple[bytes, bytes]] = Counter()

    # --- this device ---

    def request_rejoin(self, room: LocalRoom) -> None:
        """Ask the others of a room for help until this device can follow them.

        One that can follow, and only doubts that it should, asks once in a while.
        """
        now = asyncio.get_running_loop().time()
        asked_at = self._asked_at.get(room.id, -_REQUEST_INTERVAL)
        if not room.should_rejoin and now - asked_at < _REQUEST_INTERVAL:
            return
        if room.id not in self._requesting:
            self._requesting.add(room.id)
            self._asked_at[room.id] = now
            self._session.spawn(lambda: self._request_rejoin(room))

    async def _request_rejoin(self, room: LocalRoom) -> None:
        session = self._session
        try:
            again, unanswered = True, 0
            while again and session.rooms.get(room.id) is room and session.is_online:
                if room.can_submit:  # also whoever leaves has to be able to say so
                    session.submit(room, room.prepare_rejoin_request())
                unanswered += await self._wait_for_rejoin(room)
                if unanswered == _UNANSWERED:
                    title = room.record.title
                    text = f"nobody lets this device back into {title}; if you were removed, /leave it"
                    session.emit(events.Notice(room.id, text))
                if room.commits.rejoining:
                    room.abandon_rejoin()
                    session.submit_due(room)
                again = room.should_rejoin
        except RelayUnreachable:
            return  # asked again once the room is in step
        finally:
            self._requesting.discard(room.id)

    async def _wait_for_rejoin(self, room: LocalRoom) -> bool:
        """Wait until this device follows, or it is time to ask again: True if others could have helped."""
        head, online = room.head, self._session.online
        alone = not online.get(room.id)
        try:
            async with asyncio.timeout((REQUEST_ALONE_SECONDS if alone else REQUEST_SECONDS) + jitter(1.0)):
                await self._session.wait_for(
                    lambda: room.head != head or (alone and bool(online.get(room.id)))
                )
        except TimeoutError:
            return not alone and room.should_rejoin and not room.commits.rejoining
        return False

    def handle_info(self, room: LocalRoom, rejoin_info: RejoinInfo) -> None:
        """Try to come back with what a member has sealed for this device, if it has asked for that."""
        if room.id not in self._requesting or not room.should_rejoin_with(rejoin_info):
            return
        try:
            identity = self._session.account.identity
            submit = room.prepare_rejoin(room.open_rejoin_info(rejoin_info), rejoin_info.head, identity)
        except (MLSError, PeerError):
            return  # the next one may do
        self._session.submit(room, submit)

    # --- others ---

    def answer_request(self, room: LocalRoom, device: bytes) -> None:
        """See to it that a device that cannot follow gets a group info, this one's if nobody acts before."""
        key = room.id, device
        self._requests[key] += 1
        now = asyncio.get_running_loop().time()
        if now - self._answered_at.get(key, -_ANSWER_INTERVAL) >= _ANSWER_INTERVAL:
            self._answered_at[key] = now
            self._session.spawn(lambda: self._answer_request(room, device))

    async def _answer_request(self, room: LocalRoom, device: bytes) -> None:
        session, key = self._session, (room.id, device)
        others = [each for each in room.roster.devices() if each != device]
        online = [
            each for each in others if each in session.online.get(room.id, ()) or each == session.own_device
        ]
        turn = (online.index(session.own_device) - self._requests[key] + 1) % len(online)
        seen = room.rejoin_infos[device]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(turn * ANSWER_TURN_SECONDS + jitter(0.1)):
                await session.wait_for(lambda: room.rejoin_infos[device] != seen)
        if turn and room.rejoin_infos[device] != seen:
            return
        with contextlib.suppress(RelayUnreachable, MLSError):
            if (
                session.rooms.get(room.id) is room
                and room.is_open
                and not room.cannot_follow
                and room.roster.has(device)
            ):
                session.submit(room, room.prepare_rejoin_info(device))
