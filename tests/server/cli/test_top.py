"""`clave-relay top`: rates, lines, and a table on a terminal that is left as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from clave_server.admin.gauges import Gauges
from clave_server.admin.status import DiskUse, Status, Totals
from clave_server.cli.top import rates
from commandkit import refused, run, said
from relaykit import PATIENCE_SECONDS, Participant, RawClient, RelayProcess

GAUGES = Gauges(1, 2, 3, 4, 5, 6, 7, 8, 9, storage_works=True)
STATUS = Status("1", 7, 60, [], "", "open", [], 1, 1, GAUGES, DiskUse(1, 1))


def test_rates_are_of_the_time_between_two_statuses() -> None:
    before = msgspec.structs.replace(STATUS, totals=Totals(10, 10, 100, 1000, 50, 1.0))
    after = msgspec.structs.replace(STATUS, totals=Totals(10, 12, 105, 1100, 60, 1.05))
    assert rates(before, after, 2.0) == {
        "entries/s": "2.5",
        "deliveries/s": "50.0",
        "logins/s": "1.0",
        "connections/s": "0.0",
        "flush": "5.0 ms",
    }


def test_there_are_no_rates_before_two_statuses_of_one_relay() -> None:
    other = msgspec.structs.replace(STATUS, started_at=8)
    for former in (None, other):
        assert set(rates(former, STATUS, 1.0).values()) == {"-"}
    assert rates(STATUS, STATUS, 1.0)["flush"] == "-"


async def test_elsewhere_than_on_a_terminal_it_prints_lines(data: Path) -> None:
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        lines = (await said(data, "top", "--count", "2", "--interval", "0.1")).splitlines()
        await client.close()
    first, second = lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  people 1  devices 1  .*  storage works", first)
    assert "  entries/s -  " in first
    assert "  entries/s 0.0  " in second
    refused(await asyncio.to_thread(run, data, "top"), "no relay runs")


async def test_lines_go_on_when_a_relay_comes_back_and_end_at_ctrl_c(data: Path) -> None:
    async with RelayProcess(data) as process:
        top = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clave_server", "top", "--interval", "0.1", "--data", str(data)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        lines = top.stdout
        assert lines

        async def shows(words: bytes) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while words not in (line := await lines.readline()):
                    assert line, "it goes on"

        await shows(b"  people 0")
        process.process.terminate()
        await shows(b"  no relay runs here\n")
    async with RelayProcess(data):
        await shows(b"  people 0")
        top.send_signal(signal.SIGINT)
        _, complaints = await top.communicate()
    assert (top.returncode, complaints) == (0, b"")


class Top:
    """`clave-relay top` on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, ours: int, theirs: int) -> None:
        self.process = process
        self.ours = ours
        self.theirs = theirs
        self.text = ""

    async def shows(self, words: str) -> None:
        """Wait until the screen has got `words` since the last call."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while words not in self.text:
                got = await asyncio.get_running_loop().run_in_executor(None, os.read, self.ours, 1 << 16)
                self.text += got.decode()
        self.text = self.text.partition(words)[2]


@contextlib.asynccontextmanager
async def top_of(data: Path) -> AsyncIterator[Top]:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clave_server", "top", "--interval", "0.1", "--data", str(data)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    top = Top(process, ours, theirs)
    try:
        yield top
        assert termios.tcgetattr(theirs) == before
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("end", "status"),
    [("q", 0), (signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
async def test_a_terminal_is_left_as_it_was(data: Path, end: str | signal.Signals, status: int) -> None:
    async with RelayProcess(data), top_of(data) as top:
        await top.shows("\x1b[?1049h")
        await top.shows("q ends this")
        await top.shows("entries/s             0.0")
        if isinstance(end, str):
            os.write(top.ours, end.encode())
        else:
            top.process.send_signal(end)
        await top.shows("\x1b[?25h\x1b[?1049l")
        assert await top.process.wait() == status
        assert "Aborted" not in top.text


async def test_a_relay_that_comes_back_is_shown_again(data: Path) -> None:
    async with RelayProcess(data) as process, top_of(data) as top:
        await top.shows("q ends this")
        process.process.terminate()
        await top.shows("no relay runs")
        async with RelayProcess(data):
            await top.shows("up 0 s")
            os.write(top.ours, b"q")
            await top.shows("\x1b[?1049l")
            assert await top.process.wait() == 0
