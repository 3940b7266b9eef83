"""Commits changes of rooms, again in each new epoch until one applies, and does what a member has to do.

Knows no network but that of its `SyncContext`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

from clave_client import events
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.net.backoff import jitter
from clave_client.rooms.batch_report import CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.rekeys import Rekey
from clave_client.sync.context import SyncContext
from clave_crypto.mls import Add, MLSError, Proposal
from clave_wire.text import sanitize

__all__ = ["RELAY_PAUSE_SECONDS", "Committer", "Propose"]

COMMIT_TRIES = 32
RELAY_PAUSE_SECONDS = 2.0
"""Pause before resubmitting to a relay whose disk failed, or that asked for fewer changes."""

TURN_SECONDS = 0.5
"""Each member waits its rank times this before it does what one member has to do."""

CONFIRM_SECONDS = 3.0
"""Wait this long for a rekey to be confirmed; then report that it waits for another member."""

Propose = Callable[[LocalRoom], Sequence[Proposal] | None]
"""Returns the proposals of a change in the present epoch of a room."""

_ResultQueue = asyncio.Queue[tuple[CommitResult, str] | ClientError]


class Committer:
    """The commits of one profile, at most one at a time in each room."""

    def __init__(self, sync: SyncContext) -> None:
        self._sync = sync
        self._results: dict[bytes, _ResultQueue] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._on_duty: set[bytes] = set()

    async def commit(self, room_id: bytes, propose: Propose) -> bool:
        """Commit a change of a room; return whether it applies.

        `propose` is called again in each epoch tried; it returns None if the change is made already, and no
        proposals for a mere rekey. It does not apply yet when it is in the log and only another member's
        confirmation is missing, which a `Notice` says. Raises what `propose` raises,
        `MLSError` when the rules do not allow the change, or `ClientError` when the relay refuses it or the
        connection is lost.
        """
        async with self._locks.setdefault(room_id, asyncio.Lock()):
            for _ in range(COMMIT_TRIES):
                applies = await self._try(room_id, propose)
                if applies is not None:
                    return applies
        raise ClientError("others keep changing the room at the same time; try again")

    async def _try(self, room_id: bytes, propose: Propose) -> bool | None:
        """Try once; return whether the change applies, or None if it has to be tried again."""
        sync = self._sync
        await sync.wait_for(lambda: not sync.is_online or self._may_commit(room_id))
        room = sync.rooms.get(room_id)
        if room is not None and any(isinstance(proposal, Add) for proposal in propose(room) or ()):
            # An add cannot be committed while a removal or leave is open.
            await self._wait(CONFIRM_SECONDS, lambda: not self._is_rekeying(room_id))
        sync.transport  # noqa: B018 (raises when there is none)
        room = sync.rooms.get(room_id)
        if room is None:
            raise ClientError("this device is no longer a member of the room")
        room.check_age()
        if not room.may_commit:
            return None
        proposals = propose(room)
        return proposals is None or await self._attempt(room, proposals, CONFIRM_SECONDS)

    async def _attempt(
        self, room: LocalRoom, proposals: Sequence[Proposal], wait_seconds: float
    ) -> bool | None:
        """Make and submit a commit.

        Return True once it applies, False once it has been in the log for `wait_seconds`, and None if another
        commit came first.
        """
        sync = self._sync
        submit = room.prepare_commit(proposals)
        results: _ResultQueue = asyncio.Queue()
        self._results[room.id] = results
        try:
            try:
                sync.submit(room, submit)
            except ClientError as error:
                room.cancel_commit()
                raise ClientError(f"the relay would not take this change: {error}") from None
            return await self._wait_for_result(room, results, wait_seconds)
        finally:
            if self._results.get(room.id) is results:
                del self._results[room.id]
            sync.submit_due(room)

    async def _wait_for_result(
        self, room: LocalRoom, results: _ResultQueue, wait_seconds: float
    ) -> bool | None:
        placed = False
        while True:
            try:
                async with asyncio.timeout(wait_seconds if placed else None):
                    result = await results.get()
            except TimeoutError:
                if wait_seconds:
                    title = room.record.title
                    text = f"this change of {title} waits until another member is here and confirms it"
                    self._sync.emit(events.Notice(room.id, text))
                return False
            if isinstance(result, ClientError):
                raise result
            settled, reason = result
            match settled:
                case CommitResult.APPLIED:
                    return True
                case CommitResult.SUPERSEDED:
                    return None
                case CommitResult.REFUSED:
                    raise ClientError(f"the relay refused the change: {reason}")
                case CommitResult.LOGGED:
                    placed = True

    async def renew(self, room: LocalRoom) -> None:
        """Commit a rekey that changes only this device's leaf, if that has to list more than it does."""
        async with self._locks.setdefault(room.id, asyncio.Lock()):
            if room.advertise_due:
                await self._attempt(room, (), 0.0)

    def _may_commit(self, room_id: bytes) -> bool:
        rooms = self._sync.rooms
        return room_id not in rooms or rooms[room_id].may_commit or rooms[room_id].too_old

    def _is_rekeying(self, room_id: bytes) -> bool:
        room = self._sync.rooms.get(room_id)
        return room is not None and (
            bool(room.roster.leavers())
            or bool(room.intent)
            or room.commits.awaits_confirmation
            or room.confirmable is not None
        )

    def note_result(self, room_id: bytes, settled: CommitResult, reason: str) -> None:
        """Pass the result of this device's commit to whoever waits for it."""
        results = self._results.get(room_id)
        if results is not None:
            results.put_nowait((settled, reason))

    def fail_waiters(self, room_id: bytes | None, error: ClientError) -> None:
        """Raise `error` in whoever waits for a commit in a room, or with None in any."""
        for room, results in self._results.items():
            if room_id in (None, room):
                results.put_nowait(error)

    # --- duties: what one of the members has to do ---

    def run_duties(self, room: LocalRoom) -> None:
        """Do what one member has to do, unless a member of a lower rank does it first.

        That is: confirm another account's rekey, commit what was proposed, or make a rekey of this device
        again that was superseded.
        """
        if room.id not in self._on_duty:
            self._on_duty.add(room.id)
            self._sync.spawn(lambda: self._run_duties(room))

    def _is_due(self, room: LocalRoom) -> bool:
        here = self._sync.is_online and self._sync.rooms.get(room.id) is room and room.is_open
        return here and (room.confirmable is not None or room.commit_due or room.retry_due)

    async def _run_duties(self, room: LocalRoom) -> None:
        try:
            while self._is_due(room):
                rekey, head = room.confirmable, room.head
                if rekey is not None:
                    await self._confirm(room, rekey)
                elif (room.retry_due and not room.intent.shared) or await self._wait_for_turn(
                    room, self._rank(room, None), head
                ):
                    await self._commit_due(room)
        except RelayUnreachable:
            return  # started again once the room is resumed
        finally:
            self._on_duty.discard(room.id)

    async def _confirm(self, room: LocalRoom, rekey: Rekey) -> None:
        able = room.roster.others(rekey.account, rekey.removes)
        if await self._wait_for_turn(room, self._rank(room, able), room.head) and room.confirmable is rekey:
            self._sync.submit(room, room.prepare_confirm(rekey))
            await self._wait(RELAY_PAUSE_SECONDS, lambda: room.confirmable is not rekey or room.draining)

    async def _commit_due(self, room: LocalRoom) -> None:
        """Commit what was proposed, or repeat a rekey, unless the user's own commit is under way."""
        lock = self._locks.setdefault(room.id, asyncio.Lock())
        if lock.locked():
            await self._wait(1.0, lambda: not lock.locked() or not self._is_due(room))
            return
        async with lock:
            if room.commit_due or room.retry_due:
                try:
                    await self._attempt(room, (), 0.0)
                except MLSError as error:
                    if not room.intent:
                        raise  # reported, and tried again after the room's next entry
                    room.drop_intent()
                    text = f"a change of {room.record.title} that waited is not made: {sanitize(str(error))}"
                    self._sync.emit(events.Notice(room.id, text))

    def _rank(self, room: LocalRoom, among: Collection[bytes] | None) -> int:
        return room.roster.own_rank(self._sync.online.get(room.id, set()), among)

    async def _wait_for_turn(self, room: LocalRoom, rank: int, head: bytes) -> bool:
        """Wait for members of a lower rank to act; return whether none did."""
        pause = rank * TURN_SECONDS + (jitter(0.1) if rank else 0.0)
        await self._wait(pause, lambda: room.head != head or not self._is_due(room))
        return room.head == head and self._is_due(room)

    async def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._sync.wait_for(condition)
