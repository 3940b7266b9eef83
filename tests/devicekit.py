"""Several devices of one account, as whole clients at the relay in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from clave_client.client import Client
from clave_client.device_joining import DeviceJoin, JoinedAccount
from clave_client.net.pairing_code import PairingCode
from clave_client.store.profile import Profile
from clave_client.testing import MemoryRelay
from clave_client.values import DeviceInfo, DeviceOffer

SECONDS = 10


async def sees(client: Client, condition: Callable[[], bool]) -> None:
    """Wait until something holds at a client."""
    async with asyncio.timeout(SECONDS):
        await client.sync.wait_for(condition)


class Newcomer:
    """A machine that becomes a device; `words` are those that it shows."""

    def __init__(self, relay: MemoryRelay, home: Path, code: str, name: str) -> None:
        self.words: tuple[str, ...] = ()
        self._shown = asyncio.Event()
        join = DeviceJoin(
            PairingCode.parse(code),
            home,
            name,
            show=self._show,
            quiet=0.0,
            clock=relay.clock,
            connect=relay.connect,
        )
        self.task: asyncio.Task[JoinedAccount] = asyncio.create_task(join.run())

    async def _show(self, words: tuple[str, ...]) -> None:
        self.words = words
        self._shown.set()

    async def shown(self) -> tuple[str, ...]:
        async with asyncio.timeout(SECONDS):
            await self._shown.wait()
        return self.words


async def add_device(relay: MemoryRelay, primary: Client, home: Path, name: str) -> DeviceInfo:
    """Have a primary device add another one, whose profile is under `home`."""
    async with asyncio.timeout(SECONDS):
        info = await primary.open_pairing()
        newcomer = Newcomer(relay, home, info.code, name)
        offer: DeviceOffer = await primary.pairing_offer(info.pairing)
        assert (offer.name, offer.words) == (name, await newcomer.shown())
        added = await primary.finish_pairing(info.pairing, same=True)
        assert (await newcomer.task).name == primary.name
    assert added is not None
    return added


@asynccontextmanager
async def device_at(relay: MemoryRelay, home: Path, name: str) -> AsyncIterator[Client]:
    """Enter a client on the profile `name` under `home`."""
    with Profile(home, name) as profile:
        async with Client(profile, clock=relay.clock, connect=relay.connect) as client:
            yield client


def devices_in(client: Client, room: bytes) -> set[str]:
    """Return the devices in a room as a client knows it, each as NAME/DEVICE."""
    people = client.sync.rooms[room].roster.people().values()
    return {f"{each.name}/{each.device_name}" for each in people}


async def room_of(first: Client, *others: Client, title: str = "friends") -> bytes:
    """Have a client make a room and others accept to be in it; return its id."""
    room = (await first.create_room(title)).id
    for other in others:
        await first.invite(room, other.name)
        await sees(other, lambda other=other: room in {each.id for each in other.invitations()})  # type: ignore[misc]
        await other.accept(room)
    return room


def is_here(client: Client, other: Client) -> Callable[[], bool]:
    """Return whether a client has heard another device of its account."""
    return lambda: other.sync.own_device in client.sync.devices.siblings.online
