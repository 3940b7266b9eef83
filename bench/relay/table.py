"""What was measured, as tables of medians with ratios to nats-server. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from bench.relay.run import Record, reached
from bench.relay.scenes import Scene

__all__ = ["Row", "print_growth", "print_scene", "rival"]

_AT_ITS_LIMIT = 0.95
"""Cores the load generator used, of the one that it can."""

_KEPT_UP = 0.97
"""Share of the load given to all that was delivered in time."""

_BUSY_CORES = 0.2
"""Other work on the machine worth a note, in cores."""


@dataclass(frozen=True)
class Row:
    """All runs of one server in one scene, each a list of records."""

    server: str
    runs: Sequence[list[Record]]

    def _median(self, value: Callable[[list[Record]], float]) -> float:
        return median(value(run) for run in self.runs)

    @property
    def deliveries(self) -> float:
        """Per second, in the best of the closed loops."""
        return self._median(reached)

    @property
    def cpu(self) -> float:
        """Seconds per million deliveries, where most were delivered."""
        return self._median(lambda run: _best(run)["cpu_per_million"])

    @property
    def accepted(self) -> float:
        """Acknowledgements per second, where most was delivered."""
        return self._median(lambda run: _best(run)["accepted_s"])

    @property
    def peak_mib(self) -> float:
        """The most memory of the server; where it was given more than it takes, before that."""
        return self._median(lambda run: (_named(run, "half") or run[-1])["peak_kib"] / 1024)

    @property
    def idle_kib(self) -> float:
        """Of each connection."""
        return self._median(lambda run: (run[0]["kib_after"] - run[0]["kib_before"]) / run[0]["clients"])

    @property
    def login_seconds(self) -> float:
        """Until everyone was connected and had joined."""
        return self._median(lambda run: run[0]["seconds"])

    @property
    def p99_before(self) -> float:
        """Milliseconds, before the stuck client was."""
        return self._median(lambda run: float(run[1]["p99_ms"]))

    def delay(self, phase: str, share: str) -> float:
        """Milliseconds at "half" of its own rate, or at the "rate" given to all: without end if it cannot."""
        if phase == "rate" and self.kept_up < _KEPT_UP:
            return inf
        return self._median(lambda run: float((_named(run, phase) or run[-1])[f"{share}_ms"]))

    @property
    def kept_up(self) -> float:
        """The share delivered in time of the load given to all; nats-server's half is by its own measure."""
        given = [one for run in self.runs if (one := _named(run, "rate"))]
        return median(one["deliveries_s"] / one["asked_s"] for one in given) if given else 1.0

    def dropped(self) -> str:
        """Say when the stuck client was dropped, and what the server's log says of it."""
        gone = self._median(lambda run: run[-1]["stuck_gone_s"])
        when = f"dropped after {gone:.1f} s" if gone >= 0 else "kept"
        return f"stuck client {when}; its log: {self.runs[-1][0]['complaint'] or 'nothing'}"

    def notes(self) -> str:
        """Say what was wrong, what it could not keep up with, whether the machine was busy otherwise."""
        records = [record for run in self.runs for record in run[1:]]
        sums = {key: sum(run[-1][key] for run in self.runs) for key in ("undelivered", "wrong", "gone")}
        notes = [f"{count} {key.upper()}" for key, count in sums.items() if count]
        if any(one["phase"] == "closed" and one["generator_cpu"] > _AT_ITS_LIMIT for one in records):
            notes.append("the load generator was at its limit")
        notes += [f"took {self.kept_up:.0%} of that load"] if self.kept_up < _KEPT_UP else []
        other = max(record["other_cpu"] for record in records)
        return ", ".join([*notes, *([f"other work: {other:.1f} cores"] if other > _BUSY_CORES else [])])


def _best(run: Sequence[Record]) -> Record:
    return max((record for record in run if record["phase"] == "closed"), key=lambda one: one["deliveries_s"])


def _named(run: Sequence[Record], phase: str) -> Record | None:
    """Return the last record of a phase; of nats-server there is no "rate", since its own half is that."""
    return {record["phase"]: record for record in run}.get(phase)


def rival(server: str) -> str:
    """Return whom a server is compared with."""
    return "nats-tls" if server.endswith("-tls") else "nats"


def print_scene(scene: Scene, rows: Sequence[Row]) -> None:
    """Print one scene's table, then what is to be reached in it."""
    how = f"closed loop with {' or '.join(map(str, scene.windows))} messages under way per talker"
    if scene.stuck_load:
        how = f"{scene.stuck_load:,} deliveries per second"
    print(f"\n({scene.letter}) {scene.title}; {how}")
    by_name = {row.server: row for row in rows}
    if scene.stuck_load:
        print(f"{'':11}{'p99 before':>11}{'p50':>8}{'p99':>9}{'max ms':>9}{'ratio':>7}{'MiB':>6}")
    else:
        print(
            f"{'':11}{'deliv/s':>10}{'ratio':>7}{'cpu s/M':>9}{'ratio':>7}"
            f"{'p50':>8}{'p99':>9}{'max ms':>9}   {'p50':>8}{'p99':>9}{'max ms':>9}{'ratio':>7}{'MiB':>6}"
        )
    for row in rows:
        peer = by_name.get(rival(row.server))
        print(_stuck_line(row, peer) if scene.stuck_load else _line(row, peer), flush=True)
    for row in rows:
        if scene.stuck_load:
            print(f"  {row.server}: {row.dropped()}")
        elif scene.idle:
            print(
                f"  {row.server}: {row.idle_kib:.1f} KiB per connection; "
                f"{scene.clients} connected and logged in within {row.login_seconds:.1f} s"
            )
        elif row.accepted:
            print(f"  {row.server}: {row.accepted:,.0f} messages accepted per second, all on disk")


def _line(row: Row, peer: Row | None) -> str:
    own, same = ([row.delay(phase, share) for share in ("p50", "p99", "max")] for phase in ("half", "rate"))
    line = (
        f"{row.server:11}{row.deliveries:10,.0f}{_ratio(row.deliveries, peer.deliveries if peer else None)}"
    )
    line += f"{row.cpu:9.3f}{_ratio(row.cpu, peer.cpu if peer else None)}"
    line += f"{own[0]:8.2f}{own[1]:9.2f}{own[2]:9.2f}   "
    if peer is None:
        line += f"{'':33}"
    else:
        line += f"{same[0]:8.2f}{same[1]:9.2f}{same[2]:9.2f}{_ratio(same[1], peer.delay('rate', 'p99'))}"
    return f"{line}{row.peak_mib:6.0f}  {row.notes()}"


def _stuck_line(row: Row, peer: Row | None) -> str:
    same = [row.delay("rate", share) for share in ("p50", "p99", "max")]
    line = f"{row.server:11}{row.p99_before:11.2f}{same[0]:8.2f}{same[1]:9.2f}{same[2]:9.2f}"
    ratio = _ratio(same[1], peer.delay("rate", "p99") if peer else None)
    return f"{line}{ratio}{row.peak_mib:6.0f}  {row.notes()}"


def _ratio(one: float, other: float | None) -> str:
    return f"{one / other:7.2f}" if other else f"{'':7}"


def print_growth(scenes: Sequence[Scene], rows: dict[str, list[Row]]) -> None:
    """Print what a delivery costs by the size of the room."""
    print("\n(growth) CPU seconds per million deliveries by the size of one room, 5 talk")
    print(f"{'':11}" + "".join(f"{scene.members:>9}" for scene in scenes) + f"{'last/first':>12}")
    for server, costs in rows.items():
        line = "".join(f"{row.cpu:9.3f}" for row in costs)
        print(f"{server:11}{line}{costs[-1].cpu / costs[0].cpu:12.2f}", flush=True)
