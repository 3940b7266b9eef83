"""The command: what is measured how often, then the table. `make bench-tui` runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import click

from bench.client.catching_up import p99
from bench.client.population import Relay
from bench.tui import measuring
from bench.tui.histories import ROOMS, Population, add_history
from bench.tui.measuring import Keys, Machine
from bench.tui.talking import NAME, RATE, talking
from bench.tui.terminal import NotShown

_KEPT: Final = Path(__file__).parents[2] / "build" / "bench-tui"
_KEPT_PORT, _LIVE_PORT = 7651, 7652

_COUNTS: Final = (10_000, 100_000, 1_000_000)
_LIVE_HISTORY: Final = 100_000

_KEY_TARGET: Final = 33.0
_OPEN_TARGET: Final = 50.0
_PAGE_TARGET: Final = 8.0
_START_TARGET: Final = 1.5
_MEMORY_TARGET: Final = 60.0
_PARTS: Final = ("keys", "rooms", "pages", "start", "memory")


@click.command()
@click.option(
    "--only", default=",".join(_PARTS), show_default=True, metavar="PART,PART", help="What to measure."
)
@click.option("--keys", "key_count", type=click.IntRange(10), default=400, show_default=True)
@click.option(
    "--times", type=click.IntRange(1), default=15, show_default=True, help="Samples of opening a room."
)
@click.option("--pages", "page_count", type=click.IntRange(10), default=120, show_default=True)
@click.option("--starts", "start_count", type=click.IntRange(1), default=9, show_default=True)
def main(only: str, key_count: int, times: int, page_count: int, start_count: int) -> None:
    """Measure the full screen on a pseudo-terminal; the profiles are kept in build/bench-tui."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the relay is stopped
    parts = only.split(",")
    if unknown := set(parts) - set(_PARTS):
        raise click.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}")
    population = Population(_KEPT, _KEPT_PORT)
    if set(parts) - {"keys"}:
        population.make(_COUNTS, lambda words: print(words, flush=True))
    with tempfile.TemporaryDirectory(prefix="clave-bench-") as folder:
        with population.relay.running():
            machine = Machine(population.home, Path(folder))
            if "start" in parts:
                _measure(lambda: _starts(machine, start_count))
            if "memory" in parts:
                _measure(lambda: _memory(machine))
            if "rooms" in parts:
                _measure(lambda: _rooms(machine, times))
            if "pages" in parts:
                _measure(lambda: _pages(machine, page_count))
        if "keys" in parts:
            _measure(lambda: _keys(Path(folder), key_count))
    print(f"\nload after: {os.getloadavg()[0]:.2f}")


def _measure(part: Callable[[], None]) -> None:
    """Measure a part; if that fails, say so and go on."""
    try:
        part()
    except NotShown as error:
        print(f"NOT MEASURED: {error}", flush=True)


def _keys(folder: Path, count: int) -> None:
    relay = Relay(folder / "relay", _LIVE_PORT)
    home = folder / "home"
    with relay.running(), talking(home, _LIVE_PORT) as talk:
        add_history(home, NAME, talk.room, _LIVE_HISTORY)
        machine = Machine(home, folder)
        _head(f"key to screen, room of {_LIVE_HISTORY} messages", "p50 ms", "p99 ms")
        for where, owner in (
            ("owner in another process", machine.owner(NAME, NAME)),
            ("in the same process", contextlib.nullcontext()),
        ):
            with owner:
                quiet = measuring.keys(machine, talk, _LIVE_HISTORY, count // 4, arriving=False)
                _print_keys(f"{where}, nothing arrives", quiet)
                found = measuring.keys(machine, talk, _LIVE_HISTORY, count, arriving=True)
                _print_keys(f"{where}, {RATE} a second", found)
                print(f"{'    drawn meanwhile, messages a second':52}{found.rate:9.0f}", flush=True)


def _print_keys(name: str, found: Keys) -> None:
    _row(name, median(found.seconds) * 1e3, p99(found.seconds) * 1e3, _KEY_TARGET)


def _rooms(machine: Machine, times: int) -> None:
    _head("open a room at its end", "p50 ms", "max ms")
    for count in _COUNTS:
        _row_of(f"{count} messages", measuring.openings(machine, count, times), _OPEN_TARGET)
    _head("go to what a search has found", "p50 ms", "max ms")
    for count in _COUNTS:
        _row_of(f"{count} messages", measuring.jumps(machine, count, times), _OPEN_TARGET)


def _pages(machine: Machine, count: int) -> None:
    found = measuring.pages(machine, _COUNTS[-1], count)
    _head(f"scroll one page, room of {_COUNTS[-1]} messages", "p50 ms", "p99 ms")
    _row("from key to screen", median(found.seconds) * 1e3, p99(found.seconds) * 1e3, _PAGE_TARGET)
    _row("processor time a page, all of the process", found.processor * 1e3, None, _PAGE_TARGET)


def _starts(machine: Machine, times: int) -> None:
    modules = measuring.save_modules(machine)
    samples = [measuring.starts(machine) for _ in range(times)]
    full, bare = (median(each) for each in zip(*samples, strict=True))
    _head(f"start to usable, {ROOMS} rooms", "ms", "in imports")
    _row(f"its {modules} modules imported, nothing else", bare * 1e3, None, None)
    _row("clave chat --screen", full * 1e3, full / bare, _START_TARGET)
    _row("modules of Textual that clave --help imports", measuring.imported_by_help(machine), None, 0)


def _memory(machine: Machine) -> None:
    full, plain = measuring.memory(machine)
    _head(f"memory, {ROOMS} rooms, in MiB", "RSS", "PSS")
    _row("clave chat, line mode", *plain, None)
    _row("clave chat --screen", *full, None)
    _row("above line mode", full[0] - plain[0], full[1] - plain[1], _MEMORY_TARGET)


def _head(what: str, first: str, second: str) -> None:
    print(f"\n{what:52}{first:>9}{second:>12}", flush=True)


def _row_of(name: str, seconds: list[float], target: float) -> None:
    _row(name, median(seconds) * 1e3, max(seconds) * 1e3, target)


def _row(name: str, first: float, second: float | None, target: float | None) -> None:
    """Print a row; the last of its numbers is judged."""
    last = first if second is None else second
    shown = "" if second is None else f"{second:.2f}"
    judged = "" if target is None else f"  <= {target:g}: {'reached' if last <= target else 'MISSED'}"
    print(f"{name:52}{first:9.1f}{shown:>12}{judged}", flush=True)


if __name__ == "__main__":
    main()
