"""A loaded room and the sessions that have it open: fan-out and presence. Knows no disk."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from clave_server.net.send_queue import SendQueue
from clave_server.rooms.room_state import NO_LONGER_MEMBER, Room
from clave_server.rooms.session import Session, Stream
from clave_wire.framing import pack
from clave_wire.messages import Accepted, Code, Entry, Presence, Refused, Submit

__all__ = ["MAX_PRESENCE_MEMBERS", "Channel", "RoomWrite"]

MAX_PRESENCE_MEMBERS: Final = 1000
"""Members of a room above which nobody is told who is online: that would outweigh what is said."""


class Channel:
    """One room and its open streams; the live ones have been sent every durable entry."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.streams: dict[bytes, Stream] = {}
        self._live: dict[bytes, SendQueue] = {}

    def start(self, stream: Stream, cursor: int, end: int | None) -> None:
        """Begin a stream after `cursor` and tell its session and the others of each other."""
        session = stream.session
        stream.cursor, stream.end, stream.started = cursor, end, True
        self.streams[session.device] = stream
        if end is None:
            self._announce(session, online=True, text="")
            self.settle(stream)

    def settle(self, stream: Stream) -> bool:
        """Return whether the stream has nothing left to catch up with; it is live or over from then on."""
        if stream.end is not None:
            if stream.cursor >= stream.end:
                self._finish(stream)
                return True
        elif stream.cursor >= self.room.durable:
            stream.live = True
            self._live[stream.session.device] = stream.session.send_queue
            return True
        return False

    def is_live(self, device: bytes) -> bool:
        """Whether a device is sent every durable entry."""
        return device in self._live

    def revive(self, stream: Stream) -> None:
        """Continue a stream that was to end, its device being a member again."""
        stream.over, stream.end, stream.mended = False, None, False
        self.streams[stream.session.device] = stream

    def close(self, stream: Stream, text: str) -> None:
        """Drop a stream; `text` tells the others how its session went."""
        if self.streams.get(stream.session.device) is stream:
            self._end(stream)
            if stream.end is None:
                self._announce(stream.session, online=False, text=text)

    def _finish(self, stream: Stream) -> None:
        """End a stream that has brought all it was to bring."""
        self._end(stream)
        if stream.mended:
            stream.session.send(Refused(stream.request, Code.NOT_MEMBER, NO_LONGER_MEMBER))

    def _end(self, stream: Stream) -> None:
        device = stream.session.device
        stream.live, stream.over = False, True
        self.streams.pop(device, None)
        self._live.pop(device, None)

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
        return pack(Presence(self.room.room, session.device, session.name, online, text))

    def fan_out(self, draft: RoomWrite) -> int:
        """Send a durable draft to everyone live, and its own acknowledgements to each sender.

        Returns how many entries were delivered, in all.
        """
        deliveries = len(draft.frames) * len(self._live)
        if draft.frames:
            shared = b"".join(draft.frames)
            senders, departures = draft.submissions, draft.departures
            ends = list(itertools.accumulate(map(len, draft.frames)))
            view = memoryview(shared)
            for device, send_queue in self._live.items():
                if device in senders or device in departures:
                    deliveries -= len(senders.get(device, ()))
                    send_queue.push_parts(self._own_view(draft, device, view, ends))
                else:
                    send_queue.push(shared)
        for device, seq in draft.departures.items():
            stream = self.streams.get(device)
            if stream is not None:
                stream.end, stream.mended = seq, device in draft.mended
                if stream.live:
                    stream.cursor = seq
                    self._finish(stream)
        return deliveries

    def _own_view(
        self, draft: RoomWrite, device: bytes, shared: memoryview, ends: list[int]
    ) -> list[bytes | memoryview]:
        """Return the draft's entries as `device` gets them: its own as `Accepted`, none after it left.

        `shared` has all of them, the one with seq `draft.first + i` up to `ends[i]`.
        """
        room, first = self.room.room, draft.first
        until = draft.departures.get(device, self.room.durable) - first + 1
        parts: list[bytes | memoryview] = []
        told = 0
        for seq, submission in draft.submissions.get(device, ()):
            index = seq - first
            if index >= until:
                break
            start = ends[index - 1] if index else 0
            if start > told:
                parts.append(shared[told:start])
            parts.append(pack(Accepted(room, submission, seq)))
            told = ends[index]
        if until > 0 and told < ends[until - 1]:
            parts.append(shared[told : ends[until - 1]])
        return parts


@dataclass(slots=True)
class RoomWrite:
    """What one flush adds to one room: entries from seq `first` on, who sent which, and who left where."""

    channel: Channel
    first: int
    frames: list[bytes] = field(default_factory=list)
    submissions: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    departures: dict[bytes, int] = field(default_factory=dict)
    mended: set[bytes] = field(default_factory=set)

    def add(self, device: bytes, submit: Submit, seq: int) -> None:
        """Append what `device` submitted as entry `seq`."""
        self.frames.append(
            pack(Entry(submit.room, seq, device, submit.submission, submit.kind, 0, submit.payload))
        )
        own = self.submissions.get(device)
        if own is None:
            own = self.submissions[device] = []
        own.append((seq, submit.submission))

    def size_of(self, submissions: Sequence[tuple[int, int]]) -> int:
        """Return the bytes of some of these entries, which are mostly next to each other."""
        start, end = submissions[0][0] - self.first, submissions[-1][0] - self.first + 1
        if end - start == len(submissions):
            return sum(map(len, self.frames[start:end]))
        return sum(len(self.frames[seq - self.first]) for seq, _ in submissions)

    def depart(self, device: bytes, *, mended: bool = False) -> None:
        """Note where a removed device's stream ends, if it was a member just now, and if by a `Mend`."""
        stays = self.channel.room.stays.get(device)
        left = [stay.left for stay in stays or () if stay.left is not None]
        if left and left[-1] >= self.first - 1:
            self.departures.setdefault(device, left[-1])
            if mended:
                self.mended.add(device)
