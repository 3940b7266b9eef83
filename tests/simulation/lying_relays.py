"""Relays that do not keep to the rules, a class for each kind of lie. Each lies to one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from clave_client.events import Inconsistency
from clave_wire.framing import FrameBuffer, pack, to_client, to_relay
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import (
    Accepted,
    Code,
    Entry,
    Invitation,
    Rejected,
    Resume,
    Resumed,
    Submit,
    ToClient,
    ToRelay,
)
from simulation import protocol
from simulation.network import Wire
from simulation.role import Role

__all__ = ["LYING_RELAYS", "LyingRelay"]


class LyingRelay(Role):
    """A relay that tells one device (`who`) something else than the others; what else is up to each class.

    It stands between the relay and the device, where it sees and changes all frames. `told` counts its lies.
    """

    acts = ("lie",)

    def begin(self) -> None:
        self.world.checks.expects_alarms = True
        self.world.checks.lied_to.add(self.who)
        self.told = 0
        self.wanted = 0
        self.chance = Random(0)  # noqa: S311
        self.world.watchers.append(self._stand_between)

    async def act(self, name: str, room: bytes, chance: Random) -> None:
        self.wanted += 1
        self.chance = chance

    def _stand_between(self, wire: Wire) -> None:
        if wire.host != self.who:
            return
        self.connected()
        wire.relay.change = _Changing(to_client.decode, self.to_client)
        seen = wire.client.change
        change = _Changing(to_relay.decode, self.to_relay)
        wire.client.change = (lambda data: change(seen(data))) if seen else change

    def _lies(self) -> bool:
        """Tell whether to lie now, and count it."""
        if not self.wanted:
            return False
        self.wanted -= 1
        self.told += 1
        self.world.note("lie", type(self).__name__, self.who)
        return True

    def connected(self) -> None:
        """Take note that the device connects anew."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        """Return what the device gets instead of `message`."""
        return (message,)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        """Return what the relay gets instead of `message`."""
        return (message,)

    def stop(self) -> None:
        self.wanted = 0

    def judge(self) -> None:
        """See that the lies were noticed (P3): somebody heard an alarm after one that changed a history."""
        checks = self.world.checks
        apart = checks.went_apart(self.world.device(self.who))
        self.world.note("judged", self.who, f"lies {self.told}, apart {apart}, noticed {checks.noticed()}")
        if self.told and apart and not checks.noticed():
            self.world.checks.fail(
                "P3", f"nobody noticed: {type(self).__name__}, {self.told} times, to {self.who}"
            )


class _Changing:
    """Bytes to bytes, with frames changed on the way."""

    def __init__(self, decode: Callable[[bytes], Any], change: Callable[[Any], Sequence[Any]]) -> None:
        self._buffer = FrameBuffer(MAX_FRAME)
        self._decode = decode
        self._change = change

    def __call__(self, data: bytes) -> bytes:
        return b"".join(
            pack(changed) for body in self._buffer.cut(data) for changed in self._change(self._decode(body))
        )


class Omit(LyingRelay):
    """Leaves an entry out."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        return () if isinstance(message, Entry) and self._lies() else (message,)


class _Renumbering(LyingRelay):
    """A relay that keeps its lie consistent: what the device numbers otherwise is translated both ways.

    `shifts` has, by room, (seq, by how much the device counts what follows it higher); `unstored` the numbers
    of the device's submissions that never reached the relay.
    """

    def begin(self) -> None:
        super().begin()
        self.shifts: dict[bytes, list[tuple[int, int]]] = {}
        self.unstored: dict[bytes, list[int]] = {}
        self.last: dict[bytes, int] = {}

    def _there(self, room: bytes, seq: int) -> int:
        """Return the device's number of an entry."""
        return max(0, seq + sum(by for at, by in self.shifts.get(room, ()) if seq > at))

    def _here(self, room: bytes, seq: int) -> int:
        """Return the last entry that the device numbers so or lower."""
        top = seq + len(self.shifts.get(room, ()))
        return next(each for each in range(top, -1, -1) if self._there(room, each) <= seq)

    def renumbered(self, message: ToClient) -> ToClient:
        """Return what the device is to get for `message`, numbered as it numbers."""
        room = getattr(message, "room", b"")
        if isinstance(message, Accepted | Rejected):
            number = message.submission
            for each in self.unstored.get(room, ()):
                number += each <= number
            message = msgspec.structs.replace(message, submission=number)
        if isinstance(message, Resumed):
            message = msgspec.structs.replace(
                message,
                handshake=self._there(room, message.handshake),
                submission=message.submission + len(self.unstored.get(room, ())),
            )
        if isinstance(message, Entry | Accepted | Resumed | Invitation):
            self.last[room] = max(self.last.get(room, 0), message.seq)
            return protocol.with_seq(message, self._there(room, message.seq))
        return message

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        return (self.renumbered(message),)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        if isinstance(message, Resume):
            return (Resume(message.id, message.room, self._here(message.room, message.after)),)
        if isinstance(message, Submit):
            gone = self.unstored.get(message.room, ())
            number = message.submission - sum(each < message.submission for each in gone)
            read = self._here(message.room, message.read)
            return (msgspec.structs.replace(message, submission=number, read=read),)
        return (message,)


class OmitAndRenumber(_Renumbering):
    """Leaves a message out and numbers all that follows as if there had been none."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry) and protocol.is_message(message) and self._lies():
            self.shifts.setdefault(message.room, []).append((message.seq - 1, -1))
            return ()
        return super().to_client(message)


class OmitChange(_Renumbering):
    """Leaves a change of the room out, and takes what the device says as if it had read it."""

    def begin(self) -> None:
        super().begin()
        self.read: dict[bytes, int] = {}

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry | Resumed):
            of_room = isinstance(message, Resumed) or not protocol.is_message(message)
            read = message.handshake if isinstance(message, Resumed) else message.seq
            if of_room:
                self.read[message.room] = max(self.read.get(message.room, 0), read)
        if isinstance(message, Entry) and not protocol.is_message(message) and self._lies():
            self.shifts.setdefault(message.room, []).append((message.seq - 1, -1))
            return ()
        return super().to_client(message)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        (moved,) = super().to_relay(message)
        if isinstance(moved, Submit) and self.shifts.get(moved.room):
            moved = msgspec.structs.replace(moved, read=max(moved.read, self.read.get(moved.room, 0)))
        return (moved,)


class Repeat(_Renumbering):
    """Brings a message a second time, as the next one."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        moved = self.renumbered(message)
        if isinstance(message, Entry) and protocol.is_message(message) and self._lies():
            self.shifts.setdefault(message.room, []).append((message.seq, 1))
            assert isinstance(moved, Entry)
            return moved, protocol.with_seq(moved, moved.seq + 1)
        return (moved,)


class Swap(LyingRelay):
    """Brings two messages that follow each other the other way round."""

    def begin(self) -> None:
        super().begin()
        self.held: Entry | None = None

    def connected(self) -> None:
        self.held = None

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        held, self.held = self.held, None
        if held is None:
            if self.wanted and isinstance(message, Entry) and protocol.is_message(message):
                self.held = message
                return ()
            return (message,)
        fits = isinstance(message, Entry) and protocol.is_message(message) and message.room == held.room
        if isinstance(message, Entry) and fits and self._lies():
            return protocol.with_seq(message, held.seq), protocol.with_seq(held, message.seq)
        return held, message


class InventAcknowledgement(_Renumbering):
    """Says that a message is stored which it never stores, and numbers what follows one higher."""

    moves = 1
    shows_late = True
    """What it acknowledges comes with the next message: who wrote by then had not seen the lie."""

    def begin(self) -> None:
        super().begin()
        self.pushed: list[ToClient] = []

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        pushed, self.pushed = self.pushed, []
        return *pushed, self.renumbered(message)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        fits = isinstance(message, Submit) and protocol.is_message(message) and message.room in self.last
        if isinstance(message, Submit) and fits and self._lies():
            last = self.last[message.room]
            seq = self._there(message.room, last) + 1
            if self.moves:
                self.shifts.setdefault(message.room, []).append((last, 1))
            self.unstored.setdefault(message.room, []).append(message.submission)
            self.pushed.append(Accepted(message.room, message.submission, seq))
            return ()
        return super().to_relay(message)


class AcknowledgeUnstored(InventAcknowledgement):
    """Says that a message is stored which it never stores, in the place of what comes next."""

    moves = 0


class RejectStored(LyingRelay):
    """Says that a message is refused which it stored."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Accepted) and self._lies():
            codes = [Code.LIMIT, Code.STALE, Code.OUT_OF_ORDER, Code.PACE, Code.STORAGE]
            return (protocol.rejection(message, self.chance.choice(codes)),)
        return (message,)


class ReverseForAll(LyingRelay):
    """Stores two messages of one sender the other way round, for everybody."""

    def begin(self) -> None:
        super().begin()
        self.held: Submit | None = None
        self.reversed: list[tuple[bytes, list[bytes]]] = []

    def judge(self) -> None:
        """See that somebody noticed at once, by the counts, who read both messages.

        Of two that were refused, and sent again in order, there is nothing to notice.
        """
        kept = [
            (room, seqs) for room, payloads in self.reversed if (seqs := self._reversed_in(room, payloads))
        ]
        if kept:
            super().judge()
        for room, seqs in kept:
            others = [each for each in self.world.members(room) if each.label != self.who]
            read = [{line.seq for line in each.session.store.history(room)} for each in others]
            checks = self.world.checks
            told = checks.heard_of(Inconsistency.ORDER)
            told |= len(checks.lied_to) > 1 and checks.noticed()  # another lie is told first
            if any(seqs <= set(lines) for lines in read) and not told:
                text = f"nobody noticed that two messages of {self.who} are reversed"
                self.world.checks.fail("P3", text)

    def _reversed_in(self, room: bytes, payloads: list[bytes]) -> set[int]:
        """Return where two messages are in the log, if the later one stands first."""
        seqs = {entry.payload: entry.seq for entry in self.world.relay.log(room) if entry.payload in payloads}
        first, second = (seqs.get(payload, 0) for payload in payloads)
        return {first, second} if first > second > 0 else set()

    def connected(self) -> None:
        self.held = None

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        held, self.held = self.held, None
        is_message = isinstance(message, Submit) and protocol.is_message(message)
        if held is None:
            if self.wanted and isinstance(message, Submit) and is_message:
                self.held = message
                return ()
            return (message,)
        follows = is_message and isinstance(message, Submit) and message.room == held.room
        if (
            isinstance(message, Submit)
            and follows
            and message.submission == held.submission + 1
            and self._lies()
        ):
            self.reversed.append((message.room, [held.payload, message.payload]))
            first = msgspec.structs.replace(message, submission=held.submission)
            return first, msgspec.structs.replace(held, submission=message.submission)
        return held, message


class MisplaceJoiner(LyingRelay):
    """Gives whoever joins another place in the log to begin at."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Invitation) and self._lies():
            return (
                protocol.with_seq(message, max(0, message.seq + self.chance.choice([-1, 1, 2, 1_000_000]))),
            )
        return (message,)


class SwapBeforeCommit(LyingRelay):
    """Brings the last two messages before a commit the other way round."""

    def begin(self) -> None:
        super().begin()
        self.held: list[Entry] = []

    def connected(self) -> None:
        self.held = []

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        held = self.held
        if isinstance(message, Entry) and protocol.is_message(message) and self.wanted:
            self.held = (
                [*held[-1:], message] if all(message.room == each.room for each in held) else [message]
            )
            return [each for each in held if each not in self.held]
        self.held = []
        if len(held) == 2 and isinstance(message, Entry) and message.room == held[0].room and self._lies():
            first, second = held
            return protocol.with_seq(second, first.seq), protocol.with_seq(first, second.seq), message
        return *held, message


class DelayForEver(LyingRelay):
    """Brings nothing more of a room that others say."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry) and (self.told or self._lies()):
            return ()
        return (message,)


LYING_RELAYS = (
    Omit,
    OmitAndRenumber,
    OmitChange,
    Repeat,
    Swap,
    InventAcknowledgement,
    AcknowledgeUnstored,
    RejectStored,
    ReverseForAll,
    MisplaceJoiner,
    SwapBeforeCommit,
    DelayForEver,
)
