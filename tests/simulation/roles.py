"""The adversaries: members, former members and relays that do not keep to the rules.

They can be combined. A role has `acts`, which a story calls by name, each with a chance of its own, so that
one can be left out without changing the others. It begins before the story and stops when faults stop; then
`judge` looks at what came of it. What insiders send is in `attacks`, what entries look like in `protocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from clave_client.room import Flight
from clave_client.store import Phase
from clave_crypto.mls import Application, Group, GroupState, MLSError
from clave_wire.errors import RemoteError
from clave_wire.framing import FrameBuffer, pack, to_client, to_relay
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import (
    Accepted,
    Entry,
    Invitation,
    Kind,
    Resume,
    Resumed,
    Submit,
    ToClient,
    ToRelay,
)
from simulation import attacks, protocol
from simulation.network import Wire

if TYPE_CHECKING:
    from simulation.device import Device
    from simulation.world import World

__all__ = ["ROLES", "ExMember", "Insider", "LyingRelay", "Role"]


class Role:
    """Somebody who does not keep to the rules; `who` plays the role, or suffers from it."""

    acts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, world: World, who: str, number: int) -> None:
        self.world = world
        self.who = who
        self.number = number

    def begin(self) -> None:
        """Take position, before the story begins."""

    async def act(self, name: str, room: bytes, chance: Random) -> None:
        """Do one of `acts`."""

    def stop(self) -> None:
        """Do nothing any more."""

    def judge(self) -> None:
        """Look at what came of it, after everybody had time."""


class Insider(Role):
    """An account whose devices have a modified client: they send whatever they like whenever they like."""

    attacks: ClassVar[dict[str, Callable[..., list[ToRelay]]]] = attacks.ATTACKS
    acts = tuple(attacks)

    def begin(self) -> None:
        self.world.checks.judges_refusals = True
        self.world.checks.expects_alarms = True
        self.devices: list[Device] = []
        self.world.possessing.append(self._possess)

    def _possess(self, device: Device) -> None:
        if device.name == self.who:
            device.is_honest = False
            device.hears = lambda messages: self._hear(device, messages)
            self.devices.append(device)

    def _hear(self, device: Device, messages: list[ToClient]) -> list[ToClient]:
        """Vouch for whoever falls for a phantom."""
        known = attacks.phantoms.get(device.public, {})
        for message in messages:
            if isinstance(message, Entry) and protocol.head_of(message.payload) in known:
                asyncio.get_running_loop().call_soon(self._vouch, device, message)
        return messages

    def _vouch(self, device: Device, entry: Entry) -> None:
        held = device.rooms.get(entry.room)
        if entry.kind is Kind.REKEY and held is not None and held.resumed and device.session.is_online:
            self._send(device, held, attacks.submits(held, [attacks.confirm(held, entry)]), "vouch")

    async def act(self, name: str, room: bytes, chance: Random) -> None:
        here = [device for device in self.devices if room in device.rooms]
        if not here:
            return
        device = chance.choice(here)
        held = device.rooms[room]
        if device.session.is_online and held.resumed:
            self._send(device, held, self.attacks[name](self.world, device, held, chance), name)

    def _send(self, device: Device, held: Any, messages: list[ToRelay], what: str) -> None:
        """Send, with the client beneath counting it as its own."""
        with held.changing():
            for message in messages:
                if isinstance(message, Submit):
                    held.set(submission=max(held.record.submission, message.submission))
                    held.flights.setdefault(message.submission, Flight(message.kind, message.payload))
        for message in messages:
            self.world.note("attack", device.label, what, getattr(message, "kind", type(message).__name__))
            device.session.link.send(message)

    def stop(self) -> None:
        """Leave the story: P1 asks that the others can go on."""
        for device in self.devices:
            device.wanted = False
            device.crash("the insider stops")


class Lurer(Insider):
    """An insider that leads those who cannot follow, or think so, into an epoch of its own."""

    attacks: ClassVar[dict[str, Callable[..., list[ToRelay]]]] = attacks.LURES
    acts = tuple(attacks)


class ExMember(Insider):
    """Was a member, and kept its keys and its connection: it can read nothing of the rest of the log."""

    def begin(self) -> None:
        super().begin()
        self.kept: dict[tuple[str, bytes], tuple[int, GroupState]] = {}

    def _hear(self, device: Device, messages: list[ToClient]) -> list[ToClient]:
        for room_id, room in device.rooms.items():
            if room.record.phase is not Phase.CLOSED:
                self.kept[device.label, room_id] = room.record.cursor, room.group.state()
        return super()._hear(device, messages)

    async def act(self, name: str, room: bytes, chance: Random) -> None:
        outside = [
            device
            for device in self.devices
            if room not in device.rooms and device.client is not None and (device.label, room) in self.kept
        ]
        if not outside:
            await super().act(name, room, chance)
            return
        device = chance.choice(outside)
        if device.session.is_online:
            kept = self.kept[device.label, room]
            for message in attacks.from_outside(self.world, device, room, kept, chance):
                self.world.note("attack from outside", device.label, type(message).__name__)
                device.session.link.send(message)

    def judge(self) -> None:
        """Try the keys they kept on all that came after."""
        for (label, room), (cursor, state) in self.kept.items():
            gone = self.world.checks.removed_at(room, self.world.device(label).public)
            if gone is None or gone < cursor:
                continue
            group = Group.restore(state, policy=protocol.policy())
            for entry in self.world.relay.log(room):
                if entry.seq <= cursor:
                    continue
                try:
                    received = group.receive(protocol.body_of(entry))
                except (MLSError, RemoteError):
                    continue
                by = self.world.checks.label_of(entry.sender)
                if isinstance(received, Application) and entry.seq > gone and by not in self._own():
                    self.world.checks.fail("I6", f"{label} was removed at {gone} and reads entry {entry.seq}")

    def _own(self) -> list[str]:
        return [device.label for device in self.devices]


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


class OmitAndRenumber(LyingRelay):
    """Leaves a message out and numbers all that follows as if there had been none."""

    def begin(self) -> None:
        super().begin()
        self.shift: dict[bytes, list[int]] = {}

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry) and protocol.is_message(message) and self._lies():
            self.shift.setdefault(message.room, []).append(message.seq)
            return ()
        if isinstance(message, Entry | Accepted | Resumed | Invitation):
            missing = sum(seq <= message.seq for seq in self.shift.get(message.room, ()))
            return (protocol.with_seq(message, message.seq - missing),)
        return (message,)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        if isinstance(message, Resume):
            after = message.after
            for seq in sorted(self.shift.get(message.room, ())):
                after += seq <= after
            return (Resume(message.id, message.room, after),)
        return (protocol.moved(message, sorted(self.shift.get(getattr(message, "room", b""), ()))),)


class Repeat(LyingRelay):
    """Brings an entry a second time, as the next one."""

    def begin(self) -> None:
        super().begin()
        self.shift: dict[bytes, list[int]] = {}

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if not isinstance(message, Entry | Accepted | Resumed):
            return (message,)
        added = sum(seq < message.seq for seq in self.shift.get(message.room, ()))
        moved = protocol.with_seq(message, message.seq + added)
        if isinstance(message, Entry) and protocol.is_message(message) and self._lies():
            self.shift.setdefault(message.room, []).append(message.seq)
            return moved, protocol.with_seq(message, message.seq + added + 1)
        return (moved,)

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        if isinstance(message, Resume):
            added = sum(seq < message.after for seq in self.shift.get(message.room, ()))
            return (Resume(message.id, message.room, max(0, message.after - added)),)
        return (message,)


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


class InventAcknowledgement(LyingRelay):
    """Says that a message is stored which it never stores, and numbers what follows one higher."""

    def begin(self) -> None:
        super().begin()
        self.last: dict[bytes, int] = {}
        self.shift: dict[bytes, int] = {}
        self.pushed: list[ToClient] = []

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        pushed, self.pushed = self.pushed, []
        if isinstance(message, Entry | Accepted | Resumed):
            message = protocol.with_seq(message, message.seq + self.shift.get(message.room, 0))
            self.last[message.room] = max(self.last.get(message.room, 0), message.seq)
        return *pushed, message

    def to_relay(self, message: ToRelay) -> Sequence[ToRelay]:
        if (
            isinstance(message, Submit)
            and protocol.is_message(message)
            and message.room in self.last
            and self._lies()
        ):
            self.shift[message.room] = self.shift.get(message.room, 0) + 1
            self.last[message.room] += 1
            self.pushed.append(Accepted(message.room, message.submission, self.last[message.room]))
            return ()
        if isinstance(message, Resume):
            after = max(0, message.after - self.shift.get(message.room, 0))
            return (Resume(message.id, message.room, after),)
        return (message,)


class RejectStored(LyingRelay):
    """Says that a message is refused which it stored."""

    def to_client(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Accepted) and self._lies():
            return (protocol.rejection(message),)
        return (message,)


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


ROLES: dict[str, type[Role]] = {
    role.__name__: role
    for role in (
        Insider,
        Lurer,
        ExMember,
        Omit,
        OmitAndRenumber,
        Repeat,
        Swap,
        InventAcknowledgement,
        RejectStored,
        MisplaceJoiner,
        SwapBeforeCommit,
        DelayForEver,
    )
}
