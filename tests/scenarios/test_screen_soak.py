"""A long evening at the full screen: thousands of messages, rooms, side screens, sizes; memory stays flat."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from scenarios.fullscreen import CTRL_Q, ESCAPE, F1, alt, is_open, ready, said, two_friends, until_pressed
from scenarios.stage import Somebody
from scenarios.terminal import Terminal

MINUTES = float(os.environ.get("CLAVE_SOAK_MINUTES", "10"))
GROWTH = 1.08
"""How much larger the median of the last third of the run may be than that of the one before."""

_BURST = 25
_PAGE_UP, _PAGE_DOWN, _CTRL_END = "\x1b[5~", "\x1b[6~", "\x1b[1;5F"
_SIDES = ((F1, "Esc close"), (alt("s"), "Search"), (alt("o"), "Settings"), (alt("n"), "Invite"))
_SIZES = ((100, 40), (40, 15), (160, 50), (80, 24), (20, 6), (100, 40))


def resident(pid: int) -> int:
    """Return the memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


async def _round(number: int, red: Terminal, blue: Somebody, rooms: tuple[bytes, bytes]) -> int:
    """Do one round of what people do; return how many messages were said."""
    here = number % 2
    for each in range(_BURST):
        room = rooms[here if each % 5 else 1 - here]
        await blue.client.send(
            room, f"{number}.{each} " + "word \u4e16\u754c \U0001f469\u200d\U0001f4bb " * (each % 7)
        )
    title = ("friends", "second")[here]
    await until_pressed(red, alt(str(here + 1)), lambda: f"> {title}" in red.text)
    red.press(f"own {number}\r")
    await blue.reads(f"own {number}")
    await red.until(lambda: f"own {number}" in said(red), f"own {number}")
    for key in [_PAGE_UP] * 6 + [_PAGE_DOWN] * 2:
        red.press(key)
    red.press(_CTRL_END)
    key, words = _SIDES[number % len(_SIDES)]
    red.press(key)
    await red.shows(words)
    await until_pressed(red, ESCAPE, lambda: not is_open(red))
    if number % 5 == 0:
        for columns, rows in _SIZES:
            red.resize(columns, rows)
            await blue.client.send(rooms[here], f"at {columns}x{rows}")
        await red.shows("online")
    red.written = b""
    return _BURST + 1


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.timeout(MINUTES * 60 + 300)
async def test_the_memory_of_a_window_stays_flat(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        second = (await there.blue.client.create_room("second")).id
        await there.blue.client.invite(second, "red")
        await red.shows("invites you to second")
        red.press("/accept second\r")
        await ready(red, "second")
        samples, count, end = [], 0, time.monotonic() + MINUTES * 60
        for number in itertools.count():
            count += await _round(number, red, there.blue, (there.room, second))
            there.blue.happened.clear()
            there.blue._taken = 0
            samples.append(resident(red.pid))
            if time.monotonic() >= end and len(samples) >= 6:
                break
        third = len(samples) // 3
        first, middle, last = (median(samples[n * third : (n + 1) * third]) for n in range(3))
        told = (
            f"{count} messages, {len(samples)} rounds; KiB by thirds: {first:.0f}, {middle:.0f}, {last:.0f}"
        )
        print(told, samples[:: max(1, len(samples) // 40)])  # noqa: T201  (the numbers are what the reader asks)
        red.press(CTRL_Q)
        assert await red.ended() == 0
        assert last <= middle * GROWTH, told
