"""Changes of a room carried through, whoever else commits meanwhile. Knows no network but its session's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from clave_client import events
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.net.backoff import jitter
from clave_client.rooms.batch_report import CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.rekeys import Rekey
from clave_crypto.mls import Add, MLSError, Proposal

if TYPE_CHECKING:
    from clave_client.sync.room_sync import RoomSync

__all__ = ["RELAY_PAUSE_SECONDS", "Committer"]

COMMIT_TRIES = 32
RELAY_PAUSE_SECONDS = 2.0
"""Seconds to wait for a relay whose disk failed, or that wants fewer changes."""

TURN_SECONDS = 0.5
"""How long each further member waits before it does what another could have done."""

CONFIRM_SECONDS = 3.0
"""How long a rekey is waited for; then whoever asked for it is told that it waits for another member."""

_Settlement = asyncio.Queue[tuple[CommitResult, str] | ClientError]


class Committer:
    """The commits of one session, at most one at a time in each room."""

    def __init__(self, session: RoomSync) -> None:
        self._session = session
        self._settling: dict[bytes, _Settlement] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._stepping_up: set[bytes] = set()

    async def commit(self, room_id: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> None:
        """Carry a change of the room through.

        `propose` is asked anew in each epoch tried. Returns when the change counts, or when it is in the log
        and only another member's confirmation is missing; a `Notice` says so then. Raises what `propose`
        raises, `MLSError` when the rules do not allow the change, or `ClientError` when the relay refuses it
        or is gone.
        """
        async with self._locks.setdefault(room_id, asyncio.Lock()):
            for _ in range(COMMIT_TRIES):
                if await self._try(room_id, propose):
                    return
        raise ClientError("others keep changing the room at the same time; try again")

    async def _try(self, room_id: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> bool:
        session = self._session
        await session.wait_for(lambda: not session.is_online or self._may_commit(room_id))
        room = session.rooms.get(room_id)
        if room is not None and any(isinstance(proposal, Add) for proposal in propose(room)):
            # Nobody is added while somebody's going is not settled.
            await self._wait(CONFIRM_SECONDS, lambda: not self._is_busy(room_id))
        session.link  # noqa: B018 (raises when there is none)
        room = session.rooms.get(room_id)
        if room is None:
            raise ClientError("this device is no longer a member of the room")
        room.check_age()
        return room.may_commit and await self._attempt(room, propose, CONFIRM_SECONDS)

    async def _attempt(
        self, room: LocalRoom, propose: Callable[[LocalRoom], Sequence[Proposal]], patience: float
    ) -> bool:
        """Make a commit; return whether it is to be, after `patience` seconds also if it waits in the log."""
        session = self._session
        submit = room.prepare_commit(propose(room))
        settlement = self._settling[room.id] = asyncio.Queue()
        try:
            try:
                session.submit(room, submit)
            except ClientError as error:
                room.take_back_commit()
                raise ClientError(f"the relay would not take this change: {error}") from None
            return await self._settle(room, settlement, patience)
        finally:
            if self._settling.get(room.id) is settlement:
                del self._settling[room.id]
            session.go_on(room)

    async def _settle(self, room: LocalRoom, settlement: _Settlement, patience: float) -> bool:
        placed = False
        while True:
            try:
                async with asyncio.timeout(patience if placed else None):
                    outcome = await settlement.get()
            except TimeoutError:
                if patience:
                    title = room.record.title
                    text = f"this change of {title} waits until another member is here and confirms it"
                    self._session.emit(events.Notice(room.id, text))
                return True
            if isinstance(outcome, ClientError):
                raise outcome
            settled, reason = outcome
            match settled:
                case CommitResult.APPLIED:
                    return True
                case CommitResult.SUPERSEDED:
                    return False
                case CommitResult.REFUSED:
                    raise ClientError(f"the relay refused the change: {reason}")
                case CommitResult.LOGGED:
                    placed = True

    def _may_commit(self, room_id: bytes) -> bool:
        rooms = self._session.rooms
        return room_id not in rooms or rooms[room_id].may_commit or rooms[room_id].too_old

    def _is_busy(self, room_id: bytes) -> bool:
        room = self._session.rooms.get(room_id)
        return room is not None and (
            bool(room.roster.leavers())
            or bool(room.wish)
            or room.commits.unconfirmed
            or room.confirmable is not None
        )

    def settled(self, room_id: bytes, settled: CommitResult, reason: str) -> None:
        """Tell whoever waits for this device's commit what became of it."""
        settlement = self._settling.get(room_id)
        if settlement is not None:
            settlement.put_nowait((settled, reason))

    def disappoint(self, room_id: bytes | None, error: ClientError) -> None:
        """Fail whoever waits for a commit, in one room or in all."""
        for room, settlement in self._settling.items():
            if room_id in (None, room):
                settlement.put_nowait(error)

    # --- what one of the members has to do ---

    def step_up(self, room: LocalRoom) -> None:
        """See to it that what somebody has to do is done: by this device, if none before it does it first.

        Another account's rekey is confirmed, what was proposed is committed, and a rekey of this device that
        came to nothing is made anew.
        """
        if room.id not in self._stepping_up:
            self._stepping_up.add(room.id)
            self._session.spawn(lambda: self._step_up(room))

    def _is_due(self, room: LocalRoom) -> bool:
        here = self._session.is_online and self._session.rooms.get(room.id) is room and room.is_open
        return here and (room.confirmable is not None or room.commit_due or room.wish_due)

    async def _step_up(self, room: LocalRoom) -> None:
        try:
            while self._is_due(room):
                rekey, head = room.confirmable, room.head
                if rekey is not None:
                    await self._confirm(room, rekey)
                elif (room.wish_due and not room.wish.anybodys) or await self._wait_for_others(
                    room, self._rank(room, None), head
                ):
                    await self._commit_due(room)
        except RelayUnreachable:
            return  # begun anew once the room is in step again
        finally:
            self._stepping_up.discard(room.id)

    async def _confirm(self, room: LocalRoom, rekey: Rekey) -> None:
        able = room.roster.others(rekey.account, rekey.removes)
        if await self._wait_for_others(room, self._rank(room, able), room.head) and room.confirmable is rekey:
            self._session.submit(room, room.prepare_confirm(rekey))
            await self._wait(RELAY_PAUSE_SECONDS, lambda: room.confirmable is not rekey or room.going_back)

    async def _commit_due(self, room: LocalRoom) -> None:
        """Commit what was proposed, or make a rekey anew, unless somebody here is changing the room."""
        lock = self._locks.setdefault(room.id, asyncio.Lock())
        if lock.locked():
            await self._wait(1.0, lambda: not lock.locked() or not self._is_due(room))
            return
        async with lock:
            if room.commit_due or room.wish_due:
                try:
                    await self._attempt(room, lambda _: (), 0.0)
                except MLSError:
                    if not room.wish:
                        raise  # told, and tried again after the room's next entry
                    room.give_up_wish()

    def _rank(self, room: LocalRoom, among: Collection[bytes] | None) -> int:
        return room.roster.own_rank(self._session.online.get(room.id, set()), among)

    async def _wait_for_others(self, room: LocalRoom, rank: int, head: bytes) -> bool:
        """Give those before this device the time to act; return whether none did."""
        pause = rank * TURN_SECONDS + (jitter(0.1) if rank else 0.0)
        await self._wait(pause, lambda: room.head != head or not self._is_due(room))
        return room.head == head and self._is_due(room)

    async def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._session.wait_for(condition)
