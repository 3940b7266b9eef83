"""Orders room messages, checks them, and makes them durable before anyone is told. Knows no network, no SQL.

Requests queue up while a write batch is being flushed to disk. When the writing thread is free, those queued
are staged against the rooms' state and written as one transaction. Once it is on disk, entries are
acknowledged and fanned out; if it failed, they are rolled back and refused. At most one batch is being
written, and while none is, rooms in memory equal those on disk: only then are streams started and rooms
without streams unloaded.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import apsw
import structlog

from clave_host.clock import now_ms
from clave_server.accounts import directory
from clave_server.errors import Refusal, ServerError, StorageError
from clave_server.limits.quotas import QuotaTracker, Usage
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import TAIL_BYTES, Mirror
from clave_server.rooms.catchup import CatchUp
from clave_server.rooms.channel import Channel
from clave_server.rooms.header_checks import check_names, read_header
from clave_server.rooms.links import is_join
from clave_server.rooms.offer_staging import OfferStaging
from clave_server.rooms.pending_lookups import PendingLookups, known_names, wanted_names
from clave_server.rooms.publish import NOT_WRITTEN, Publisher, refusal
from clave_server.rooms.recent import AlreadyAccepted
from clave_server.rooms.room_state import RoomState
from clave_server.rooms.session import Session, Stream
from clave_server.rooms.write_batch import (
    MAX_BATCH_BYTES,
    MAX_STEPS,
    RequestBatch,
    RoomMessage,
    Step,
    WriteBatch,
)
from clave_server.storage.db_thread import DbThread, call_async
from clave_wire.header import Header
from clave_wire.messages import (
    Code,
    CreateRoom,
    Kind,
    Mend,
    Offer,
    Resume,
    Submit,
)

__all__ = ["Sequencer"]

_MAX_QUEUED_BYTES: Final = 2 * MAX_BATCH_BYTES
"""Bytes of queued messages at which reading from their senders is paused."""

_FAILED: Final = "storage failed: nothing is accepted until it works again; free space or repair the disk"

_T = TypeVar("_T")

_log = structlog.get_logger()


class Sequencer:
    """The interface to all rooms: `post` messages, `run` a step in a write batch, `end` a session.

    `change_rates` limits the changes (handshakes and `Mend`s) of one account in one room, by (room, account);
    `clock` returns its seconds.
    """

    def __init__(
        self,
        *,
        writer: DbThread,
        reader: DbThread,
        mirror: Mirror,
        sessions: Mapping[bytes, Session],
        highest_ids: tuple[int, int],
        quotas: QuotaTracker,
        change_rates: TokenBuckets[tuple[bytes, bytes]],
        counters: Counters,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = self._loop.time
        self._writer = writer
        self._mirror = mirror
        self._channels: dict[bytes, Channel] = {}
        self._lookups = PendingLookups(reader, self._channels, self._resume_requests, self._refuse_request)
        self._queue: deque[RequestBatch] = deque()
        self._queued = 0
        self._held: list[Session] = []
        self._unloaded: list[RoomState] = []
        self._due: set[bytes] = set()
        self._steps: list[tuple[Step, Callable[[Any], None]]] = []
        self._writing: WriteBatch | None = None
        self._began = 0.0
        self._scheduled = False
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_invitation, self._last_welcome = highest_ids
        self._quotas = quotas
        self._offers = OfferStaging(quotas)
        self._change_rates = change_rates
        self._counters = counters
        self.catch_up = CatchUp(reader, self._channels, self._release, counters)
        self._publisher = Publisher(
            sessions, self._channels, self.catch_up, mirror, counters, self._save_usage
        )

    def loaded_room(self, key: bytes) -> RoomState | None:
        """Return the state of a room that is in memory, None if it is not."""
        channel = self._channels.get(key)
        return None if channel is None else channel.room

    @property
    def rooms_open(self) -> int:
        """How many rooms are in memory."""
        return len(self._channels)

    @property
    def waiting(self) -> int:
        """Requests and steps that no write batch has taken yet."""
        queued = itertools.chain(self._queue, self._lookups)
        return sum(len(each.messages) for each in queued) + len(self._steps)

    @property
    def failing(self) -> bool:
        """Whether the last flush failed."""
        return self._failing

    # --- requests ------------------------------------------------------------------------------------------

    def post(self, session: Session, messages: Sequence[RoomMessage], weight: int) -> None:
        """Queue room messages of `weight` bytes together; answers go to `session`."""
        session.begin(len(messages), weight)
        self._queue.append(RequestBatch(session, messages, weight))
        self._queued += weight
        if self._queued > _MAX_QUEUED_BYTES:
            self._held.append(session)
            session.hold_reading(True)
        self._schedule_batch()

    def resume(self, session: Session, message: Resume, weight: int) -> None:
        """Open a room for `session`, or reopen it."""
        self._close(session, message.room, "")
        session.streams[message.room] = Stream(message.room, session, message.id)
        self.post(session, (message,), weight)

    def save(self, key: bytes) -> bool:
        """Have the next batch write a room's own rows; return False if they are up to date."""
        channel = self._channels.get(key)
        if channel is None or not channel.room.unsaved:
            return False
        self._due.add(key)
        self._schedule_batch()
        return True

    async def run(self, step: Callable[[apsw.Connection], _T | Exception]) -> _T:
        """Run a step in the next write batch; return its result once on disk.

        Raises the error that the step raises or returns, or `Refusal` if the batch was not written.
        """
        return await call_async(lambda done: self.submit(step, done))

    def submit(self, step: Step, done: Callable[[Any], None]) -> None:
        """Run a step in the next write batch; call `done` with its result, once on disk, or its error."""
        self._steps.append((step, done))
        self._schedule_batch()

    def end(self, session: Session, text: str) -> None:
        """Close all streams of a session; `text` tells other members why it ended."""
        for room in tuple(session.streams):
            self._close(session, room, text)
        self._offers.drop(session)
        self._save_usage(session.usage)

    def note_pruned(self, kept_from: Mapping[bytes, int]) -> None:
        """Note the first entry kept of each of these rooms."""
        for key, seq in kept_from.items():
            self._lookups.note_pruned(key, seq)
            if channel := self._channels.get(key):
                channel.room.kept_from = max(channel.room.kept_from, seq)

    def _save_usage(self, usage: Usage) -> None:
        if unsaved := usage.take_unsaved():
            self.submit(partial(directory.add_stored, account=usage.account, size=unsaved), lambda _: None)

    async def drain(self) -> None:
        """Wait until everything queued is on disk and answered."""
        await self._idle.wait()

    def _close(self, session: Session, room: bytes, text: str) -> None:
        stream = session.streams.pop(room, None)
        channel = self._channels.get(room)
        if stream is not None and channel is not None:
            channel.close(stream, text)
            self._release(channel)

    def _release(self, channel: Channel) -> None:
        if self._writing is None or channel.room.id not in self._writing.channels:
            self._unload((channel,))

    def _unload(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            room = channel.room
            if not channel.streams and self._channels.get(room.id) is channel:
                del self._channels[room.id]
                if room.unsaved and room.memberships:
                    self._unloaded.append(room)
                    self._schedule_batch()

    def _schedule_batch(self) -> None:
        self._idle.clear()
        if self._writing is None and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start_batch)

    def _resume_requests(self, requests: Sequence[RequestBatch]) -> None:
        """Queue requests that waited for a lookup before all others."""
        self._queue.extendleft(reversed(requests))
        self._queued += sum(each.weight for each in requests)
        self._schedule_batch()

    def _refuse_request(self, request: RequestBatch, error: ServerError) -> None:
        """Refuse the only message of a request batch whose lookup failed."""
        self._refuse(request.session, request.messages[0], error)
        request.session.finish(1, request.weight)

    # --- staging -------------------------------------------------------------------------------------------

    def _start_batch(self) -> None:
        self._scheduled = False
        if self._writing is not None:
            return
        batch = self._writing = WriteBatch(showing=self._mirror.capacity)
        self._began = time.perf_counter()
        try:
            self._fill(batch)
            work = None if batch.is_empty else batch.transaction(now_ms())
        except Exception as error:  # noqa: BLE001  (a defect: the whole batch is rolled back and refused)
            self._loop.call_exception_handler({"message": "a defect", "exception": error})
            self._flushed(batch, StorageError("the relay made a mistake"))
            return
        if work is None:
            self._finish(batch)
        else:
            self._writer.submit(work, partial(self._flushed, batch))

    def _fill(self, batch: WriteBatch) -> None:
        """Stage queued requests and steps, as many as one batch takes."""
        while self._queue and batch.weight < MAX_BATCH_BYTES:
            request = self._queue.popleft()
            self._queued -= request.weight
            self._stage_requests(batch, request)
        if self._held and self._queued <= _MAX_QUEUED_BYTES // 2:
            held, self._held = self._held, []
            for session in held:
                session.hold_reading(False)
        unloaded, self._unloaded = self._unloaded, []
        for room in unloaded:
            batch.changes.save_room(room)
        due, self._due = self._due, set()
        for channel in filter(None, map(self._channels.get, due)):
            if channel.room.unsaved:
                batch.save(channel)
        batch.steps, self._steps = self._steps[:MAX_STEPS], self._steps[MAX_STEPS:]

    def _stage_requests(self, batch: WriteBatch, request: RequestBatch) -> None:
        """Stage the messages of a request batch; those that need a lookup wait for a later write batch."""
        session, names = request.session, request.names
        count, weight = len(request.messages), request.weight
        share = weight // count
        try:
            for message in request.messages:
                key = message.room
                channel = self._channels.get(key)
                unnamed = names is None and channel is not None and wanted_names(message)
                if channel is None or unnamed or key in self._lookups:
                    count, weight = count - 1, weight - share
                    self._lookups.add(RequestBatch(session, (message,), share, names))
                    continue
                batch.channels[key] = channel
                if isinstance(message, Submit):
                    self._stage_submission(batch, channel, session, message, names)
                elif isinstance(message, Offer):
                    self._offers.receive(batch, channel, session, message)
                else:
                    self._stage_request(batch, channel, session, message, names)
        finally:
            batch.taken.append((session, count, weight))
            batch.weight += weight

    def _stage_submission(
        self,
        batch: WriteBatch,
        channel: Channel,
        session: Session,
        message: Submit,
        names: dict[bytes, str] | ServerError | None,
    ) -> None:
        left: Sequence[bytes] = ()
        invited: Sequence[bytes] = ()
        room, confirms = channel.room, False
        try:
            if message.kind is Kind.APPLICATION:
                if self._quotas.is_full(session.usage):
                    room.check_submission(session.device, message)
                    self._quotas.check_entry(session.usage)
                seq = room.stage_message(session.device, message)
            elif is_join(message):
                header = self._check_join(room, session, message)
                seq = room.stage_join(session.device, session.name, message, header)
            else:
                header, rekeys = self._check_handshake(room, session, message, names), room.rekeys
                seq, left = room.stage_handshake(session.device, message, header, known_names(names))
                confirms = room.rekeys is not rekeys
                invited = header.add if message.welcome else ()
        except AlreadyAccepted as accepted:
            self._publisher.acknowledge_again(channel, session, message.submission, accepted.seq)
            self._offers.take(session, message)  # it was kept with the submission
            return
        except ServerError as error:
            self._refuse(session, message, error)
            self._offers.take(session, message)
            return
        write = batch.writes.get(message.room) or batch.begin_write(channel, seq)
        write.add(session.device, message, seq)
        session.usage.staged += len(message.payload) + (len(message.welcome) if invited else 0)
        for device in left:
            write.depart(device)
        if invited:
            self._invite(batch, message, invited, session.device, seq)
        if session.offer is not None:
            self._offers.stage_with(batch, channel, session, message, confirms=confirms)
        if len(batch.shown) < batch.showing:
            tail = message.payload[-TAIL_BYTES:]
            batch.shown.append((session, message.room, seq, message.kind, len(message.payload), tail))

    def _stage_request(
        self,
        batch: WriteBatch,
        channel: Channel,
        session: Session,
        message: CreateRoom | Mend | Resume,
        names: dict[bytes, str] | ServerError | None,
    ) -> None:
        room, readmitted = channel.room, list[bytes]()
        try:
            if isinstance(message, CreateRoom):
                if not room.memberships:
                    self._quotas.check_room(session.usage)
                    session.usage.staged_rooms += 1
                room.stage_creation(session.device, session.name, session.usage.account)
            elif not room.memberships:
                raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
            elif isinstance(message, Resume):
                batch.resumes.append((session, message))
                return
            else:
                room.check_mend(session.device, message.add, known_names(names))
                self._check_rate(room, session)
                readmitted = room.stage_mend(session.device, message.add, message.remove, known_names(names))
        except ServerError as error:
            self._refuse(session, message, error)
            return
        write = batch.writes.get(room.id) or batch.begin_write(channel, room.seq + 1)
        if isinstance(message, Mend):
            for device in message.remove:
                write.depart(device, mended=device != session.device)
        batch.readmitted.setdefault(message.room, []).extend(readmitted)
        batch.answers.append((session, message))

    def _check_handshake(
        self, room: RoomState, session: Session, message: Submit, names: dict[bytes, str] | ServerError | None
    ) -> Header:
        """Check a handshake and return its header. Raises `Refusal`."""
        room.check_submission(session.device, message)
        header = read_header(message)
        if header.add:
            self._quotas.check_entry(session.usage)
        known = known_names(names)
        room.check_handshake(session.device, message, header, known)
        if header.add and message.kind is Kind.COMMIT:
            check_names(header, known)
        self._check_rate(room, session)
        return header

    def _check_join(self, room: RoomState, session: Session, message: Submit) -> Header:
        """Check a rekey by which a device joins by a link; return its header. Raises `Refusal`."""
        if not session.has_links:
            raise Refusal(Code.BAD_REQUEST, "links need version 7 of the protocol")
        room.check_submission(session.device, message, joins=True)
        header = read_header(message)
        room.check_join(session.device, session.name, message, header, now_ms() // 1000)
        self._quotas.check_entry(session.usage)
        self._check_rate(room, session)
        if session.device not in room.members:
            room.check_capacity(1)
        return header

    def _check_rate(self, room: RoomState, session: Session) -> None:
        """Raise `Refusal` if the account changes this room too often."""
        if wait := self._change_rates.take((room.id, session.usage.account), self.clock()):
            text = f"too many changes of this room by one account; wait {math.ceil(wait)} s"
            raise Refusal(Code.PACE, text)

    def _invite(
        self, batch: WriteBatch, message: Submit, invited: Sequence[bytes], sender: bytes, seq: int
    ) -> None:
        self._last_welcome += 1
        now = now_ms()
        welcome = (self._last_welcome, message.room, seq, sender, message.welcome, now)
        batch.changes.welcomes.append(welcome)
        for device in invited:
            self._last_invitation += 1
            helps = message.kind is Kind.GROUP_INFO
            invitation = (self._last_invitation, device, message.room, self._last_welcome, helps)
            batch.changes.invitations.append(invitation)
            batch.invited[device] = None

    # --- after a flush --------------------------------------------------------------------------------------

    def _flushed(self, batch: WriteBatch, outcome: list[Any] | ServerError) -> None:
        self._counters.count_flush(time.perf_counter() - self._began)
        if isinstance(outcome, ServerError):
            self._counters.storage_failures += 1
            if not self._failing:
                _log.error(_FAILED, reason=str(outcome))
            self._publisher.refuse(batch)
            results = [Refusal(Code.STORAGE, NOT_WRITTEN)] * len(batch.steps)
        else:
            if self._failing:
                _log.info("storage works again")
            self._publisher.publish(batch)
            self._quotas.release(batch.changes.released)
            results = outcome
        self._failing = isinstance(outcome, ServerError)
        for (_, done), result in zip(batch.steps, results, strict=True):
            self._report(done, result)
        for session, _, _ in batch.taken:
            session.usage.end_batch(written=not self._failing)
        self._finish(batch)

    def _report(self, done: Callable[[Any], None], result: Any) -> None:
        """Pass a step's result to its callback; log what fails there."""
        cause = result.__cause__ if isinstance(result, StorageError) else None
        if cause is not None:
            self._loop.call_exception_handler({"message": "a defect", "exception": cause})
        try:
            done(result)
        except Exception as error:  # noqa: BLE001  (a defect: reported, and the flush goes on)
            self._loop.call_exception_handler({"message": "a defect", "exception": error})

    def _finish(self, batch: WriteBatch) -> None:
        """Start streams and unload rooms while memory equals disk, then start the next batch."""
        for session, message in batch.resumes:
            self.catch_up.start(session, message)
        for session, count, weight in batch.taken:
            session.finish(count, weight)
        self._unload(batch.channels.values())
        self._writing = None
        if self._queue or self._steps or self._unloaded or self._due:
            self._idle.clear()
            self._scheduled = True
            self._loop.call_soon(self._loop.call_soon, self._start_batch)  # after the network was read again
        elif not len(self._lookups):
            self._idle.set()

    def _refuse(self, session: Session, message: RoomMessage, error: ServerError) -> None:
        if isinstance(message, Resume):
            session.streams.pop(message.room, None)
        if not isinstance(error, Refusal):
            _log.error("room request failed", room=message.room.hex(), reason=str(error))
        if not isinstance(message, Offer):
            session.send(refusal(message, error))
