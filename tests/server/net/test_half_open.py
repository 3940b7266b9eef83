"""A peer whose network fails silently: the relay closes the connection within half a minute.

The test takes that long, as the kernel sends the keep-alive probes by its own clock.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import relaykit
from clave_wire import messages as m
from relaykit import running_relay

FOUND_SECONDS = 30.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180)]

GREEN = """
import asyncio
import relaykit
from relaykit import Participant, RawClient

relaykit.PATIENCE_SECONDS = 600

async def main():
    client = await RawClient.connect(int(input()), host=input())
    await client.log_in(Participant("green"))
    print(client.participant.device.hex(), flush=True)
    invitation = await client.receive()
    await client.resume(invitation.seq)
    while True:  # reads on, and is cut off
        print(await client.receive(), flush=True)

asyncio.run(main())
"""
"""Runs in the other network: a client that sends nothing once it is in the room."""

_numbers = itertools.count()


def ip(words: str) -> None:
    subprocess.run(["/usr/sbin/ip", *words.split()], check=True, capture_output=True)


@dataclass
class RemoteNetwork:
    """Another network namespace, and this one's address on the link between them."""

    name: str
    host: str

    def cut(self) -> None:
        ip(f"-n {self.name} link set eth0 down")


@pytest.fixture
def remote_network() -> Iterator[RemoteNetwork]:
    """Make a network namespace with a link to this one; needs root."""
    number = next(_numbers)
    name, cable = f"clave-{os.getpid()}-{number}", f"cl{os.getpid() % 10**6}n{number}"
    net = f"10.213.{os.getpid() % 200 + number}"
    try:
        ip(f"netns add {name}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make a network to cut, with iproute2")
    try:
        ip(f"link add {cable} type veth peer name eth0 netns {name}")
        ip(f"addr add {net}.1/30 dev {cable}")
        ip(f"link set {cable} up")
        ip(f"-n {name} addr add {net}.2/30 dev eth0")
        ip(f"-n {name} link set eth0 up")
        yield RemoteNetwork(name, f"{net}.1")
    finally:
        ip(f"link del {cable}")
        ip(f"netns del {name}")


@pytest.mark.parametrize("talking", [False, True], ids=["idle", "with data on its way"])
async def test_a_half_open_connection_is_closed_within_half_a_minute(
    tmp_path: Path, remote_network: RemoteNetwork, monkeypatch: pytest.MonkeyPatch, *, talking: bool
) -> None:
    monkeypatch.setattr(relaykit, "PATIENCE_SECONDS", 2 * FOUND_SECONDS)
    async with running_relay(tmp_path, host=remote_network.host) as relay:
        red, _ = await relay.room_of("red", "blue")
        green = await asyncio.create_subprocess_exec(
            *("/usr/sbin/ip", "netns", "exec", remote_network.name, sys.executable, "-c", GREEN),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert green.stdin
        assert green.stdout
        try:
            green.stdin.write(f"{relay.port}\n{relay.host}\n".encode())
            device = bytes.fromhex((await green.stdout.readline()).decode())
            await red.submit(red.entry(b"c", kind=m.Kind.COMMIT, add=(device,), welcome=b"w"))
            assert (await red.next_presence()).online
            remote_network.cut()
            start = time.monotonic()
            if talking:
                for _ in range(20):
                    await red.say(bytes(100_000))
            gone = await red.next_presence()
            took = time.monotonic() - start
            print(f"found after {took:.1f} s")  # noqa: T201  (the soak's result)
            assert (gone.name, gone.online, gone.text) == ("green", False, "connection lost")
            assert took < FOUND_SECONDS
            assert len(relay.relay.transports) == 2
            await red.say(b"on")
        finally:
            green.kill()
            await green.communicate()
