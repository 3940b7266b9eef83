"""A room with a million old entries beside a new one: start, resume, serve. Knows only the relay."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from bench.relay.population import Population
from bench.relay.run import Laboratory, Record, reached
from bench.relay.scenes import Scene
from bench.relay.servers import Relay, running

__all__ = ["OLD_ENTRIES", "compare_rooms", "print_rooms"]

OLD_ENTRIES = 1_000_000
_SCENE = Scene("old", "10 in one room, all talk", 1, 10, (64,))
_FILL_WINDOW = 256


def compare_rooms(laboratory: Laboratory, entries: int, repeat: int) -> list[Record]:
    """Return the records of a relay with a new room and of one with `entries` in it, by turns."""
    relay = Relay("relay", tls=False)
    new = laboratory.population(_SCENE.sizes())
    old = _age(laboratory, relay, new, entries)
    records: list[Record] = []
    for number in range(repeat):
        for room, population in (("new", new), ("old", old)):
            phases = [f"closed:{_SCENE.windows[0]}:{laboratory.pace.seconds}"]
            run = laboratory.drive(relay, _SCENE, phases, population)
            records += [{"repeat": number, "room": room, **record} for record in run]
    return records


def _age(laboratory: Laboratory, relay: Relay, new: Population, entries: int) -> Population:
    """Say `entries` messages in a copy of a new room; everyone has read them all."""
    folder = new.data.parent / "old"
    folder.mkdir()
    new.copy_to(folder)
    with running(relay, folder) as started:
        process = started.processes()[0]
        options = ["--protocol=clave", *_SCENE.options(), *new.options(), "--warm=0", "--patience=600"]
        options += [f"--port={started.port}", f"--processes={process}"]
        *_, filled = laboratory.generator.run(options, [f"fill:{_FILL_WINDOW}:{entries}"])
    accounts = folder / "accounts"
    with accounts.open("w") as file:
        for line in new.accounts.read_text().splitlines():
            seed, identity, room, _, read = line.split()
            file.write(f"{seed} {identity} {room} {filled['seq']} {read}\n")
    return replace(new, data=folder / "data", accounts=accounts)


def print_rooms(records: list[Record], entries: int) -> None:
    """Print medians of both rooms and their ratio."""
    print(f"\n(old) a room with {entries:,} old entries beside a new one; 10 in it, all talk; without TLS")
    print(f"{'':11}{'start s':>10}{'join s':>10}{'deliv/s':>12}{'cpu s/M':>10}{'MiB':>7}")
    figures = []
    for room in ("new", "old"):
        connects = [one for one in records if one["room"] == room and one["phase"] == "connect"]
        loops = [one for one in records if one["room"] == room and one["phase"] == "closed"]
        figures.append(
            (
                median(one["start_seconds"] for one in connects),
                median(one["seconds"] for one in connects),
                median(reached([one]) for one in loops),
                median(one["cpu_per_million"] for one in loops),
                median(one["peak_kib"] for one in loops) / 1024,
            )
        )
        print("{:11}{:10.3f}{:10.3f}{:12,.0f}{:10.3f}{:7.0f}".format(room, *figures[-1]))
    print(
        "{:11}{:10.2f}{:10.2f}{:12.2f}{:10.2f}{:7.2f}".format(
            "old/new", *(old / new for new, old in zip(*figures, strict=True))
        )
    )
