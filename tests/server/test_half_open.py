"""A peer whose network is gone without a word: the relay finds out by itself, within half a minute.

It takes that long: keep-alive probes are the kernel's, and so is their clock.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import relaykit
from clave_wire import messages as m
from relaykit import running_relay

FOUND_SECONDS = 30.0
HOST, AWAY = "10.213.7.1", "10.213.7.2"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180)]

GREEN = f"""
import asyncio
import relaykit
from relaykit import Participant, RawClient

relaykit.PATIENCE_SECONDS = 600

async def main():
    client = await RawClient.connect(int(input()), host={HOST!r})
    await client.log_in(Participant("green"))
    print(client.participant.device.hex(), flush=True)
    invitation = await client.receive()
    await client.resume(invitation.seq)
    while True:  # reads on, and is cut off
        print(await client.receive(), flush=True)

asyncio.run(main())
"""
"""What runs in the other network: a client that says nothing once it is in the room."""

_numbers = itertools.count()


def ip(words: str) -> None:
    subprocess.run(["/usr/sbin/ip", *words.split()], check=True, capture_output=True)


@pytest.fixture
def away() -> Iterator[str]:
    """Make a network namespace joined to this one by a cable; only root may."""
    name = f"clave-{os.getpid()}-{next(_numbers)}"
    cable = f"cl{os.getpid() % 10**6}n{next(_numbers)}"
    try:
        ip(f"netns add {name}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make a network to cut, with iproute2")
    try:
        ip(f"link add {cable} type veth peer name eth0 netns {name}")
        ip(f"addr add {HOST}/30 dev {cable}")
        ip(f"link set {cable} up")
        ip(f"-n {name} addr add {AWAY}/30 dev eth0")
        ip(f"-n {name} link set eth0 up")
        yield name
    finally:
        ip(f"netns del {name}")  # and the cable with it


@pytest.mark.parametrize("talking", [False, True], ids=["idle", "with data on its way"])
async def test_a_half_open_connection_is_found(
    tmp_path: Path, away: str, monkeypatch: pytest.MonkeyPatch, *, talking: bool
) -> None:
    monkeypatch.setattr(relaykit, "PATIENCE_SECONDS", 2 * FOUND_SECONDS)
    async with running_relay(tmp_path, host=HOST) as relay:
        red, _ = await relay.room_of("red", "blue")
        green = await asyncio.create_subprocess_exec(
            *("/usr/sbin/ip", "netns", "exec", away, sys.executable, "-c", GREEN),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert green.stdin
        assert green.stdout
        try:
            green.stdin.write(b"%d\n" % relay.port)
            device = bytes.fromhex((await green.stdout.readline()).decode())
            await red.submit(red.entry(b"c", epoch=1, kind=m.Kind.COMMIT, add=(device,), welcome=b"w"))
            assert (await red.next_presence()).online
            ip(f"-n {away} link set eth0 down")
            start = time.monotonic()
            if talking:
                for _ in range(20):
                    await red.say(bytes(100_000), epoch=2)
            gone = await red.next_presence()
            took = time.monotonic() - start
            print(f"found after {took:.1f} s")  # noqa: T201  (the soak's result)
            assert (gone.name, gone.online, gone.text) == ("green", False, "connection lost")
            assert took < FOUND_SECONDS
            assert len(relay.relay.transports) == 2
            await red.say(b"on", epoch=2)
        finally:
            green.kill()
            await green.communicate()
