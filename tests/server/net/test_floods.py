"""Thousands of connections that never log in: memory stays flat, and logged-in clients can talk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from pathlib import Path
from random import Random

import pytest

from clave_wire import messages as m
from relaykit import Participant, RawClient, RelayProcess

AT_A_TIME = 300
GROWTH_BYTES = 48 * 2**20
"""Bytes that a relay may grow by: waiting connections and counters are limited."""

_RESET = struct.pack("ii", 1, 0)


def client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello()


class Flood:
    """Connections from all over 127.0.0.0/8 that never log in; each sends invalid data or nothing."""

    def __init__(self, port: int, dice: Random, patience: float) -> None:
        self.port = port
        self.ends = 0
        self.outlasted = 0
        self._patience = patience
        self._dice = dice
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def come(self, count: int) -> None:
        async with asyncio.TaskGroup() as strangers:
            for number in range(count):
                await self._slots.acquire()
                strangers.create_task(self._stranger(number))

    async def _stranger(self, number: int) -> None:
        """One time in a hundred send nothing until the relay closes; else send something and disconnect."""
        patient, words = True, b""
        if number % 100:
            patient = number % 100 == 1
            words = self._dice.choice(
                [HELLO, HELLO[:-9], HELLO[:5], b"GET / HTTP/1.1\r\n\r\n", os.urandom(300)]
            )
        stranger = socket.socket()
        try:
            stranger.setblocking(False)
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            stranger.bind((f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255 or 1}", 0))
            loop = asyncio.get_running_loop()
            await loop.sock_connect(stranger, ("127.0.0.1", self.port))
            await loop.sock_sendall(stranger, words)
            if patient:
                async with asyncio.timeout(self._patience):
                    while await loop.sock_recv(stranger, 2**16):
                        pass
            else:
                await asyncio.sleep(self._dice.random() * 0.05)
        except ConnectionError:
            pass  # one way to be turned away
        except TimeoutError:
            self.outlasted += 1
        finally:
            stranger.close()
            self._slots.release()
            self.ends += 1


async def keep_talking(red: RawClient, blue: RawClient, delays: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await red.say(b"on")
        await blue.expect(m.Entry)
        delays.append(time.perf_counter() - start)
        await asyncio.sleep(0.02)


def memory(pid: int, what: str) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


async def room_of_two(port: int) -> tuple[RawClient, RawClient]:
    red, blue = [await (await RawClient.connect(port)).log_in(Participant(name)) for name in ("red", "blue")]
    await red.create()
    await red.resume()
    added = (blue.participant.device,)
    await red.submit(red.entry(b"c", kind=m.Kind.COMMIT, add=added, welcome=b"w"))
    await blue.resume((await blue.expect(m.Invitation)).seq)
    return red, blue


async def flood(data: Path, count: int, patience: float) -> str:
    async with RelayProcess(data, "--mirror", "off") as process:
        red, blue = await room_of_two(process.port)
        strangers = Flood(process.port, Random(count), patience)  # noqa: S311  (dice, not keys)
        await strangers.come(AT_A_TIME)  # so that what is made once is there
        delays: list[float] = []
        talking = asyncio.create_task(keep_talking(red, blue, delays))
        before, start = memory(process.pid, "VmRSS"), time.perf_counter()
        await strangers.come(count)
        seconds = time.perf_counter() - start
        after, peak = memory(process.pid, "VmRSS"), memory(process.pid, "VmHWM")
        assert not talking.done()
        talking.cancel()
        newcomer = await (await RawClient.connect(process.port)).log_in(Participant("green"))
        for client in (red, blue, newcomer):
            await client.close()
    assert strangers.ends == count + AT_A_TIME
    assert not strangers.outlasted or patience < 1
    assert peak - before < GROWTH_BYTES
    delays.sort()
    return (
        f"{count} strangers in {seconds:.0f} s; memory before {before >> 20} MiB, after {after >> 20},"
        f" peak {peak >> 20}; the pair: p99 {delays[len(delays) * 99 // 100] * 1000:.0f} ms of {len(delays)}"
    )


async def test_a_thousand_connections_that_never_log_in_do_no_harm(tmp_path: Path) -> None:
    assert await flood(tmp_path / "data", 1000, patience=0.1)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_hundred_thousand_connections_that_never_log_in_do_no_harm(tmp_path: Path) -> None:
    print(await flood(tmp_path / "data", 100_000, patience=60))  # noqa: T201  (the soak's result)
