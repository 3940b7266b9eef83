"""Runs what was typed one by one, in the order typed. Knows no terminal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["InputQueue", "Job"]


@dataclass(frozen=True)
class Job:
    """A typed line or a shortcut: what to show for it, and what to run."""

    label: str = field(repr=False)
    run: Callable[[], Awaitable[None]]


class InputQueue:
    """Jobs that run one at a time; the one that runs can be cancelled.

    `changed` is called when a job begins or ends, `cancelled` with each job that was cancelled.
    `clock` returns seconds.
    """

    def __init__(
        self, clock: Callable[[], float], changed: Callable[[], None], cancelled: Callable[[Job], None]
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._cancelled = cancelled
        self._waiting: deque[Job] = deque()
        self._filled = asyncio.Event()
        self._job: Job | None = None
        self._task: asyncio.Future[None] | None = None
        self._began = 0.0

    @property
    def running(self) -> Job | None:
        """The job that runs."""
        return self._job

    @property
    def seconds(self) -> float:
        """How long it has been running; 0 if none runs."""
        return 0.0 if self._job is None else self._clock() - self._began

    @property
    def waiting(self) -> list[Job]:
        """The jobs that wait for their turn, next first."""
        return list(self._waiting)

    def put(self, job: Job) -> None:
        """Add a job."""
        self._waiting.append(job)
        self._filled.set()

    def is_cancellable(self) -> bool:
        """Whether a job runs that was not cancelled yet."""
        return self._task is not None

    def cancel(self) -> None:
        """Cancel the job that runs, if any."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def run(self) -> None:
        """Run jobs until cancelled, which cancels the job too. Raises what a job raises."""
        while True:
            while not self._waiting:
                self._filled.clear()
                await self._filled.wait()
            self._job, self._began = self._waiting.popleft(), self._clock()
            try:
                await self._run(self._job)
            finally:
                self._job = self._task = None
                self._changed()

    async def _run(self, job: Job) -> None:
        task = self._task = asyncio.ensure_future(job.run())
        self._changed()
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if task.cancelled():
            self._cancelled(job)
        else:
            task.result()
