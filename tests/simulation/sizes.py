"""What grows at the relay and at clients, and how far it may (I7, P6). Knows no story, no roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.device import Device
    from simulation.world import World

__all__ = ["oversized"]


def oversized(world: World) -> Iterator[str]:
    """Yield in words what is larger than it may ever be."""
    bounds = _at_relay(world)
    for device in world.honest():
        if device.client is not None:
            bounds.update(_at_client(device))
    for what, (size, bound) in bounds.items():
        if size > bound:
            yield f"{what}: {size}, more than {bound}"


def _at_relay(world: World) -> dict[str, tuple[int, int]]:
    sequencer, transports = world.relay.sequencer, world.relay.transports
    return {
        "requests that wait at the relay": (sequencer.waiting, 5000),
        "bytes that wait at the relay": (sequencer._queued, 16 * 2**20),
        "rooms open at the relay": (sequencer.rooms_open, 50),
        "bytes of unfinished frames": (transports.buffered_bytes, 64 * 2**20),
        **{f"bytes for {each.name}": (each.send_queue.size, 8 * 2**20 + 2**18) for each in transports},
    }


def _at_client(device: Device) -> dict[str, tuple[int, int]]:
    session, store = device.session, device.session.store
    told = sum(len(reader.log.report.reported) for reader in session.readers.values())
    bounds = {
        f"events of {device}": (session.events.waiting, 2000),
        f"waiters of {device}": (len(session.waiters), 100),
        f"senders told of by {device}": (told, 4000),
        f"rejoin requests heard by {device}": (len(session.rejoin.requests), 1000),
    }
    for room in session.rooms.values():
        accounts = len(room.roster.accounts)
        for table, bound in (("waiting", 257 * accounts), ("counts", 1000), ("chain", 20_000)):
            sql = f"SELECT count(*) FROM {table} WHERE room = ?"  # noqa: S608 (constant names)
            ((count,),) = store.rows(sql, room.id)
            assert isinstance(count, int)
            bounds[f"rows of {table} at {device}"] = count, bound
    return bounds
