"""After a flush: acknowledge senders, fan out entries, wake invitees, show mirror lines. Knows no disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clave_server.errors import Refusal, ServerError
from clave_server.limits.quotas import Usage
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import EntryRecord, Mirror
from clave_server.rooms.catchup import CatchUp
from clave_server.rooms.channel import Channel
from clave_server.rooms.session import Session
from clave_server.rooms.write_batch import WriteBatch
from clave_wire.messages import Code, CreateRoom, Done, Mend, Refused, Rejected, Resume, Submit

__all__ = ["NOT_WRITTEN", "Publisher", "refusal"]

NOT_WRITTEN: Final = "the relay could not write to its disk; nothing was changed, try again later"


Answered = CreateRoom | Resume | Submit | Mend
"""Room messages that have an answer."""


class Publisher:
    """Publishes write batches that are on disk and refuses those that are not.

    `save` is called with a usage that has enough unsaved bytes, or whose session is over.
    """

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

    def refuse(self, batch: WriteBatch) -> None:
        """Roll back what was staged and refuse it to its senders."""
        for channel in batch.touched.values():
            channel.room.roll_back()
        senders = batch.senders
        for key, write in batch.writes.items():
            for device, submissions in write.submissions.items():
                for _, submission in submissions:
                    senders[device].send(Rejected(key, submission, Code.STORAGE, NOT_WRITTEN))
        for session, message in batch.answers:
            session.send(Refused(message.id, Code.STORAGE, NOT_WRITTEN))

    def publish(self, batch: WriteBatch) -> None:
        """Confirm what was staged, acknowledge it and fan it out."""
        for key, channel in batch.touched.items():
            channel.room.keep_staged(saved=key in batch.saved)
        for session, message in batch.answers:
            session.send(Done(message.id))
        senders, entries = batch.senders, 0
        for key, write in batch.writes.items():
            for device, submissions in write.submissions.items():
                sender = senders[device]
                if sender.usage.add(write.size_of(submissions)) or sender.over:
                    self._save(sender.usage)
                if not write.channel.is_live(device):
                    self._acknowledge(key, device, batch.at, submissions)
            entries += len(write.frames)
            self._counters.deliveries += write.channel.fan_out(write, batch.at)
        for _, _, _, device, welcome, _ in batch.changes.welcomes:  # on disk they are counted already
            senders[device].usage.stored += len(welcome)
        for usage, size in batch.offers:
            usage.stored += size
        for key, devices in batch.readmitted.items():
            self._reopen(key, devices)
        for device in batch.invited:
            if device in self._sessions:
                self._sessions[device].wake_invitations()
        if entries:
            self._counters.entries += entries
            self._counters.mirror_summed += entries - len(batch.shown)
            self._mirror.show_entries(
                [
                    EntryRecord(by.name, by.address, room, seq, kind, size, tail)
                    for by, room, seq, kind, size, tail in batch.shown
                ],
                entries - len(batch.shown),
            )

    def acknowledge_again(self, channel: Channel, session: Session, submission: int, seq: int) -> None:
        """Repeat `Accepted`, unless the batch being written or catch-up will send it."""
        stream = session.streams.get(channel.room.id)
        if stream is not None and not stream.live and not stream.over:
            is_sent = stream.started and stream.cursor >= seq
        else:
            is_sent = seq <= channel.room.durable
        if is_sent:
            session.acknowledge(channel.room.id, 0, (seq, submission))

    def _acknowledge(
        self, key: bytes, device: bytes, at: int, submissions: Iterable[tuple[int, int]]
    ) -> None:
        """Send `Accepted` to a sender without an open stream of the room; to others fan-out sends it."""
        sender = self._sessions.get(device)
        stream = sender and sender.streams.get(key)
        if sender is not None and (stream is None or stream.over):
            sender.acknowledge(key, at, *submissions)

    def _reopen(self, key: bytes, devices: Iterable[bytes]) -> None:
        """Continue the streams of devices that are members again where they ended."""
        channel = self._channels[key]
        for device in devices:
            session = self._sessions.get(device)
            stream = session and session.streams.get(key)
            if stream and stream.end is not None and device in channel.room.members:
                channel.reopen(stream)
                self._catch_up.advance(stream.session)


def refusal(message: Answered, error: ServerError) -> Rejected | Refused:
    """Return the answer to a room message that failed; a failure of the disk has `Code.STORAGE`."""
    code = error.code if isinstance(error, Refusal) else Code.STORAGE
    if isinstance(message, Submit):
        return Rejected(message.room, message.submission, code, str(error))
    return Refused(message.id, code, str(error))
