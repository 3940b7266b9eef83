"""One server driven in one scene: fresh data, all phases in one go. Prints nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.relay.generator import Generator
from bench.relay.population import Population
from bench.relay.scenes import Scene
from bench.relay.servers import Server, running

__all__ = ["Laboratory", "Pace", "Record", "reached"]

Record = dict[str, Any]
"""What the load generator printed of the connecting or of one phase, and who was driven in which scene."""


@dataclass(frozen=True)
class Pace:
    """How long a phase warms up and is measured, and how long the stuck client is watched. Seconds."""

    warm: float
    seconds: float
    stuck_seconds: float


class Laboratory:
    """A folder on a real disk, the load generator, and the populations made so far."""

    def __init__(self, folder: Path, pace: Pace) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.generator = Generator.build(folder)
        self.pace = pace
        self._folder = folder
        self._populations: dict[tuple[int, ...], Population] = {}
        self._runs = 0

    def population(self, sizes: Sequence[int]) -> Population:
        """Return accounts in rooms of these sizes, made at the first call. Raises `LoadError`."""
        key = tuple(sizes)
        if key not in self._populations:
            folder = self._folder / f"population-{len(self._populations)}"
            folder.mkdir()
            self._populations[key] = Population.make(self.generator, folder, sizes)
        return self._populations[key]

    def drive(
        self, server: Server, scene: Scene, phases: Sequence[str], population: Population | None = None
    ) -> list[Record]:
        """Start the server, drive it through the phases, stop it. Raises `LoadError`."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        folder.mkdir()
        options = [f"--protocol={server.protocol}", *scene.options(), f"--warm={self.pace.warm}"]
        if server.tls:
            options.append("--tls")
        if server.protocol == "clave":
            population = population or self.population(scene.sizes())
            population.copy_to(folder)
            options += population.options()
        with running(server, folder) as started:
            processes = ",".join(map(str, started.processes()))
            options += [f"--port={started.port}", f"--processes={processes}"]
            records = self.generator.run(options, phases)
            about: Record = {"scene": scene.letter, "title": scene.title, "server": server.name}
            about |= {"start_seconds": round(started.start_seconds, 3), "complaint": started.complaint()}
        shutil.rmtree(folder)
        return [about | record for record in records]

    def measure(self, server: Server, scene: Scene, same_load: float) -> list[Record]:
        """Drive as fast as it goes, at half of that, and at `same_load` deliveries per second if not 0.

        Where somebody gets stuck, at the scene's own load before and after that. Raises `LoadError`.
        """
        seconds = self.pace.seconds
        if scene.stuck_load:
            load = f"rate:{scene.stuck_load}"
            return self.drive(server, scene, [f"{load}:{seconds}", f"{load}:{self.pace.stuck_seconds}"])
        phases = [f"closed:{window}:{seconds}" for window in scene.windows] + [f"half:{seconds}"]
        return self.drive(server, scene, phases + ([f"rate:{same_load}:{seconds}"] if same_load else []))


def reached(records: Sequence[Record]) -> float:
    """Return the most deliveries per second of the closed loops, 0 if there was none."""
    return max((float(one["deliveries_s"]) for one in records if one["phase"] == "closed"), default=0.0)
