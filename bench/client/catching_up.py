"""Measures a client that has missed messages, and one that receives them live, in bare MLS decryptions.

Each sample is a process of its own on a copy of the receiver's profile, with the bare decryption of the same
messages on one core before and after it. Prints nothing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.client.backlog import QUIET, Backlog, Writers
from bench.client.population import Relay
from bench.client.processes import OnTerminal

__all__ = ["LIVE_RATE", "Backlogs", "CatchUp", "p99"]

LIVE_RATE = 500
"""Messages a second that are received live."""

_LIVE_SECONDS = 6
_KEY = "\N{SECTION SIGN}"
_KEY_SECONDS = 0.05
_TYPING_SECONDS = 5.0
"""What is typed into the prompt, how often, and how long: for less than reading what was missed takes."""

_BARE = 4000
"""Messages decrypted for one measurement of bare decryption."""


@dataclass
class CatchUp:
    """The samples of catching up with one count of messages.

    `rates` and `live` are relative to bare decryption in the same sample: messages a second, and processor
    time a message. `delays` are how late, in seconds, the event loop was for its timers, in all samples, and
    `echoes` in how many seconds a key was shown by the prompt in another room.
    """

    rates: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    echoes: list[float] = field(default_factory=list)


class Backlogs:
    """Rooms with missed messages at a relay that runs. Make with `make`."""

    def __init__(
        self, home: Path, made: Mapping[int, tuple[Backlog, Writers]], environment: Mapping[str, str]
    ) -> None:
        self._home = home
        self._made = made
        self._environment = environment
        self.results = {count: CatchUp() for count in made}

    @classmethod
    async def make(
        cls, home: Path, relay: Relay, counts: tuple[int, ...], environment: Mapping[str, str]
    ) -> Backlogs:
        """Make a room for each count of missed messages."""
        made = {count: await Writers.make(home, relay, f"late-{count}", count) for count in counts}
        return cls(home, made, environment)

    async def measure(self, count: int, *, live: bool) -> None:
        """Take one sample; with `live` also of receiving messages as they are sent."""
        (backlog, writers), result = self._made[count], self.results[count]
        last = writers.last
        target = last + LIVE_RATE * _LIVE_SECONDS if live else 0
        home = self._copy(backlog)
        before = _bare_seconds(backlog)
        arguments = [str(home), backlog.name, backlog.room.hex(), str(last), str(target)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.client.receiver",
            *arguments,
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=2**26,
        )
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        caught_up = json.loads(await process.stdout.readline())
        bare = median((before, _bare_seconds(backlog)))
        result.bare.append(bare)
        result.rates.append(caught_up["count"] / caught_up["seconds"] * bare)
        result.delays += caught_up["delays"]
        if live:
            process.stdin.write(b"\n")
            await process.stdout.readline()
            await writers.write_evenly(target - last, LIVE_RATE)
            received = json.loads(await process.stdout.readline())
            result.live.append(received["processor"] / received["count"] / bare)
        stored = json.loads(await process.stdout.readline())["stored"]
        if stored != (target or last) - backlog.cursor:
            raise RuntimeError(f"{stored} messages are stored of {(target or last) - backlog.cursor}")
        await process.wait()
        shutil.rmtree(home)

    def _copy(self, backlog: Backlog) -> Path:
        """Return a home with a copy of the receiver's profile."""
        home = self._home.with_name(f"{self._home.name}-sample")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        (home / "profiles").mkdir(mode=0o700)
        shutil.copytree(self._home / "profiles" / backlog.name, home / "profiles" / backlog.name)
        return home

    def type_meanwhile(self, count: int) -> None:
        """Type at the prompt of `clave chat`, in a quiet room, while the missed messages are read."""
        backlog, _ = self._made[count]
        options = ["--home", str(self._copy(backlog)), "--name", backlog.name, "--room", QUIET]
        command = [sys.executable, "-m", "clave_client", "chat", *options]
        with OnTerminal(command, self._environment, rf"{QUIET}( \(offline\))?>") as process:
            end = time.monotonic() + _TYPING_SECONDS
            while time.monotonic() < end:
                seconds = process.echo_seconds(_KEY)
                if seconds is None:
                    raise RuntimeError("the prompt shows no key")
                self.results[count].echoes.append(seconds)
                time.sleep(_KEY_SECONDS)

    async def close(self) -> None:
        """Disconnect all who write."""
        for _, writers in self._made.values():
            await writers.close()


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return sorted(seconds)[len(seconds) * 99 // 100]


def _bare_seconds(backlog: Backlog) -> float:
    """Return the seconds that MLS takes to decrypt and verify one message, on one core."""
    group = backlog.restored_group()
    begin = time.perf_counter()
    for body in backlog.bodies[:_BARE]:
        group.receive(body)
    return (time.perf_counter() - begin) / min(_BARE, len(backlog.bodies))
