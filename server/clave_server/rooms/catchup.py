"""Starts streams, and sends stored entries and invitations as fast as each client reads.

Knows no rules of rooms; reads on the reading thread. No entry is missed between catch-up and live fan-out: a
stream becomes live on the loop when its cursor equals the durable seq, and fan-out runs on the loop too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from clave_server.errors import Refusal, ServerError
from clave_server.observe.counters import Counters
from clave_server.rooms import entry_store
from clave_server.rooms.channel import Channel
from clave_server.rooms.invitations import read_invitations
from clave_server.rooms.session import Session, Stream
from clave_server.storage.db_thread import DbThread
from clave_wire.framing import pack
from clave_wire.messages import Code, Invitation, Refused, Resume, Resumed

_log = structlog.get_logger()

__all__ = ["CatchUp", "InvitationFeed"]


class CatchUp:
    """Starts streams and reads entries for those that are behind, one read per session at a time.

    `release` is called with a channel that may have no streams any more.
    """

    def __init__(
        self,
        reader: DbThread,
        channels: Mapping[bytes, Channel],
        release: Callable[[Channel], None],
        counters: Counters,
    ) -> None:
        self._reader = reader
        self._channels = channels
        self._release = release
        self._counters = counters

    def start(self, session: Session, message: Resume) -> None:
        """Answer a `Resume` while the room in memory equals that on disk, and send what it asks for."""
        stream = session.streams.get(message.room)
        if stream is None or stream.request != message.id or stream.started:
            return  # the session ended, or resumed this room again
        channel = self._channels[message.room]
        room = channel.room
        try:
            membership, after = room.membership_at(session.device, message.after)
        except Refusal as refusal:
            del session.streams[message.room]
            session.send(Refused(message.id, refusal.code, str(refusal)))
            return
        submission = room.highest_submission(session.device)
        if membership.left is None:
            last, members = room.durable, list(room.members.items())
        else:
            last, members = membership.left, []
        handshake = min(room.handshake, last)
        session.send(
            Resumed(message.id, room.id, last, handshake, submission, room.legacy, room.restores, members)
        )
        channel.start(stream, after, membership.left)
        self.advance(session)

    def advance(self, session: Session) -> None:
        """Read the next chunk for a session, if one of its streams is behind and its client reads."""
        if session.reading_log or session.over or not session.send_queue.writable:
            return
        for stream in session.streams.values():
            if stream.started and not stream.live and not stream.over:
                channel = self._channels[stream.room]
                if not channel.finish_if_caught_up(stream):
                    self._read(channel, stream)
                    return

    def _read(self, channel: Channel, stream: Stream) -> None:
        stream.session.reading_log = True
        self._counters.catch_up_reads += 1
        until = channel.room.durable if stream.end is None else stream.end
        work = partial(
            entry_store.read_entries,
            key=stream.room,
            after=stream.cursor,
            until=until,
            with_times=stream.session.has_times,
        )
        self._reader.submit(work, partial(self._send_chunk, stream))

    def _send_chunk(self, stream: Stream, outcome: entry_store.Chunk | ServerError) -> None:
        session = stream.session
        session.reading_log = False
        if session.over:
            return
        if session.streams.get(stream.room) is stream and not stream.over:
            channel = self._channels[stream.room]
            if isinstance(outcome, ServerError):
                self._give_up(channel, stream, outcome)
            else:
                session.send_queue.push(outcome.frames)
                stream.cursor = outcome.last
                channel.finish_if_caught_up(stream)
            self._release(channel)
        self.advance(session)

    def _give_up(self, channel: Channel, stream: Stream, error: ServerError) -> None:
        try:
            channel.room.check_kept(stream.cursor)
        except Refusal as refusal:
            channel.close(stream, "fell behind what is kept")
            stream.session.send(Refused(stream.request, refusal.code, str(refusal)))
            return
        _log.error("catch-up failed: entries cannot be read", room=stream.room.hex(), reason=str(error))
        channel.close(stream, "its log cannot be read")
        stream.session.send(Refused(stream.request, Code.STORAGE, str(error)))


class InvitationFeed:
    """Sends one session its stored invitations, and new ones while it is connected."""

    def __init__(self, reader: DbThread, session: Session) -> None:
        self._reader = reader
        self._session = session
        self._after = 0
        self._reading = False
        self._more = True

    def advance(self) -> None:
        """Read the next invitations, if there may be more and the client reads."""
        if self._more and not self._reading and self._session.send_queue.writable and not self._session.over:
            self._reading = True
            self._more = False
            work = partial(read_invitations, device=self._session.device, after=self._after)
            self._reader.submit(work, self._send)

    def wake(self) -> None:
        """Send a new invitation that is on disk."""
        self._more = True
        self.advance()

    def _send(self, outcome: list[Invitation] | ServerError) -> None:
        self._reading = False
        if isinstance(outcome, ServerError):
            _log.error(
                "invitations not sent: they cannot be read", name=self._session.name, reason=str(outcome)
            )
            self._more = True  # try again with the next one
            return
        if outcome:
            self._after = outcome[-1].id
            self._more = True
            self._session.send_queue.push(b"".join(map(pack, outcome)))
        self.advance()
