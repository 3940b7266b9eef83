"""The story of a room of thirty: what post-quantum keys weigh, and that the relay's limits hold it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clave_client import events
from clave_client.rooms.suites import NEW_ROOMS
from clave_wire.limits import MAX_KEY_PACKAGE_BYTES, MAX_PAYLOAD_BYTES
from clave_wire.messages import Kind
from scenarios.stage import agree, people_at, relay_at
from scenarios.test_secrets import everything_stored

GUESTS = 29


async def test_a_room_of_thirty_adds_and_removes_within_the_limits(tmp_path: Path) -> None:
    names = [f"guest{number}" for number in range(GUESTS)]
    async with (
        relay_at(tmp_path / "relay", "--mirror", "off", "--max-clients-per-ip", "100") as relay,
        people_at(relay, tmp_path / "home", "host", *names) as (host, *guests),
    ):
        room = (await host.client.create_room("everybody")).id
        for guest in guests:
            await host.client.invite(room, guest.name)
        for guest in guests:
            await guest.sees(events.Invited)
        await asyncio.gather(*(guest.client.accept(room) for guest in guests))
        await agree(room, host, *guests)
        info = guests[-1].client.info(room)
        assert (info.people, info.suite) == (GUESTS + 1, NEW_ROOMS.id)
        await guests[7].client.send(room, "all of us")
        for person in (host, *guests[:7], *guests[8:]):
            await person.reads("all of us")
        removed, *rest = guests
        await host.client.remove(room, removed.name)
        await removed.sees(events.RoomClosed)
        await guests[-1].client.invite(room, removed.name)
        await agree(room, host, *rest)
        await host.client.send(room, "thirty again")
        for person in rest:
            await person.reads("thirty again")
        stored = everything_stored(relay.data)
        commits = [len(entry.payload) for entry in stored if entry.kind in (Kind.COMMIT, Kind.REKEY)]
        assert len(commits) == GUESTS + 2
        # A member that never committed costs every commit one ciphertext of about 1.2 KB.
        assert max(commits) < 1300 * (GUESTS + 1) + 10_000 < MAX_PAYLOAD_BYTES
        fresh = host.client.sync.account.key_packages(NEW_ROOMS, 0, host.client.sync.clock())
        assert fresh is not None
        assert 2000 < max(map(len, fresh[0])) < MAX_KEY_PACKAGE_BYTES
