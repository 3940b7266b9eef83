"""Profiles with many rooms, made at a real relay by the client's own library, and the relay to meet again.

All of it is in one folder. Nobody but the profile measured is ever online, so its rooms are quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from clave_client import Client, Profile
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import Account
from clave_crypto.mls import Add

__all__ = ["MEMBERS", "Relay", "first_room", "make_profiles", "profile_name"]

MEMBERS = 10
"""Members of each room, the profile's own device included."""

_START_SECONDS = 30.0
_NO_LIMITS = ["--address-rate", "0", "--account-rate", "0", "--new-names-per-hour", "1000000"]


class Relay:
    """A relay on one loopback port, whose data are in `folder`; it can be started again and again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it. Raises `RuntimeError` when it does not start."""
        options = ["--listen", self.address, "--data", str(self._folder), "--mirror", "off", *_NO_LIMITS]
        relay = subprocess.Popen(  # noqa: S603 (this very interpreter)
            [sys.executable, "-m", "clave_server", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait(relay)
            yield
        finally:
            relay.send_signal(signal.SIGTERM)
            relay.wait(_START_SECONDS)

    def _wait(self, relay: subprocess.Popen[bytes]) -> None:
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + _START_SECONDS
        while relay.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
                return
            time.sleep(0.05)
        raise RuntimeError("the relay does not start")


def profile_name(rooms: int) -> str:
    """Return the name of the profile with so many rooms."""
    return f"red-{rooms}"


def first_room() -> str:
    """Return the title of the room that is entered at the start."""
    return "room 1"


def make_profiles(home: Path, relay: Relay, counts: Sequence[int]) -> None:
    """Make a profile for each count of rooms, at a relay that runs."""
    for rooms in counts:
        asyncio.run(_make_profile(home, relay, rooms))


async def _make_profile(home: Path, relay: Relay, rooms: int) -> None:
    """Register a profile and make its rooms, each with the same nine others in one commit."""
    others = [await _register(home, relay, f"member-{rooms}-{number}") for number in range(MEMBERS - 1)]
    with Profile(home, profile_name(rooms)) as profile:
        async with Client(profile, relay.address) as client:
            for number in range(rooms):
                room = await client.create_room(first_room() if number == 0 else f"room {number + 1}")
                adds = _adds(others)
                await client.sync.commit(room.id, partial(_propose, adds))
                await room.send("hello")


async def _register(home: Path, relay: Relay, name: str) -> Account:
    """Register somebody, who is never online again; return the account with its keys in memory."""
    with Profile(home, name) as profile:
        async with Client(profile, relay.address) as client:
            return client.sync.account


def _propose(adds: Sequence[Add], _room: LocalRoom) -> Sequence[Add]:
    return adds


def _adds(others: Sequence[Account]) -> list[Add]:
    now = time.time()
    return [Add(other.make_bundle(NEW_ROOMS, now).key_package) for other in others]
