"""Gives entries their order and makes them durable before anyone hears of them. Knows no network and no SQL.

Room messages gather while a flush is on its way. When the writer is free all that gathered is staged against
the rooms' state and handed over as one transaction; once it is on disk it is acknowledged and fanned out, and
if that failed it is rolled back and refused. So at most one flush is in flight, and whenever none is, the
rooms in memory equal those on disk: that is when streams start and rooms nobody has open are let go.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from clave_server.accounts import directory
from clave_server.errors import Refusal, ServerError, StorageError
from clave_server.limits.quotas import QuotaTracker, Usage
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import PIECE_BYTES, EntryRecord, Mirror
from clave_server.rooms.catchup import CatchUp
from clave_server.rooms.channel import Channel
from clave_server.rooms.header_checks import check_names, read_header
from clave_server.rooms.pending_lookups import PendingLookups, wanted_names
from clave_server.rooms.publish import NOT_WRITTEN, Publisher
from clave_server.rooms.room_state import AlreadyAccepted, Room
from clave_server.rooms.session import Session, Stream
from clave_server.rooms.write_batch import RequestBatch, RoomMessage, Step, WriteBatch
from clave_server.storage.db_thread import DbThread
from clave_wire.header import Header
from clave_wire.messages import (
    Accepted,
    Code,
    CreateRoom,
    Kind,
    Mend,
    Refused,
    Rejected,
    Resume,
    Resumed,
    Submit,
)

__all__ = ["Sequencer"]

_MAX_FLUSH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the messages staged at which a flush takes no more."""

_MAX_STEPS: Final = 64
"""Steps of one flush: each may answer with some hundred kilobytes."""

_MAX_QUEUED_BYTES: Final = 2 * _MAX_FLUSH_BYTES
"""Bytes of messages not yet staged at which nothing more is read from whoever sends some."""

_HANDSHAKES_PER_SECOND: Final = 0.5
_HANDSHAKE_BURST: Final = 64
"""What one account may change in one room: entries that are no messages, and `Mend`."""

_MAX_PACES: Final = 100_000
"""Accounts in rooms whose pace is remembered at a time."""

_FAILED: Final = (
    "storage failed, and nothing is accepted until it works again; make room on its disk, or mend it"
)

_log = structlog.get_logger()


class Sequencer:
    """The rooms' one narrow interface: `post` a message, `write` to the directory, `end` a session."""

    def __init__(
        self,
        *,
        writer: DbThread,
        reader: DbThread,
        mirror: Mirror,
        sessions: Mapping[bytes, Session],
        highest_ids: tuple[int, int],
        quotas: QuotaTracker,
        counters: Counters,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._mirror = mirror
        self._channels: dict[bytes, Channel] = {}
        self._loading = PendingLookups(reader, self._channels, self._go_on, self._give_up)
        self._queue: deque[RequestBatch] = deque()
        self._queued = 0
        self._held: list[Session] = []
        self._gone: list[Room] = []
        self._due: set[bytes] = set()
        self._steps: list[tuple[Step, Callable[[Any], None]]] = []
        self._flying: WriteBatch | None = None
        self._took_off = 0.0
        self._scheduled = False
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_invitation, self._last_welcome = highest_ids
        self._quotas = quotas
        self._paces = TokenBuckets[tuple[bytes, bytes]](_HANDSHAKES_PER_SECOND, _HANDSHAKE_BURST, _MAX_PACES)
        self._counters = counters
        self.catch_up = CatchUp(reader, self._channels, self._release, counters)
        self._landing = Publisher(sessions, self._channels, self.catch_up, mirror, counters, self._save_usage)

    @property
    def rooms_open(self) -> int:
        """How many rooms are in memory."""
        return len(self._channels)

    @property
    def waiting(self) -> int:
        """How many requests and steps no flush has taken yet."""
        batches = itertools.chain(self._queue, self._loading)
        return sum(len(batch.messages) for batch in batches) + len(self._steps)

    @property
    def failing(self) -> bool:
        """Whether the last flush did not reach the disk."""
        return self._failing

    # --- coming in -----------------------------------------------------------------------------------------

    def post(self, session: Session, messages: Sequence[RoomMessage], weight: int) -> None:
        """Take room messages of `weight` bytes, in order; the answers go to `session`."""
        session.begin(len(messages), weight)
        self._queue.append(RequestBatch(session, messages, weight))
        self._queued += weight
        if self._queued > _MAX_QUEUED_BYTES:
            self._held.append(session)
            session.hold_reading(True)
        self._kick()

    def resume(self, session: Session, message: Resume, weight: int) -> None:
        """Open a room for `session`, or open it anew."""
        self._close(session, message.room, "")
        session.streams[message.room] = Stream(message.room, session, message.id)
        self.post(session, (message,), weight)

    def save(self, key: bytes) -> bool:
        """Have the next flush write a room's own rows; return False if they need no writing."""
        channel = self._channels.get(key)
        if channel is None or not channel.room.unsaved:
            return False
        self._due.add(key)
        self._kick()
        return True

    def write(self, step: Step, done: Callable[[Any], None]) -> None:
        """Run a step inside the next flush; `done` gets its result, once on disk, or its `ServerError`."""
        self._steps.append((step, done))
        self._kick()

    def end(self, session: Session, text: str) -> None:
        """Close all streams of a session; `text` tells the others how it went."""
        for room in tuple(session.streams):
            self._close(session, room, text)
        self._save_usage(session.usage)

    def forget_before(self, kept_from: Mapping[bytes, int]) -> None:
        """Take note of the first entries that are still kept of some rooms."""
        for key, seq in kept_from.items():
            self._loading.forget_before(key, seq)
            if channel := self._channels.get(key):
                channel.room.kept_from = max(channel.room.kept_from, seq)

    def _save_usage(self, usage: Usage) -> None:
        if unsaved := usage.take_unsaved():
            self.write(partial(directory.add_stored, account=usage.account, size=unsaved), lambda _: None)

    async def drain(self) -> None:
        """Wait until everything posted is on disk and answered."""
        await self._idle.wait()

    def _close(self, session: Session, room: bytes, text: str) -> None:
        stream = session.streams.pop(room, None)
        channel = self._channels.get(room)
        if stream is not None and channel is not None:
            channel.close(stream, text)
            self._release(channel)

    def _release(self, channel: Channel) -> None:
        if self._flying is None or channel.room.room not in self._flying.channels:
            self._let_go((channel,))

    def _let_go(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            room = channel.room
            if not channel.streams and self._channels.get(room.room) is channel:
                del self._channels[room.room]
                if room.unsaved and room.stays:
                    self._gone.append(room)
                    self._kick()

    def _kick(self) -> None:
        self._idle.clear()
        if self._flying is None and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._stage)

    def _go_on(self, batches: Sequence[RequestBatch]) -> None:
        """Put batches that waited for the disk before all others."""
        self._queue.extendleft(reversed(batches))
        self._queued += sum(batch.weight for batch in batches)
        self._kick()

    def _give_up(self, batch: RequestBatch, error: ServerError) -> None:
        """Refuse the only message of a batch that waited in vain."""
        self._refuse(batch.session, batch.messages[0], error)
        batch.session.finish(1, batch.weight)

    # --- staging -------------------------------------------------------------------------------------------

    def _stage(self) -> None:
        self._scheduled = False
        if self._flying is not None:
            return
        flight = self._flying = WriteBatch(showing=self._mirror.room)
        self._took_off = time.perf_counter()
        try:
            self._fill(flight)
            work = None if flight.is_empty else flight.transaction(time.time_ns() // 1_000_000)
        except Exception as error:  # noqa: BLE001  (a defect: all of the flight is undone and refused)
            self._loop.call_exception_handler({"message": "a defect", "exception": error})
            self._landed(flight, StorageError("the relay made a mistake"))
            return
        if work is None:
            self._after(flight)
        else:
            self._writer.do(work, partial(self._landed, flight))

    def _fill(self, flight: WriteBatch) -> None:
        """Stage what has gathered, as much as one flush takes."""
        while self._queue and flight.weight < _MAX_FLUSH_BYTES:
            batch = self._queue.popleft()
            self._queued -= batch.weight
            self._take(flight, batch)
        if self._held and self._queued <= _MAX_QUEUED_BYTES // 2:
            held, self._held = self._held, []
            for session in held:
                session.hold_reading(False)
        gone, self._gone = self._gone, []
        for room in gone:
            flight.changes.save_room(room)
        due, self._due = self._due, set()
        for channel in filter(None, map(self._channels.get, due)):
            if channel.room.unsaved:
                flight.save(channel)
        flight.steps, self._steps = self._steps[:_MAX_STEPS], self._steps[_MAX_STEPS:]

    def _take(self, flight: WriteBatch, batch: RequestBatch) -> None:
        """Stage the messages of a batch; one that waits for something is put aside for a later flight."""
        session, names = batch.session, batch.names
        count, weight = len(batch.messages), batch.weight
        share = weight // count
        try:
            for message in batch.messages:
                key = message.room
                channel = self._channels.get(key)
                unnamed = names is None and channel is not None and wanted_names(message)
                if channel is None or unnamed or key in self._loading:
                    count, weight = count - 1, weight - share
                    self._loading.put_aside(RequestBatch(session, (message,), share, names))
                    continue
                flight.channels[key] = channel
                if isinstance(message, Submit):
                    self._stage_submission(flight, channel, session, message, names)
                else:
                    self._stage_request(flight, channel, session, message, names)
        finally:
            flight.taken.append((session, count, weight))
            flight.weight += weight

    def _stage_submission(
        self,
        flight: WriteBatch,
        channel: Channel,
        session: Session,
        message: Submit,
        names: dict[bytes, str] | ServerError | None,
    ) -> None:
        gone: Sequence[bytes] = ()
        invited: Sequence[bytes] = ()
        try:
            if message.kind is not Kind.APPLICATION:
                header = self._judge_handshake(channel.room, session, message, names)
                seq, gone = channel.room.stage_handshake(session.device, message, header, _known(names))
                invited = header.add if message.welcome else ()
            else:
                if self._quotas.is_full(session.usage):
                    channel.room.judge(session.device, message)
                    self._quotas.judge_entry(session.usage)
                seq = channel.room.stage_message(session.device, message)
        except AlreadyAccepted as repeated:
            self._acknowledge_again(channel, session, message.submission, repeated.seq)
            return
        except ServerError as error:
            self._refuse(session, message, error)
            return
        draft = flight.drafts.get(message.room) or flight.draft(channel, seq)
        draft.add(session.device, message, seq)
        session.usage.staged += len(message.payload) + (len(message.welcome) if invited else 0)
        for device in gone:
            draft.depart(device)
        if invited:
            self._invite(flight, message, invited, session.device, seq)
        if len(flight.shown) < flight.showing:
            flight.shown.append(
                EntryRecord(
                    session.name,
                    session.address,
                    message.room,
                    seq,
                    message.kind,
                    len(message.payload),
                    message.payload[-PIECE_BYTES:],
                )
            )

    def _stage_request(
        self,
        flight: WriteBatch,
        channel: Channel,
        session: Session,
        message: CreateRoom | Mend | Resume,
        names: dict[bytes, str] | ServerError | None,
    ) -> None:
        room, back = channel.room, list[bytes]()
        try:
            if isinstance(message, CreateRoom):
                if not room.stays:
                    self._quotas.judge_room(session.usage)
                    session.usage.staged_rooms += 1
                room.stage_creation(session.device, session.name, session.usage.account)
            elif not room.stays:
                raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
            elif isinstance(message, Resume):
                flight.resumes.append((session, message))
                return
            else:
                room.judge_mend(session.device, message.add, _known(names))
                self._pace(room, session)
                back = room.stage_mend(session.device, message.add, message.remove, _known(names))
        except ServerError as error:
            self._refuse(session, message, error)
            return
        draft = flight.drafts.get(room.room) or flight.draft(channel, room.seq + 1)
        if isinstance(message, Mend):
            for device in message.remove:
                draft.depart(device, mended=device != session.device)
        flight.taken_back.setdefault(message.room, []).extend(back)
        flight.answers.append((session, message))

    def _judge_handshake(
        self, room: Room, session: Session, message: Submit, names: dict[bytes, str] | ServerError | None
    ) -> Header:
        """Return the header of an entry other than a message, unless it may not be one. Raises `Refusal`."""
        room.judge(session.device, message)
        header = read_header(message)
        if header.add:
            self._quotas.judge_entry(session.usage)
        known = _known(names)
        room.judge_handshake(session.device, message, header, known)
        if header.add and message.kind is Kind.COMMIT:
            check_names(header, known)
        self._pace(room, session)
        return header

    def _pace(self, room: Room, session: Session) -> None:
        """Count one more change of a room by an account. Raises `Refusal` if it makes too many."""
        if wait := self._paces.take((room.room, session.usage.account), self._loop.time()):
            text = f"too many changes of this room by one account; wait {math.ceil(wait)} s"
            raise Refusal(Code.PACE, text)

    def _invite(
        self, flight: WriteBatch, message: Submit, invited: Sequence[bytes], sender: bytes, seq: int
    ) -> None:
        self._last_welcome += 1
        now = time.time_ns() // 1_000_000
        welcome = (self._last_welcome, message.room, seq, sender, message.welcome, now)
        flight.changes.welcomes.append(welcome)
        for device in invited:
            self._last_invitation += 1
            helps = message.kind is Kind.GROUP_INFO
            invitation = (self._last_invitation, device, message.room, self._last_welcome, helps)
            flight.changes.invitations.append(invitation)
            flight.invited[device] = None

    def _acknowledge_again(self, channel: Channel, session: Session, submission: int, seq: int) -> None:
        """Repeat `Accepted`, unless the flush or the catch-up under way will yet tell."""
        stream = session.streams.get(channel.room.room)
        if stream is not None and not stream.live and not stream.over:
            told = stream.started and stream.cursor >= seq
        else:
            told = seq <= channel.room.durable
        if told:
            session.send(Accepted(channel.room.room, submission, seq))

    # --- landing -------------------------------------------------------------------------------------------

    def _landed(self, flight: WriteBatch, outcome: list[Any] | ServerError) -> None:
        self._counters.flushed(time.perf_counter() - self._took_off)
        if isinstance(outcome, ServerError):
            self._counters.storage_failures += 1
            if not self._failing:
                _log.error(_FAILED, reason=str(outcome))
            self._landing.refuse(flight)
            results = [Refusal(Code.STORAGE, NOT_WRITTEN)] * len(flight.steps)
        else:
            if self._failing:
                _log.info("storage works again")
            self._landing.publish(flight)
            self._quotas.release(flight.changes.released)
            results = outcome
        self._failing = isinstance(outcome, ServerError)
        for (_, done), result in zip(flight.steps, results, strict=True):
            self._tell(done, result)
        for session, _, _ in flight.taken:
            session.usage.land(kept=not self._failing)
        self._after(flight)

    def _tell(self, done: Callable[[Any], None], result: Any) -> None:
        """Hand over a step's result; what goes wrong there stays there."""
        cause = result.__cause__ if isinstance(result, StorageError) else None
        if cause is not None:
            self._loop.call_exception_handler({"message": "a defect", "exception": cause})
        try:
            done(result)
        except Exception as error:  # noqa: BLE001  (a defect: reported, and the flush lands all the same)
            self._loop.call_exception_handler({"message": "a defect", "exception": error})

    def _after(self, flight: WriteBatch) -> None:
        """Do what needs memory and disk to be equal, then stage what has gathered."""
        for session, message in flight.resumes:
            self._start_stream(self._channels[message.room], session, message)
        for session, count, weight in flight.taken:
            session.finish(count, weight)
        self._let_go(flight.channels.values())
        self._flying = None
        if self._queue or self._steps or self._gone or self._due:
            self._idle.clear()
            self._scheduled = True
            self._loop.call_soon(self._loop.call_soon, self._stage)  # once the network was read again
        elif not len(self._loading):
            self._idle.set()

    def _start_stream(self, channel: Channel, session: Session, message: Resume) -> None:
        stream = session.streams.get(message.room)
        if stream is None or stream.request != message.id or stream.started:
            return  # the session ended, or resumed this room once more
        room = channel.room
        try:
            stay, after = room.stay_at(session.device, message.after)
        except Refusal as refusal:
            del session.streams[message.room]
            session.send(Refused(message.id, refusal.code, str(refusal)))
            return
        submission = room.highest_submission(session.device)
        if stay.left is None:
            last, members = room.durable, list(room.members.items())
        else:
            last, members = stay.left, []
        handshake = min(room.handshake, last)
        session.send(
            Resumed(message.id, room.room, last, handshake, submission, room.legacy, room.restores, members)
        )
        channel.start(stream, after, stay.left)
        self.catch_up.advance(session)

    def _refuse(self, session: Session, message: RoomMessage, error: ServerError) -> None:
        if isinstance(message, Resume):
            session.streams.pop(message.room, None)
        if not isinstance(error, Refusal):
            _log.error("a room cannot be read", room=message.room.hex(), reason=str(error))
        session.send(_refusal(message, error))


def _refusal(message: RoomMessage, error: ServerError) -> Rejected | Refused:
    code = error.code if isinstance(error, Refusal) else Code.STORAGE
    if isinstance(message, Submit):
        return Rejected(message.room, message.submission, code, str(error))
    return Refused(message.id, code, str(error))


def _known(names: dict[bytes, str] | ServerError | None) -> dict[bytes, str]:
    """Return the names that were looked up, or raise why they could not be."""
    if isinstance(names, ServerError):
        raise names
    return names or {}
