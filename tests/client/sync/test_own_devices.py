"""Several devices of one account, with whole clients: pairing, rooms, removal, handing the key on."""

from __future__ import annotations

from pathlib import Path

from clave_client.testing import MemoryRelay
from devicekit import add_device, device_at, devices_in, room_of, sees


async def test_a_new_device_is_in_all_rooms_and_is_read(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        rooms = [await room_of(red, blue, title=title) for title in ("friends", "work")]
        added = await add_device(relay, red, tmp_path, "laptop")
        assert (added.name, added.is_primary, added.is_own) == ("laptop", False, False)
        async with device_at(relay, tmp_path, "red") as laptop:
            for room in rooms:
                await sees(laptop, lambda room=room: room in laptop.rooms)  # type: ignore[misc]
                await sees(laptop, lambda room=room: laptop.sync.rooms[room].may_send)  # type: ignore[misc]
                await laptop.room(room).send("from my laptop")
                await sees(blue, lambda room=room: bool(blue.history(room)))  # type: ignore[misc]
                (line,) = blue.history(room)
                assert blue.sender(line).name == "red"
                assert devices_in(blue, room) == {"red/main", "red/laptop", "blue/main"}
