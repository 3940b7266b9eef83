"""Rejoins rooms that this device cannot follow, and answers rejoin requests of others. Knows no group rules.

The device submits a rejoin request, a member seals it a GroupInfo, and it rejoins by an external commit,
which another account confirms.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from clave_client import events
from clave_client.errors import PeerError, RelayUnreachable
from clave_client.formats.welcome import RejoinInfo
from clave_client.net.backoff import jitter
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.account import Account
from clave_client.sync.context import SyncContext
from clave_crypto.mls import MLSError
from clave_wire.messages import Submit

__all__ = ["RejoinCoordinator"]

REQUEST_SECONDS = 6.0
"""Wait this long for an answer, and for a confirmation, before the next request."""

REQUEST_ALONE_SECONDS = 50.0
"""The same while no other member is online: each request is an entry in the room's log."""

ANSWER_TURN_SECONDS = 0.5
"""The member whose turn it is answers at once, each next one this much later; a request moves the turn on."""

_REPORT_AFTER = 5
"""Requests without an answer after which the user is told."""

_ANSWER_INTERVAL = 2.0
"""Least seconds between two answers to one device."""

_REQUEST_INTERVAL = 10.0
"""Least seconds between two requests while this device can follow the group."""


class RejoinCoordinator:
    """Rejoin requests and answers in the rooms of one profile."""

    def __init__(self, sync: SyncContext, account: Account) -> None:
        self._sync = sync
        self._account = account
        self._requesting: set[bytes] = set()
        self._asked_at: dict[bytes, float] = {}
        self._answered_at: dict[tuple[bytes, bytes], float] = {}
        self.requests: Counter[tuple[bytes, bytes]] = Counter()

    # --- this device ---

    def request_rejoin(self, room: LocalRoom) -> None:
        """Submit rejoin requests in a room until this device follows the group again.

        While it can follow, and only has signs that others are in another epoch, submit at most one in 10 s.
        """
        now = asyncio.get_running_loop().time()
        asked_at = self._asked_at.get(room.id, -_REQUEST_INTERVAL)
        if not room.should_rejoin and now - asked_at < _REQUEST_INTERVAL:
            return
        if room.id not in self._requesting:
            self._requesting.add(room.id)
            self._asked_at[room.id] = now
            self._sync.spawn(lambda: self.repeat_requests(room))

    async def repeat_requests(self, room: LocalRoom) -> None:
        """Submit rejoin requests until this device can follow the group again or its connection ends."""
        sync = self._sync
        try:
            again, unanswered = True, 0
            while again and sync.rooms.get(room.id) is room and sync.is_online:
                if room.can_submit:  # also while leaving, which takes following the group
                    sync.submit(room, *self._prepare(room))
                unanswered += await self._wait_for_rejoin(room)
                if unanswered == _REPORT_AFTER:
                    title = room.record.title
                    text = f"nobody lets this device back into {title}"
                    if room.epochs.restored:
                        text += "; ask an admin to remove you there and to invite you again"
                    sync.emit(events.Notice(room.id, text, events.Advice.LEAVE_ROOM))
                if room.commits.rejoining:
                    room.abandon_rejoin()
                    sync.submit_due(room)
                again = room.should_rejoin
        except RelayUnreachable:
            return  # started again once the room is resumed
        finally:
            self._requesting.discard(room.id)

    def _prepare(self, room: LocalRoom) -> list[Submit]:
        """Return a rejoin request; a restored device that can follow rejoins by what it knows itself.

        So nobody can lead it elsewhere; its request tells the others that it was restored.
        """
        request = room.prepare_rejoin_request()
        if not room.epochs.restored or room.cannot_follow or room.commits.rejoining:
            return [request]
        info = room.group.group_info()
        return [request, room.prepare_rejoin(info, room.head, self._account.identity)]

    async def _wait_for_rejoin(self, room: LocalRoom) -> bool:
        """Wait for a new epoch or the next request; return True if members were online, none answered."""
        head, online = room.head, self._sync.online
        alone = not online.get(room.id)
        try:
            async with asyncio.timeout((REQUEST_ALONE_SECONDS if alone else REQUEST_SECONDS) + jitter(1.0)):
                await self._sync.wait_for(lambda: room.head != head or (alone and bool(online.get(room.id))))
        except TimeoutError:
            return not alone and room.should_rejoin and not room.commits.rejoining
        return False

    def handle_info(self, room: LocalRoom, rejoin_info: RejoinInfo) -> None:
        """Submit an external commit with the GroupInfo a member sealed, if this device asked for one."""
        if room.id not in self._requesting:
            return
        try:
            if _is_in_epoch_of(room, rejoin_info):
                info = room.group.group_info()
            elif room.should_rejoin_with(rejoin_info):
                info = room.open_rejoin_info(rejoin_info)
            else:
                return
            submit = room.prepare_rejoin(info, rejoin_info.head, self._account.identity)
        except (MLSError, PeerError):
            return  # the next answer may work
        self._sync.submit(room, submit)

    # --- others ---

    def answer_request(self, room: LocalRoom, device: bytes) -> None:
        """Answer a device's rejoin request, unless a member whose turn is earlier does so first."""
        key = room.id, device
        self.requests[key] += 1
        now = asyncio.get_running_loop().time()
        if now - self._answered_at.get(key, -_ANSWER_INTERVAL) >= _ANSWER_INTERVAL:
            self._answered_at[key] = now
            self._sync.spawn(lambda: self.send_rejoin_info(room, device))

    async def send_rejoin_info(self, room: LocalRoom, device: bytes) -> None:
        """Wait for this device's turn, then send a device what lets it rejoin, unless another has."""
        sync, key = self._sync, (room.id, device)
        others = [each for each in room.roster.devices() if each != device]
        online = [each for each in others if each in sync.online.get(room.id, ()) or each == sync.own_device]
        turn = (online.index(sync.own_device) - self.requests[key] + 1) % len(online)
        seen = room.rejoin_infos[device]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(turn * ANSWER_TURN_SECONDS + jitter(0.1)):
                await sync.wait_for(lambda: room.rejoin_infos[device] != seen)
        if turn and room.rejoin_infos[device] != seen:
            return
        with contextlib.suppress(RelayUnreachable, MLSError):
            if (
                sync.rooms.get(room.id) is room
                and room.is_open
                and not room.cannot_follow
                and room.roster.has(device)
            ):
                sync.submit(room, room.prepare_rejoin_info(device))


def _is_in_epoch_of(room: LocalRoom, rejoin_info: RejoinInfo) -> bool:
    """Return whether a restored device that took itself for lost is told that it knows the epoch.

    What it took for a commit of its own may have been made up by the relay.
    """
    known = rejoin_info.head == room.head and room.epochs.restored and room.cannot_follow
    return known and room.can_submit and not room.commits.rejoining
