"""A room in memory and the streams of sessions that have it open: fan-out, presence. Knows no disk."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from clave_server.net.send_queue import SendQueue
from clave_server.rooms.room_state import NO_LONGER_MEMBER, RoomState
from clave_server.rooms.session import Session, Stream
from clave_wire.framing import pack
from clave_wire.messages import Accepted, AcceptedAt, Code, Entry, Presence, Refused, Submit

__all__ = ["MAX_PRESENCE_MEMBERS", "Channel", "RoomWrite"]

MAX_PRESENCE_MEMBERS: Final = 1000
"""Members of a room above which presence is not sent: it would cost more than the messages."""


class Channel:
    """One room and its open streams; live streams have been sent every durable entry."""

    def __init__(self, room: RoomState) -> None:
        self.room = room
        self.streams: dict[bytes, Stream] = {}
        self._live: dict[bytes, SendQueue] = {}
        self._live_without_times: dict[bytes, SendQueue] = {}

    def start(self, stream: Stream, cursor: int, end: int | None) -> None:
        """Start a stream after `cursor`, to end at `end` (None: never); send presence both ways."""
        session = stream.session
        stream.cursor, stream.end, stream.started = cursor, end, True
        self.streams[session.device] = stream
        if end is None:
            self._announce(session, online=True, text="")
            self.finish_if_caught_up(stream)

    def finish_if_caught_up(self, stream: Stream) -> bool:
        """If the stream has caught up, make it live or end it, and return True."""
        if stream.end is not None:
            if stream.cursor >= stream.end:
                self._finish(stream)
                return True
        elif stream.cursor >= self.room.durable:
            stream.live = True
            session = stream.session
            live = self._live if session.has_times else self._live_without_times
            live[session.device] = session.send_queue
            return True
        return False

    def is_live(self, device: bytes) -> bool:
        """Return whether a device has a live stream."""
        return device in self._live or device in self._live_without_times

    def reopen(self, stream: Stream) -> None:
        """Continue a stream that has an end, as its device is a member again."""
        stream.over, stream.end, stream.mended = False, None, False
        self.streams[stream.session.device] = stream

    def close(self, stream: Stream, text: str) -> None:
        """Drop a stream; `text` tells the other members why the session ended."""
        if self.streams.get(stream.session.device) is stream:
            self._end(stream)
            if stream.end is None:
                self._announce(stream.session, online=False, text=text)

    def _finish(self, stream: Stream) -> None:
        """End a stream that has reached its end; after a `Mend` send `NOT_MEMBER`."""
        self._end(stream)
        if stream.mended:
            stream.session.send(Refused(stream.request, Code.NOT_MEMBER, NO_LONGER_MEMBER))

    def _end(self, stream: Stream) -> None:
        device = stream.session.device
        stream.live, stream.over = False, True
        self.streams.pop(device, None)
        self._live.pop(device, None)
        self._live_without_times.pop(device, None)

    def _announce(self, session: Session, *, online: bool, text: str) -> None:
        if len(self.room.members) > MAX_PRESENCE_MEMBERS:
            return
        frame = self._presence(session, online=online, text=text)
        present: list[bytes] = []
        for device, stream in self.streams.items():
            if device != session.device and stream.end is None:
                stream.session.send_queue.push(frame)
                present.append(self._presence(stream.session, online=True, text=""))
        if online and present:
            session.send_queue.push(b"".join(present))

    def _presence(self, session: Session, *, online: bool, text: str) -> bytes:
        return pack(Presence(self.room.id, session.device, session.name, online, text))

    def fan_out(self, write: RoomWrite, at: int) -> int:
        """Send durable entries, accepted at `at`, to all live streams, and to their senders acknowledgements.

        An `AcceptedAt` precedes them, but for clients that do not take it. Returns the number of deliveries.
        """
        deliveries = 0
        if write.frames:
            time = pack(AcceptedAt(self.room.id, at))
            deliveries = self._send(write, self._live, time)
            if self._live_without_times:
                deliveries += self._send(write, self._live_without_times, b"")
        for device, seq in write.departures.items():
            stream = self.streams.get(device)
            if stream is not None:
                stream.end, stream.mended = seq, device in write.mended
                if stream.live:
                    stream.cursor = seq
                    self._finish(stream)
        return deliveries

    def _send(self, write: RoomWrite, live: Mapping[bytes, SendQueue], time: bytes) -> int:
        """Send `time` and the entries to these streams; return the number of deliveries."""
        shared = b"".join((time, *write.frames))
        senders, departures = write.submissions, write.departures
        deliveries = len(write.frames) * len(live)
        starts = list(itertools.accumulate(map(len, write.frames), initial=len(time)))
        view = memoryview(shared)
        for device, send_queue in live.items():
            if device in senders or device in departures:
                deliveries -= len(senders.get(device, ()))
                send_queue.push_parts(self._own_view(write, device, view, starts))
            else:
                send_queue.push(shared)
        return deliveries

    def _own_view(
        self, write: RoomWrite, device: bytes, shared: memoryview, starts: list[int]
    ) -> list[bytes | memoryview]:
        """Return the entries as `device` gets them: its own as `Accepted`, none after it left.

        `shared` has their time, if it is sent, and all frames; that of seq `write.first + i` lies from
        `starts[i]` to `starts[i + 1]`.
        """
        room, first = self.room.id, write.first
        until = write.departures.get(device, self.room.durable) - first + 1
        parts: list[bytes | memoryview] = []
        copied = 0
        for seq, submission in write.submissions.get(device, ()):
            index = seq - first
            if index >= until:
                break
            if starts[index] > copied:
                parts.append(shared[copied : starts[index]])
            parts.append(pack(Accepted(room, submission, seq)))
            copied = starts[index + 1]
        if until > 0 and copied < starts[until]:
            parts.append(shared[copied : starts[until]])
        return parts


@dataclass(slots=True)
class RoomWrite:
    """What one write batch adds to one room: entries from seq `first` on, their senders, and who left."""

    channel: Channel
    first: int
    frames: list[bytes] = field(default_factory=list)
    submissions: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    departures: dict[bytes, int] = field(default_factory=dict)
    mended: set[bytes] = field(default_factory=set)

    def add(self, device: bytes, submit: Submit, seq: int) -> None:
        """Append a submission of `device` as entry `seq`."""
        self.frames.append(
            pack(Entry(submit.room, seq, device, submit.submission, submit.kind, 0, submit.payload))
        )
        own = self.submissions.get(device)
        if own is None:
            own = self.submissions[device] = []
        own.append((seq, submit.submission))

    def size_of(self, submissions: Sequence[tuple[int, int]]) -> int:
        """Return the bytes of the entries of these (seq, submission), which mostly are consecutive."""
        start, end = submissions[0][0] - self.first, submissions[-1][0] - self.first + 1
        if end - start == len(submissions):
            return sum(map(len, self.frames[start:end]))
        return sum(len(self.frames[seq - self.first]) for seq, _ in submissions)

    def depart(self, device: bytes, *, mended: bool = False) -> None:
        """Note where the stream of a device ends that leaves in this batch; `mended` if by a `Mend`."""
        memberships = self.channel.room.memberships.get(device, ())
        left = [membership.left for membership in memberships if membership.left is not None]
        if left and left[-1] >= self.first - 1:
            self.departures.setdefault(device, left[-1])
            if mended:
                self.mended.add(device)
