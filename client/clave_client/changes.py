"""Changes of a room carried through, whoever else commits meanwhile. Knows no network but its session's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clave_client.errors import ClientError
from clave_client.log_reader import Settled
from clave_client.patience import jitter
from clave_client.room import Room
from clave_crypto.mls import Proposal

if TYPE_CHECKING:
    from clave_client.session import Session

__all__ = ["STORAGE_PAUSE", "Changes"]

COMMIT_TRIES = 8
STORAGE_PAUSE = 2.0
"""Seconds to wait for a relay whose disk failed, or for the commit that won over this device's."""

STEP_UP_SECONDS = 0.5
"""How long each further member waits before it commits what another could have committed."""


class Changes:
    """The commits of one session, at most one at a time in each room."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settling: dict[bytes, asyncio.Future[tuple[Settled, str]]] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._stepping_up: set[bytes] = set()

    async def commit(self, room_id: bytes, propose: Callable[[Room], Sequence[Proposal]]) -> None:
        """Carry a change of the room through.

        `propose` is asked anew in each epoch tried. Raises what it raises, `MLSError` when the rules do not
        allow the change, or `ClientError` when the relay refuses it or is gone.
        """
        session = self._session
        async with self._locks.setdefault(room_id, asyncio.Lock()):
            for _ in range(COMMIT_TRIES):
                await session.wait_for(lambda: not session.is_online or self._may_commit(room_id))
                link, room = session.link, session.rooms.get(room_id)
                if room is None:
                    raise ClientError("this device is no longer a member of the room")
                epoch = room.group.epoch
                submit = room.prepare_commit(propose(room))
                try:
                    link.send(submit)
                except ClientError as error:
                    room.take_back_commit()
                    raise ClientError(f"the relay would not take this change: {error}") from None
                settled, reason = await self._settlement(room_id)
                session.go_on(room)
                if settled is Settled.WON:
                    return
                if settled is Settled.REFUSED:
                    raise ClientError(f"the relay refused the change: {reason}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STORAGE_PAUSE):
                        await session.wait_for(lambda: room.group.epoch != epoch)  # noqa: B023 (awaited at once)
        raise ClientError("others keep changing the room at the same time; try again")

    async def _settlement(self, room_id: bytes) -> tuple[Settled, str]:
        settling: asyncio.Future[tuple[Settled, str]] = asyncio.get_running_loop().create_future()
        self._settling[room_id] = settling
        try:
            return await settling
        finally:
            self._settling.pop(room_id, None)

    def _may_commit(self, room_id: bytes) -> bool:
        rooms = self._session.rooms
        return room_id not in rooms or rooms[room_id].may_commit

    def settled(self, room_id: bytes, settled: Settled, reason: str) -> None:
        """Tell whoever waits for this device's commit what became of it."""
        future = self._settling.pop(room_id, None)
        if future is not None and not future.done():
            future.set_result((settled, reason))

    def awaited(self, room_id: bytes | None = None) -> Iterator[asyncio.Future[Any]]:
        """Yield what somebody waits for, in one room or in all."""
        for room, future in self._settling.items():
            if room_id in (None, room):
                yield future

    def step_up(self, room: Room) -> None:
        """See to it that what was proposed is committed: by this device, if none before it does it first."""
        if room.id not in self._stepping_up:
            self._stepping_up.add(room.id)
            self._session.spawn(lambda: self._step_up(room))

    async def _step_up(self, room: Room) -> None:
        session = self._session
        try:
            while room.commit_due and session.rooms.get(room.id) is room:
                epoch = room.group.epoch
                rank = room.roster.own_rank(session.online.get(room.id, ()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rank * STEP_UP_SECONDS + jitter(0.1)):
                        await session.wait_for(lambda: room.group.epoch != epoch)  # noqa: B023 (awaited at once)
                if room.group.epoch == epoch and room.commit_due:
                    await self.commit(room.id, lambda _: ())
        finally:
            self._stepping_up.discard(room.id)
