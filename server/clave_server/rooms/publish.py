"""What is said once a flush has landed, to those it came from and to everybody else. Knows no disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clave_server.limits.quotas import Usage
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import Mirror
from clave_server.rooms.catchup import CatchUp
from clave_server.rooms.channel import Channel
from clave_server.rooms.session import Session
from clave_server.rooms.write_batch import WriteBatch
from clave_wire.messages import Accepted, Code, Done, Refused, Rejected

__all__ = ["NOT_WRITTEN", "Publisher"]

NOT_WRITTEN: Final = "the relay could not write to its disk; nothing was changed, try again later"


class Publisher:
    """Publishes flights that are on disk and refuses those that are not; `save` gets a usage to be saved."""

    def __init__(
        self,
        sessions: Mapping[bytes, Session],
        channels: Mapping[bytes, Channel],
        catch_up: CatchUp,
        mirror: Mirror,
        counters: Counters,
        save: Callable[[Usage], None],
    ) -> None:
        self._sessions = sessions
        self._channels = channels
        self._catch_up = catch_up
        self._mirror = mirror
        self._counters = counters
        self._save = save

    def refuse(self, flight: WriteBatch) -> None:
        """Undo what was staged and tell whoever asked for it."""
        for channel in flight.touched.values():
            channel.room.roll_back()
        senders = flight.senders
        for key, draft in flight.drafts.items():
            for device, submissions in draft.submissions.items():
                for _, submission in submissions:
                    senders[device].send(Rejected(key, submission, Code.STORAGE, NOT_WRITTEN))
        for session, message in flight.answers:
            session.send(Refused(message.id, Code.STORAGE, NOT_WRITTEN))

    def publish(self, flight: WriteBatch) -> None:
        """Keep what was staged, acknowledge it and fan it out."""
        for key, channel in flight.touched.items():
            channel.room.settle(saved=key in flight.saved)
        for session, message in flight.answers:
            session.send(Done(message.id))
        senders, entries = flight.senders, 0
        for key, draft in flight.drafts.items():
            for device, submissions in draft.submissions.items():
                sender = senders[device]
                if sender.usage.add(draft.size_of(submissions)) or sender.over:
                    self._save(sender.usage)
                if not draft.channel.is_live(device):
                    self._acknowledge(key, device, submissions)
            entries += len(draft.frames)
            self._counters.deliveries += draft.channel.fan_out(draft)
        for _, _, _, device, welcome, _ in flight.changes.welcomes:  # counted on disk as they were written
            senders[device].usage.stored += len(welcome)
        for key, devices in flight.taken_back.items():
            self._revive(key, devices)
        for device in flight.invited:
            if device in self._sessions:
                self._sessions[device].notice_invitation()
        if entries:
            self._counters.entries += entries
            self._counters.mirror_summed += entries - len(flight.shown)
            self._mirror.show_entries(flight.shown, entries - len(flight.shown))

    def _acknowledge(self, key: bytes, device: bytes, submissions: Iterable[tuple[int, int]]) -> None:
        """Tell a sender that has no stream of the room in which it would be told."""
        sender = self._sessions.get(device)
        stream = sender and sender.streams.get(key)
        if sender is not None and (stream is None or stream.over):
            for seq, submission in submissions:
                sender.send(Accepted(key, submission, seq))

    def _revive(self, key: bytes, devices: Iterable[bytes]) -> None:
        """Let the streams of devices that are members again go on where they ended."""
        channel = self._channels[key]
        for device in devices:
            session = self._sessions.get(device)
            stream = session and session.streams.get(key)
            if stream and stream.end is not None and device in channel.room.members:
                channel.revive(stream)
                self._catch_up.advance(stream.session)
