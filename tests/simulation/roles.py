"""The adversaries: members, former members and relays that do not keep to the rules.

They can be combined. A role has `acts`, which a story calls by name, each with a chance of its own, so that
one can be left out without changing the others. It begins before the story and stops when faults stop; then
`judge` looks at what came of it. What insiders send is in `attacks`, what relays do in `lying_relays`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from clave_client.rooms.stored_room import InFlight
from clave_client.values import Phase
from clave_crypto.mls import Application, Group, GroupState, MLSError
from clave_wire.errors import RemoteError
from clave_wire.messages import Entry, Kind, Submit, ToClient, ToRelay
from simulation import attacks, protocol
from simulation.lying_relays import LYING_RELAYS
from simulation.role import Role

if TYPE_CHECKING:
    from simulation.device import Device

__all__ = ["ROLES", "ExMember", "Insider"]


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
                    held.in_flight.setdefault(message.submission, InFlight(message.kind, message.payload))
        for message in messages:
            self.world.note("attack", device.label, what, getattr(message, "kind", type(message).__name__))
            device.session.transport.send(message)

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
                device.session.transport.send(message)

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
                unaware = {*self._own(), *self.world.checks.lied_to}  # may not have seen the removal
                if isinstance(received, Application) and entry.seq > gone and by not in unaware:
                    self.world.checks.fail("I6", f"{label} was removed at {gone} and reads entry {entry.seq}")

    def _own(self) -> list[str]:
        return [device.label for device in self.devices]


ROLES: dict[str, type[Role]] = {role.__name__: role for role in (Insider, Lurer, ExMember, *LYING_RELAYS)}
