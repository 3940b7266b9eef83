"""Gives entries their order and makes them durable before anyone hears of them. Knows no network and no SQL.

Room messages gather while a flush is on its way. When the writer is free all that gathered is staged against
the rooms' state and handed over as one transaction; once it is on disk it is acknowledged and fanned out, and
if that failed it is rolled back and refused. So at most one flush is in flight, and whenever none is, the
rooms in memory equal those on disk: that is when streams start and rooms nobody has open are let go.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from clave_server import directory, log
from clave_server.catchup import CatchUp
from clave_server.channel import Channel
from clave_server.errors import Refusal, RelayError
from clave_server.flight import Flight, Request, RoomMessage, Step
from clave_server.mirror import PIECE_BYTES, EntryRecord, Mirror
from clave_server.room import Repeated, Room
from clave_server.session import Session, Stream
from clave_server.worker import Worker
from clave_wire.framing import pack
from clave_wire.messages import (
    Accepted,
    Code,
    CreateRoom,
    Done,
    Entry,
    Mend,
    Refused,
    Rejected,
    Report,
    Resume,
    Resumed,
    Submit,
)

__all__ = ["Sequencer"]

_MAX_FLUSH_BYTES: Final = 4 * 1024 * 1024
"""Payload bytes staged at which a flush takes no more."""

_NOT_WRITTEN: Final = "the relay could not write to its disk; nothing was changed, try again later"

_log = structlog.get_logger()


class Sequencer:
    """The rooms' one narrow interface: `post` a message, `write` to the directory, `end` a session."""

    def __init__(
        self,
        *,
        writer: Worker,
        reader: Worker,
        mirror: Mirror,
        sessions: Mapping[bytes, Session],
        highest_ids: tuple[int, int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._reader = reader
        self._mirror = mirror
        self._sessions = sessions
        self._channels: dict[bytes, Channel] = {}
        self._waiting: dict[bytes, list[Request]] = {}
        self._queue: deque[Request] = deque()
        self._steps: list[tuple[Step, Callable[[Any], None]]] = []
        self._flying: Flight | None = None
        self._scheduled = False
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_invitation, self._last_welcome = highest_ids
        self.catch_up = CatchUp(reader, self._channels, self._release)

    @property
    def rooms_open(self) -> int:
        """How many rooms are in memory."""
        return len(self._channels)

    @property
    def waiting(self) -> int:
        """How many requests and steps no flush has taken yet."""
        return len(self._queue) + sum(map(len, self._waiting.values())) + len(self._steps)

    @property
    def failing(self) -> bool:
        """Whether the last flush did not reach the disk."""
        return self._failing

    # --- coming in -----------------------------------------------------------------------------------------

    def post(self, session: Session, message: RoomMessage) -> None:
        """Take a room message; the answer goes to `session`."""
        session.begin(message)
        if type(message) is Resume:
            self._close(session, message.room, "")
            session.streams[message.room] = Stream(message.room, session, message.id)
        self._queue.append(Request(session, message))
        self._kick()

    def write(self, step: Step, done: Callable[[Any], None]) -> None:
        """Run a step inside the next flush; `done` gets its result, once on disk, or its `RelayError`."""
        self._steps.append((step, done))
        self._kick()

    def end(self, session: Session, text: str) -> None:
        """Close all streams of a session; `text` tells the others how it went."""
        for room in tuple(session.streams):
            self._close(session, room, text)

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
            if not channel.streams and self._channels.get(channel.room.room) is channel:
                del self._channels[channel.room.room]

    def _kick(self) -> None:
        self._idle.clear()
        if self._flying is None and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._stage)

    # --- rooms and names that are not in memory ------------------------------------------------------------

    def _load(self, request: Request) -> None:
        key = request.message.room
        self._waiting[key] = [request]
        self._reader.do(partial(log.load_room, key=key), partial(self._loaded, key))

    def _loaded(self, key: bytes, outcome: Room | RelayError | None) -> None:
        requests = self._waiting.pop(key)
        creating = any(type(request.message) is CreateRoom for request in requests)
        if isinstance(outcome, Room):
            self._channels[key] = Channel(outcome)
        elif outcome is None and creating:
            self._channels[key] = Channel(Room(key))
        else:
            error = outcome or Refusal(Code.NO_SUCH_ROOM, "there is no such room")
            for request in requests:
                self._refuse(request.session, request.message, error)
            requests = []
        self._queue.extendleft(reversed(requests))
        self._kick()

    def _look_up_names(self, request: Request, add: Iterable[bytes]) -> None:
        self._waiting[request.message.room] = [request]
        inviting = type(request.message) is Submit
        work = partial(directory.resolve, devices=add, inviting=inviting)
        self._reader.do(work, partial(self._looked_up, request))

    def _looked_up(self, request: Request, outcome: dict[bytes, str] | RelayError) -> None:
        request.names = outcome
        self._queue.extendleft(reversed(self._waiting.pop(request.message.room)))
        self._kick()

    # --- staging -------------------------------------------------------------------------------------------

    def _stage(self) -> None:
        self._scheduled = False
        flight = Flight()
        while self._queue and flight.payload_bytes < _MAX_FLUSH_BYTES:
            request = self._queue.popleft()
            message = request.message
            waiting = self._waiting.get(message.room)
            channel = self._channels.get(message.room)
            if waiting is not None:
                waiting.append(request)
            elif channel is None:
                self._load(request)
            elif isinstance(message, Submit | Mend) and message.add and request.names is None:
                self._look_up_names(request, message.add)
            else:
                flight.channels[message.room] = channel
                self._handle(flight, channel, request)
        flight.steps, self._steps = self._steps, []
        self._flying = flight
        if flight.touched or flight.steps:
            self._writer.do(flight.transaction(time.time_ns() // 1_000_000), partial(self._landed, flight))
        else:
            self._after(flight)

    def _handle(self, flight: Flight, channel: Channel, request: Request) -> None:
        session, message, names = request.session, request.message, request.names or {}
        try:
            if isinstance(names, RelayError):
                raise names
            if not channel.room.stays and not isinstance(message, CreateRoom):
                raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
            if isinstance(message, Submit):
                self._stage_submission(flight, channel, session, message, names)
            elif isinstance(message, Resume):
                flight.resumes.append((session, message))
            else:
                self._stage_request(flight, channel, session, message, names)
        except RelayError as error:
            self._refuse(session, message, error)

    def _stage_submission(
        self, flight: Flight, channel: Channel, session: Session, message: Submit, names: dict[bytes, str]
    ) -> None:
        room = channel.room
        first = room.seq + 1
        try:
            seq = room.stage_submission(session.device, message, names)
        except Repeated as repeated:
            self._acknowledge_again(channel, session, message.submission, repeated.seq)
            session.finish(message)
            return
        draft = flight.draft(channel, first)
        entry = Entry(
            room.room, seq, session.device, message.submission, message.kind, message.epoch, message.payload
        )
        draft.frames.append(pack(entry))
        draft.submissions.setdefault(session.device, []).append((seq, message.submission))
        for device in message.remove:
            draft.depart(device)
        if message.welcome and message.add:
            self._invite(flight, message, session.device, seq)
        flight.submits.append((session, message))
        flight.payload_bytes += len(message.payload) + len(message.welcome)
        if self._mirror.wanted:
            flight.shown.append(
                EntryRecord(
                    session.name,
                    session.address,
                    room.room,
                    seq,
                    message.epoch,
                    message.kind,
                    len(message.payload),
                    message.payload[-PIECE_BYTES:],
                )
            )

    def _stage_request(
        self,
        flight: Flight,
        channel: Channel,
        session: Session,
        message: CreateRoom | Report | Mend,
        names: dict[bytes, str],
    ) -> None:
        room = channel.room
        first = room.seq + 1
        if isinstance(message, CreateRoom):
            room.stage_creation(session.device, session.name)
        elif isinstance(message, Report):
            room.stage_report(session.device, message)
        else:
            room.stage_mend(session.device, message.add, message.remove, names)
        draft = flight.draft(channel, first)
        if isinstance(message, Mend):
            for device in message.remove:
                draft.depart(device)
        flight.answers.append((session, message))

    def _invite(self, flight: Flight, message: Submit, sender: bytes, seq: int) -> None:
        self._last_welcome += 1
        flight.changes.welcomes.append((self._last_welcome, message.room, seq, sender, message.welcome))
        for device in message.add:
            self._last_invitation += 1
            invitation = (self._last_invitation, device, message.room, self._last_welcome)
            flight.changes.invitations.append(invitation)
            flight.invited.add(device)

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

    def _landed(self, flight: Flight, outcome: list[Any] | RelayError) -> None:
        if isinstance(outcome, RelayError):
            self._roll_back(flight, outcome)
        else:
            if self._failing:
                self._failing = False
                _log.info("storage works again")
            self._publish(flight)
            for (_, done), result in zip(flight.steps, outcome, strict=True):
                done(result)
        for session, submit in flight.submits:
            session.finish(submit)
        for session, answered in flight.answers:
            session.finish(answered)
        self._after(flight)

    def _roll_back(self, flight: Flight, error: RelayError) -> None:
        if not self._failing:
            self._failing = True
            _log.error("storage failed; nothing is accepted until it works again", reason=str(error))
        for channel in flight.touched.values():
            channel.room.roll_back()
        refusal = Refusal(Code.STORAGE, _NOT_WRITTEN)
        for session, submit in flight.submits:
            session.send(_refusal(submit, refusal))
        for session, message in flight.answers:
            session.send(_refusal(message, refusal))
        for _, done in flight.steps:
            done(refusal)

    def _publish(self, flight: Flight) -> None:
        for channel in flight.touched.values():
            channel.room.settle()
        for session, message in flight.answers:
            session.send(Done(message.id))
        for key, draft in flight.drafts.items():
            for device, submissions in draft.submissions.items():
                sender = self._sessions.get(device)
                stream = sender and sender.streams.get(key)
                if sender is not None and (stream is None or stream.over):
                    for seq, submission in submissions:
                        sender.send(Accepted(key, submission, seq))
            draft.channel.fan_out(draft)
        for _, message in flight.answers:
            if isinstance(message, Mend):
                self._revive(message)
        for device in flight.invited:
            if device in self._sessions:
                self._sessions[device].notice_invitation()
        if flight.shown:
            self._mirror.show_entries(flight.shown)

    def _revive(self, message: Mend) -> None:
        channel = self._channels[message.room]
        for device in message.add:
            session = self._sessions.get(device)
            stream = session and session.streams.get(message.room)
            if stream and stream.end is not None and device in channel.room.members:
                channel.revive(stream)
                self.catch_up.advance(stream.session)

    def _after(self, flight: Flight) -> None:
        """Do what needs memory and disk to be equal, then stage what has gathered."""
        for session, message in flight.resumes:
            self._start_stream(self._channels[message.room], session, message)
            session.finish(message)
        self._flying = None
        self._let_go(flight.channels.values())
        if self._queue or self._steps:
            self._kick()
        elif not self._waiting:
            self._idle.set()

    def _start_stream(self, channel: Channel, session: Session, message: Resume) -> None:
        stream = session.streams.get(message.room)
        if stream is None or stream.request != message.id or stream.started:
            return  # the session ended, or resumed this room once more
        room = channel.room
        try:
            stay = room.stay_at(session.device, message.after)
        except Refusal as refusal:
            del session.streams[message.room]
            session.send(Refused(message.id, refusal.code, str(refusal)))
            return
        submission = room.highest_submission(session.device)
        if stay.left is None:
            members = list(room.members.items())
            session.send(Resumed(message.id, room.room, room.durable, room.epoch, submission, members))
        else:
            session.send(Resumed(message.id, room.room, stay.left, 0, submission, []))
        channel.start(stream, message.after, stay.left)
        self.catch_up.advance(session)

    def _refuse(self, session: Session, message: RoomMessage, error: RelayError) -> None:
        if isinstance(message, Resume):
            session.streams.pop(message.room, None)
        session.send(_refusal(message, error))
        session.finish(message)


def _refusal(message: RoomMessage, error: RelayError) -> Rejected | Refused:
    code = error.code if isinstance(error, Refusal) else Code.STORAGE
    if isinstance(message, Submit):
        return Rejected(message.room, message.submission, code, str(error))
    return Refused(message.id, code, str(error))
