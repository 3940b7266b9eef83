"""Measures how long a new device takes from the user's yes until it is in the last of many rooms.

Each room has another account's device in it. All devices and a real relay run on this machine; the clients
share one process. Prints a line for each stage.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
from pathlib import Path

from bench.client.population import Relay
from clave_client.client import Client
from clave_client.device_joining import DeviceJoin
from clave_client.net.pairing_code import PairingCode
from clave_client.store.profile import Profile
from clave_client.values import Phase

__all__ = ["measure"]


async def measure(rooms: int) -> None:
    """Pair a device and print how long its rooms took."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        await _measure(Path(folder), Relay(Path(folder) / "relay", port), rooms)


async def _measure(folder: Path, relay: Relay, rooms: int) -> None:
    with relay.running():
        home, other = folder / "home", folder / "other"
        with Profile(home, "red") as profile, Profile(home, "blue") as friend:
            async with Client(profile, relay.address) as red, Client(friend, relay.address) as blue:
                await _fill(red, blue, rooms)
                began = time.perf_counter()
                info = await red.open_pairing()
                joining = DeviceJoin(PairingCode.parse(info.code), other, "laptop", show=_shown, quiet=5.0)
                task = asyncio.create_task(joining.run())
                await red.pairing_offer(info.pairing)
                compared = time.perf_counter()
                print(f"from the code to the words: {compared - began:.2f} s")
                await red.finish_pairing(info.pairing, same=True)
                paired = time.perf_counter()
                print(f"from yes to a device:       {paired - compared:.2f} s")
                await red.wait_devices()
                added = time.perf_counter()
                print(f"added to {rooms} rooms:          {added - paired:.2f} s")
                joined = await task
                spent = time.perf_counter() - paired - 5.0
                print(f"in the last of them:        {spent:.2f} s, {joined.rooms} rooms")


async def _shown(_: tuple[str, ...]) -> None:
    """Compare no words, as nobody stands between."""


async def _fill(red: Client, blue: Client, rooms: int) -> None:
    """Make rooms with both in them."""
    for number in range(rooms):
        room = (await red.create_room(f"room {number}")).id
        await red.invite(room, "blue")
        await blue.sync.wait_for(lambda room=room: room in blue.rooms)  # type: ignore[misc]  # mypy takes no lambda with a default
        await blue.accept(room)
    await blue.sync.wait_for(lambda: all(each.phase is Phase.JOINED for each in blue.rooms.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=100)
    asyncio.run(measure(parser.parse_args().rooms))
