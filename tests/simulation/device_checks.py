"""What has to hold of what devices store, and of the devices of an account. Knows no story, no roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client.errors import ClientError, RelayRefused
from clave_client.rooms.audit import audit_room
from clave_client.values import Phase
from clave_wire.messages import Code

if TYPE_CHECKING:
    from simulation.device import Device
    from simulation.world import World

__all__ = ["judge_devices", "judge_stores", "note_removed"]


def note_removed(device: Device, error: ClientError) -> bool:
    """Note that a device was told that its account has removed it, if somebody wanted that."""
    is_told = isinstance(error, RelayRefused) and error.code is Code.DEVICE_REMOVED
    if is_told and device.is_unwanted:
        device.is_removed = True
        device.wanted = False
    return device.is_removed


def judge_stores(world: World) -> None:
    """See that an audit of what honest devices stored finds nothing, save where a relay lied to them."""
    for device in world.honest():
        if device.label in world.checks.lied_to:
            continue
        store = device.session.store
        bad = [each.text for record in store.rooms() for each in audit_room(store, record) if not each.ok]
        if bad:
            world.checks.fail("P4", f"the audit of {device} says: {bad[0]}")


def judge_devices(world: World) -> None:
    """See at the end that an account's key is not lost, and that its devices agree on rooms and drafts."""
    if world.checks.restored or any(device.restored for device in world.devices.values()):
        return
    honest = [device for device in world.honest() if device.client is not None]
    for name in sorted({device.name for device in honest}):
        own = [device for device in honest if device.name == name]
        if not any(device.session.account.is_primary for device in own):
            world.checks.fail("P1", f"no device of {name} has the account's key")
        for device in own:
            _judge_rooms(world, device)
        _judge_drafts(world, own)


def _judge_rooms(world: World, device: Device) -> None:
    """See that no removed device is left in a room of another one."""
    for room in device.rooms.values():
        if (
            room.record.phase is not Phase.JOINED
            or room.cannot_follow
            or device.label in world.checks.lied_to
        ):
            continue
        left = [key for key in device.session.devices.known.revoked() if room.roster.has(key)]
        if left:
            labels = [world.checks.label_of(key) for key in left]
            world.checks.fail("P2", f"{labels} are removed, and still in a room with {device}")


def _judge_drafts(world: World, own: list[Device]) -> None:
    """See that the devices of an account have the same drafts, if they share a room of their own."""
    sharing = [device for device in own if device.label not in world.checks.lied_to]
    together = [
        device
        for device in sharing
        if any(
            all(room.roster.has(each.public) for each in sharing)
            for room in device.session.devices.settings.rooms
        )
    ]
    drafts = {
        tuple(sorted(device.session.store.rows("SELECT * FROM room_settings WHERE name = 'draft'")))
        for device in together
    }
    if len(together) == len(sharing) and len(drafts) > 1:
        world.checks.fail("P1", f"the devices of {own[0].name} have other drafts: {drafts}")
