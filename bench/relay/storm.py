"""The command: ten thousand people lose their relay and all come back. `make bench-storm` runs it.

Three ways: the relay is killed, is restarted cleanly, or stays while everybody's network fails at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from bench.relay.generator import Generator, LoadError
from bench.relay.population import Population
from bench.relay.servers import Relay
from bench.relay.voices import Voice, read_voices

_FOLDER: Final = Path("build/bench-storm")
_PATIENCE_SECONDS: Final = 180
_IN_A_ROOM: Final = 10

_BACK_SECONDS: Final = 60.0
_P99_SECONDS: Final = 2.0
_PEAK_GIB: Final = 1.0


@click.command()
@click.option(
    "--people", type=click.IntRange(20), default=10_000, show_default=True, help="How many come back."
)
def main(people: int) -> None:
    """Have everybody come back to a relay over TLS and print how long it takes."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    try:
        asyncio.run(_storm(people - people % _IN_A_ROOM))
    except LoadError as error:
        sys.exit(f"bench-storm: {error}")
    shutil.rmtree(_FOLDER)


async def _storm(people: int) -> None:
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}; {people} people, TLS", flush=True)
    folder = _FOLDER.resolve()
    generator = Generator.build(folder)
    rooms = [_IN_A_ROOM] * (people // _IN_A_ROOM)
    population = await asyncio.to_thread(Population.make, generator, folder, [*rooms, 2])
    voices = read_voices(population.accounts)
    relay = _Relay(folder)
    await relay.start()
    talking = [asyncio.create_task(voice.talk(relay.port)) for voice in voices]
    options = [f"--rooms={len(rooms)}", f"--members={_IN_A_ROOM}", "--returning", "--protocol=clave", "--tls"]
    options += [f"--port={relay.port}", *population.options(), f"--patience={_PATIENCE_SECONDS}"]
    phases = [f"{name}:{_PATIENCE_SECONDS}" for name in ("return", "return", "leave")]
    crowd = await asyncio.create_subprocess_exec(
        str(folder / "load"), *options, *phases, stdout=asyncio.subprocess.PIPE
    )
    try:
        _tell("all come for the first time", await _line(crowd), voices, relay.peak_gib())
        await relay.end(signal.SIGKILL)
        await relay.start()
        _tell("the relay was killed", await _line(crowd), voices, relay.peak_gib())
        await relay.end(signal.SIGTERM)
        await relay.start()
        _tell("the relay was restarted", await _line(crowd), voices, relay.peak_gib())
        _tell("everybody's network failed", await _line(crowd), voices, relay.peak_gib())
    finally:
        for task in talking:
            task.cancel()
        with contextlib.suppress(ProcessLookupError):
            crowd.kill()
        await crowd.wait()
        await relay.end(signal.SIGTERM)


def _tell(what: str, record: dict[str, Any], voices: Sequence[Voice], peak: float) -> None:
    delays = sorted(delay for voice in voices for delay in voice.delays)
    p99 = delays[len(delays) * 99 // 100] if delays else float("nan")
    verdict = record["seconds"] <= _BACK_SECONDS and p99 <= _P99_SECONDS and peak <= _PEAK_GIB
    print(
        f"{what}: all back after {record['seconds']:.1f} s (half {record.get('half_s', float('nan')):.1f});"
        f" two who talk meanwhile: p99 {p99 * 1000:.0f} ms, longest {max(delays, default=0) * 1000:.0f} ms"
        f" of {len(delays)}; peak {peak:.2f} GiB: {'reached' if verdict else 'MISSED'}",
        flush=True,
    )
    for voice in voices:
        voice.delays.clear()


async def _line(crowd: asyncio.subprocess.Process) -> dict[str, Any]:
    assert crowd.stdout  # noqa: S101 (it was asked for)
    line = await crowd.stdout.readline()
    if not line:
        raise LoadError("the load generator gave up")
    record: dict[str, Any] = json.loads(line)
    return record


class _Relay:
    """This project's relay on the population's data, at one port however often it is started."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]
        self._folder = folder
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        with (self._folder / "output").open("wb") as output, (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *Relay("relay", tls=True).command(self._folder, self.port), stdout=output, stderr=log
            )
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            if self._process.returncode is not None or time.monotonic() > end:
                raise LoadError("the relay did not start")
            await asyncio.sleep(0.02)

    async def end(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        await self._process.wait()

    def peak_gib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = (line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20


main()
