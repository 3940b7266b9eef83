"""The command: which servers in which scenes, how often; then the tables. `make bench-relay` runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench.relay.generator import LoadError
from bench.relay.old_room import OLD_ENTRIES, compare_rooms, print_rooms
from bench.relay.run import Laboratory, Pace, Record, reached
from bench.relay.scenes import GROWTH, SCENES, Scene
from bench.relay.servers import SERVERS, Server
from bench.relay.table import Row, print_growth, print_scene, rival
from bench.relay.targets import Verdict, judge

_FOLDER = Path("build/bench-relay")
_PACE = Pace(warm=0.5, seconds=2.0, stuck_seconds=20.0)
_QUICK = Pace(warm=0.3, seconds=0.7, stuck_seconds=15.0)
_QUICK_SCENES = ("a", "b", "c", "d")
_QUICK_SERVERS = ("nats", "relay", "nats-tls", "relay-tls")
_QUICK_OLD_ENTRIES = 100_000
_GROWING = ("nats", "relay", "relay-tls")

_Keep = Callable[[Record], None]


def _names(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def split(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
        wanted = text.split(",") if text else []
        if unknown := set(wanted) - set(known):
            raise click.BadParameter(f"no such name: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return [name for name in known if name in wanted]

    return split


@click.command()
@click.option(
    "--scenes",
    callback=_names([*SCENES, "growth", "old"]),
    default="",
    help="Which, as in a,b,growth; or all.",
)
@click.option("--servers", callback=_names([*SERVERS]), default="", help="Which, as in relay,nats; or all.")
@click.option("--repeat", type=click.IntRange(1), default=1, help="Show medians of so many runs.")
@click.option("--quick", is_flag=True, help="Under two minutes: a to d, the relay and nats-server only.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Append every measurement to this file, a JSON line each."
)
def main(scenes: list[str], servers: list[str], repeat: int, *, quick: bool, out: Path | None) -> None:
    """Measure the relay beside other servers, all in the same run, and print tables with ratios."""
    scenes = scenes or [*(_QUICK_SCENES if quick else (*SCENES, "growth", "old"))]
    chosen = [SERVERS[name] for name in servers or (_QUICK_SERVERS if quick else SERVERS)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server running then is stopped

    def keep(record: Record) -> None:
        if out:
            with out.open("a") as file:
                print(json.dumps({"at": round(time.time(), 1), **record}), file=file)

    try:
        laboratory = Laboratory(_FOLDER.resolve(), _QUICK if quick else _PACE)
        there = _only_there(chosen)
        print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}; medians of {repeat}")
        print("delays in ms: first at half of the server's own rate, then at half of nats-server's, for all")
        verdicts: list[Verdict] = []
        for letter in scenes:
            if letter in SCENES:
                verdicts += _one_scene(laboratory, SCENES[letter], there, repeat, keep)
            elif letter == "growth":
                _growth(laboratory, [server for server in there if server.name in _GROWING], repeat, keep)
            elif any(server.name == "relay" for server in there):
                entries = _QUICK_OLD_ENTRIES if quick else OLD_ENTRIES
                records = compare_rooms(laboratory, entries, repeat)
                for record in records:
                    keep(record)
                print_rooms(records, entries)
    except LoadError as error:
        sys.exit(f"bench-relay: {error}")
    if verdicts:
        print("\nto reach, in this run")
        print("\n".join(map(str, verdicts)))
    shutil.rmtree(_FOLDER)  # half a gigabyte, kept only where something failed


def _only_there(servers: Sequence[Server]) -> list[Server]:
    there = []
    for server in servers:
        if hint := server.missing():
            print(f"{server.name} is not here and is left out; to have it: {hint}")
        else:
            there.append(server)
    return there


def _one_scene(
    laboratory: Laboratory, scene: Scene, servers: Sequence[Server], repeat: int, keep: _Keep
) -> list[Verdict]:
    """Drive every server, `repeat` times by turns; a server that fails is named and left out of that turn."""
    runs: dict[str, list[list[Record]]] = defaultdict(list)
    for number in range(repeat):
        half: dict[str, float] = {}
        for server in servers:
            same_load = 0.0 if rival(server.name) == server.name else half.get(rival(server.name), 0.0)
            try:
                run = laboratory.measure(server, scene, same_load)
            except LoadError as error:
                print(f"({scene.letter}) {server.name}: {error}", flush=True)
                continue
            half[server.name] = reached(run) / 2
            runs[server.name].append(run)
            for record in run:
                keep({"repeat": number, **record})
    rows = {name: Row(name, those) for name, those in runs.items()}
    print_scene(scene, [*rows.values()])
    return [*judge(scene.letter, rows)]


def _growth(laboratory: Laboratory, servers: Sequence[Server], repeat: int, keep: _Keep) -> None:
    runs: dict[str, list[list[list[Record]]]] = {server.name: [[] for _ in GROWTH] for server in servers}
    for number in range(repeat):
        for index, scene in enumerate(GROWTH):
            for server in servers:
                run = laboratory.drive(
                    server, scene, [f"closed:{scene.windows[0]}:{laboratory.pace.seconds}"]
                )
                runs[server.name][index].append(run)
                for record in run:
                    keep({"repeat": number, **record})
    print_growth(GROWTH, {name: [Row(name, those) for those in sizes] for name, sizes in runs.items()})


main()
