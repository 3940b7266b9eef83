"""Runs the benchmark and prints its table."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from bench.mls.bulk import print_bulk_adds
from bench.mls.floor import floor, unavoidable
from bench.mls.full_tree import FullTree
from bench.mls.memory import joined_group
from bench.mls.post_quantum import print_post_quantum
from bench.mls.scene import OPERATIONS, Scene
from bench.mls.sides import Ours, Theirs
from bench.mls.storing import print_storing

ROUNDS = {2: 30, 10: 30, 100: 15, 1000: 7}
"""How often each operation is measured, by the size of the group."""

GROWTH_ROUNDS = 40

TARGETS = {
    "create key package": 1.0,
    "join from Welcome": 0.8,
    "self-update": 0.6,
    "remove one": 0.6,
    "process update, warm": 2.0,
    "process add": 2.0,
    "encrypt 100 B": 1.0,
    "decrypt 100 B": 1.0,
    "add one": 2.0,
}
"""The ratio ours/mls-rs to reach at 1000 members."""

BULK_TARGET = 0.8
"""The ratio ours/mls-rs to reach in adding many at once."""

BULK_ROUNDS = 3

MEMORY_TARGET = 200.0
"""MiB for a joined group of 10,000."""


Costs = dict[str, tuple[float, float]]
"""Median seconds of an operation by the clock, and of all cores together."""


def measure(size: int, fillers: Sequence[Theirs]) -> tuple[Costs, Costs, list[Scene]]:
    """Return what each side's operations cost, ours first, and the scenes they were measured in."""
    scenes = [Scene(Ours(), size, fillers), Scene(Theirs(), size, fillers)]
    samples: list[dict[str, list[tuple[float, float]]]] = [defaultdict(list), defaultdict(list)]
    for number in range(ROUNDS[size]):
        order = (0, 1) if number % 2 else (1, 0)
        for name, run in OPERATIONS:
            for side in order:
                begin, begin_cores = time.perf_counter(), time.process_time()
                run(scenes[side])
                cores, end = time.process_time() - begin_cores, time.perf_counter()
                samples[side][name].append((end - begin, cores))
    ours, theirs = (
        {
            name: (median(wall for wall, _ in both), median(cores for _, cores in both))
            for name, both in one.items()
        }
        for one in samples
    )
    return ours, theirs, scenes


def print_growth() -> None:
    """Print what processing an update costs in a warm tree whose parents are set, and how that grows."""
    print("\nprocess update, warm, where nearly everyone has committed before")
    costs = []
    for size in (100, 1000):
        tree = FullTree(size)
        samples: list[list[float]] = [[], []]
        for _ in range(GROWTH_ROUNDS):
            commit = tree.update()
            for reader, times in zip(tree.readers, samples, strict=True):
                begin = time.perf_counter()
                reader.process(commit)
                times.append(time.perf_counter() - begin)
        ours, theirs = (median(times) for times in samples)
        costs.append((ours, theirs))
        print(f"{size:5}  {'':24}{ours * 1e3:9.3f}{theirs * 1e3:9.3f}{ours / theirs:7.2f}{len(commit):26}")
    (ours_small, theirs_small), (ours_large, theirs_large) = costs
    print(f"{'growth':31}{ours_large / ours_small:9.2f}{theirs_large / theirs_small:9.2f}")


def main() -> None:
    """Print what each operation costs at each size, then growth, memory and storing."""
    fillers = [Theirs() for _ in range(max(ROUNDS) - 1)]
    print("threads: mls-rs as many as cores; this library as many in joining and committing, else one")
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f} (a busy machine slows mls-rs more)")
    print("milliseconds, medians; cpu: the ratio of processor time, all cores together")
    print("bytes: of the commit made, ours and mls-rs's")
    heading = f"{'':31}{'ours':>9}{'mls-rs':>9}{'ratio':>7}{'cpu':>7}{'floor':>9}  {'bytes':>13}  target"
    for size in ROUNDS:
        ours, theirs, scenes = measure(size, fillers)
        print(f"\n{heading}")
        calls = unavoidable(size)
        for name in filter(None, ours):
            (wall, cores), (their_wall, their_cores) = ours[name], theirs[name]
            ratio = wall / their_wall
            sizes = "/".join(str(scene.sent[name]) for scene in scenes if name in scene.sent)
            verdict = ""
            if size == max(ROUNDS) and name in TARGETS:
                verdict = f"<= {TARGETS[name]:.1f}: {'reached' if ratio <= TARGETS[name] else 'missed'}"
            print(
                f"{size:5}  {name:24}{wall * 1e3:9.3f}{their_wall * 1e3:9.3f}{ratio:7.2f}"
                f"{cores / their_cores:7.2f}{floor(calls[name]) * 1e3:9.3f}  {sizes:>13}  {verdict}",
                flush=True,
            )
    print_growth()
    print_bulk_adds(BULK_ROUNDS, target=BULK_TARGET, large="--large" in sys.argv)
    print_post_quantum(max(ROUNDS))
    if sys.platform == "linux":
        held, most, seconds = joined_group(10_000)
        verdict = "reached" if most <= MEMORY_TARGET else "missed"
        print(
            f"a joined group of 10,000: {held:.0f} MiB, {most:.0f} MiB at most in joining ({seconds:.2f} s)"
        )
        print(f"target <= {MEMORY_TARGET:.0f} MiB: {verdict}")
    print_storing((100, 1000, 10_000))


main()
