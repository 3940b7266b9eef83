"""The command: what is measured how often, then the table. `make bench-client` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import click

from bench.client.catching_up import LIVE_RATE, Backlogs, p99
from bench.client.population import Relay, first_room, make_profiles, profile_name
from bench.client.processes import OnTerminal, imported_modules, seconds_to_end

_ROOMS = (100, 400)
_PROMPT = rf"{first_room()}( \(offline\))?>"
"""The prompt in the room that is entered at the start, whether or not it is known that the relay is away."""

_RELAY_PORT = 7649

_OWNER_SECONDS = 0.25
"""A send that takes longer was not made through a running owner."""

_HELP_TARGET = 2.0
_SEND_TARGET = 3.0
_CHAT_TARGET = 1.4
_MEMORY_TARGET = 16.0
"""MiB above the bare imports."""
_RATE_TARGETS = {10_000: 1.15, 50_000: 0.85}
"""Least rate of catching up with so many missed messages, in that of bare MLS decryption."""
_DELAY_TARGET = 0.030
"""Seconds, p99: how late the event loop is while catching up, and how long a key takes to be shown."""
_LIVE_TARGET = 3.0
"""Processor time of a message received live, in bare decryptions."""

_IMPORTED = "imported"
_IMPORT = "import importlib, pathlib, sys\nfor name in pathlib.Path(sys.argv[1]).read_text().split():\n"
_IMPORT += "    try:\n        importlib.import_module(name)\n    except ImportError:\n        pass\n"
_IMPORT += "print(sys.argv[2], flush=True)\ninput()\n"

Samples = dict[str, list[float]]


class _Bench:
    """What every measurement needs: where the profiles are, and the environment of the commands."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.relay = Relay(folder / "relay", _RELAY_PORT)
        self.modules = folder / "modules"
        # Compiled modules are kept for the run: an installed program has them too.
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "TERM": "xterm",
        }
        self.samples: Samples = defaultdict(list)
        self.ended: dict[str, str] = {}

    def command(self, name: str, *, seconds_of: list[str]) -> None:
        self.samples[name].append(seconds_to_end(seconds_of, self.environment))

    def clave(self, *words: str) -> list[str]:
        """Return a command on the profile with the fewest rooms."""
        options = ["--home", str(self.home), "--name", profile_name(_ROOMS[0])]
        return [sys.executable, "-m", "clave_client", *words[:1], *options, *words[1:]]

    @contextlib.contextmanager
    def owner(self) -> Iterator[None]:
        """Run a process that owns the profile with the fewest rooms, once it answers."""
        daemon = subprocess.Popen(self.clave("daemon"), env=self.environment)  # noqa: S603 (this very program)
        try:
            while (
                seconds_to_end(self.clave("send", first_room(), "ready"), self.environment) > _OWNER_SECONDS
            ):
                time.sleep(0.1)
            yield
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()

    def chat(self, rooms: int, relay: str) -> None:
        name = f"{rooms} rooms, relay {relay}"
        with OnTerminal(self.chat_command(rooms), self.environment, _PROMPT) as process:
            if process.seconds is not None:
                self.samples[name].append(process.seconds)
                return
        self.ended[name] = process.shown.decode(errors="replace").strip().rpartition("\n")[2]

    def chat_command(self, rooms: int) -> list[str]:
        options = ["--home", str(self.home), "--name", profile_name(rooms), "--room", first_room()]
        return [sys.executable, "-m", "clave_client", "chat", *options]

    def imports(self, relay: str) -> None:
        with OnTerminal(self.imports_command(), self.environment, _IMPORTED) as process:
            self.samples[f"imports, relay {relay}"].append(process.seconds or 0.0)

    def imports_command(self) -> list[str]:
        return [sys.executable, "-c", _IMPORT, str(self.modules), _IMPORTED]

    def memory(self, name: str, command: list[str], text: str) -> None:
        with OnTerminal(command, self.environment, text) as process:
            self.samples[name].append(process.settled_mib())


@click.command()
@click.option("--repeat", type=click.IntRange(1), default=11, show_default=True, help="Samples of each.")
@click.option(
    "--catch-up", type=click.IntRange(0), default=3, show_default=True, help="Samples of catching up."
)
@click.option("--only-catch-up", is_flag=True, help="Measure nothing else.")
def main(repeat: int, catch_up: int, only_catch_up: bool) -> None:
    """Measure how fast the commands start, what memory 400 rooms take, and how fast missed messages are read.

    Prints medians and ratios.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the relay is stopped
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}; medians of {repeat}")
    with tempfile.TemporaryDirectory(prefix="clave-bench-") as folder:
        if not only_catch_up:
            _measure_starting(_Bench(Path(folder)), repeat)
    with tempfile.TemporaryDirectory(prefix="clave-bench-") as folder:
        bench = _Bench(Path(folder))
        with bench.relay.running():
            asyncio.run(_measure_catching_up(bench, catch_up))


def _measure_starting(bench: _Bench, repeat: int) -> None:
    with bench.relay.running():
        make_profiles(bench.home, bench.relay, _ROOMS)
        bench.modules.write_text(
            "\n".join(imported_modules(bench.chat_command(_ROOMS[0]), bench.environment, _PROMPT))
        )
        _repeat(repeat, lambda: _measure_help(bench))
        with bench.owner():
            _repeat(repeat, lambda: _measure_send(bench))
        _print_help(bench.samples)
        _repeat(repeat, lambda: _measure_chat(bench, "up"))
        _measure_memory(bench)
    _repeat(repeat, lambda: _measure_chat(bench, "away"))
    _print_chat(bench)
    _print_memory(bench.samples)


def _repeat(times: int, measure: Callable[[], None]) -> None:
    """Measure everything by turns, so that other work on the machine falls on all alike."""
    for _ in range(times):
        measure()


def _measure_help(bench: _Bench) -> None:
    bench.command("import click", seconds_of=[sys.executable, "-c", "import click"])
    bench.command("clave --help", seconds_of=[sys.executable, "-m", "clave_client", "--help"])
    bench.command("clave-relay --help", seconds_of=[sys.executable, "-m", "clave_server", "--help"])


def _measure_send(bench: _Bench) -> None:
    bench.command("import click", seconds_of=[sys.executable, "-c", "import click"])
    bench.command("clave send, owner runs", seconds_of=bench.clave("send", first_room(), "hello"))


def _measure_chat(bench: _Bench, relay: str) -> None:
    bench.imports(relay)
    for rooms in _ROOMS:
        bench.chat(rooms, relay)


def _measure_memory(bench: _Bench) -> None:
    for _ in range(3):
        bench.memory("memory of imports", bench.imports_command(), _IMPORTED)
        bench.memory("memory of chat", bench.chat_command(_ROOMS[-1]), _PROMPT)


async def _measure_catching_up(bench: _Bench, repeat: int) -> None:
    """Measure and print; the rooms are made at a relay that runs."""
    backlogs = await Backlogs.make(bench.home, bench.relay, tuple(_RATE_TARGETS), bench.environment)
    for _ in range(repeat):
        for count in _RATE_TARGETS:
            await backlogs.measure(count, live=count == min(_RATE_TARGETS))
        await asyncio.to_thread(backlogs.type_meanwhile, max(_RATE_TARGETS))
    await backlogs.close()
    if repeat:
        _print_catching_up(backlogs)


def _print_catching_up(backlogs: Backlogs) -> None:
    bare = median(seconds for result in backlogs.results.values() for seconds in result.bare)
    print(f"\n{'missed messages':34}{'per second':>10}  {'in bare MLS':>14}")
    print(f"{'bare MLS decryption, one core':34}{1 / bare:10.0f}")
    for count, result in backlogs.results.items():
        rate = median(result.rates)
        print(f"{f'{count} missed':34}{rate / bare:10.0f}  {_judged_least(rate, _RATE_TARGETS[count])}")
    print(f"\n{'meanwhile':34}{'max ms':>10}  {'p99 ms':>14}")
    for count, result in backlogs.results.items():
        judged = _judged(p99(result.delays) * 1e3, _DELAY_TARGET * 1e3)
        print(f"{f'{count} missed, timer':34}{max(result.delays) * 1e3:10.0f}  {judged}")
        if result.echoes:
            judged = _judged(p99(result.echoes) * 1e3, _DELAY_TARGET * 1e3)
            print(f"{f'{count} missed, key at prompt':34}{max(result.echoes) * 1e3:10.0f}  {judged}")
    print(f"\n{'received live':34}{'':10}  {'bare decryptions':>15}")
    live = [ratio for result in backlogs.results.values() for ratio in result.live]
    print(f"{f'{LIVE_RATE} a second':44}  {_judged(median(live), _LIVE_TARGET)}")


def _print_help(samples: Samples) -> None:
    base = median(samples["import click"])
    print(f"\n{'':34}{'ms':>9}  {'in import click':>15}")
    print(f"{'import click':34}{base * 1e3:9.1f}")
    targets = {
        "clave --help": _HELP_TARGET,
        "clave-relay --help": _HELP_TARGET,
        "clave send, owner runs": _SEND_TARGET,
    }
    for name, target in targets.items():
        seconds = median(samples[name])
        print(f"{name:34}{seconds * 1e3:9.1f}  {_judged(seconds / base, target)}", flush=True)


def _print_chat(bench: _Bench) -> None:
    samples = bench.samples
    print(f"\n{'clave chat to its prompt':34}{'ms':>9}  {'in its imports':>15}")
    for where in ("up", "away"):
        base = median(samples[f"imports, relay {where}"])
        print(f"{f'its imports alone, relay {where}':34}{base * 1e3:9.1f}")
        for rooms in _ROOMS:
            name = f"{rooms} rooms, relay {where}"
            if name in bench.ended:
                print(f"{name:34}{'ended':>9}  {bench.ended[name]}")
                continue
            seconds = median(samples[name])
            print(f"{name:34}{seconds * 1e3:9.1f}  {_judged(seconds / base, _CHAT_TARGET)}")


def _print_memory(samples: Samples) -> None:
    imports, chat = median(samples["memory of imports"]), median(samples["memory of chat"])
    print(f"\n{'memory':34}{'MiB':>9}  {'above imports':>15}")
    print(f"{'its imports alone':34}{imports:9.1f}")
    print(f"{f'{_ROOMS[-1]} rooms, relay up':34}{chat:9.1f}  {_judged(chat - imports, _MEMORY_TARGET)}")


def _judged(value: float, bound: float) -> str:
    return f"{value:15.2f}  <= {bound:g}: {'reached' if value <= bound else 'MISSED'}"


def _judged_least(value: float, bound: float) -> str:
    return f"{value:14.2f}  >= {bound:g}: {'reached' if value >= bound else 'MISSED'}"


main()
