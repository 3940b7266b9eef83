"""An event loop on which time passes only when nothing is left to do. Knows no network and no disk."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["EPOCH", "Idle", "Livelock", "VirtualLoop", "VirtualTime", "run"]

EPOCH = 1_800_000_000.0
"""What `time.time` shows when a simulation begins, in seconds since 1970."""

_MAX_TURNS = 50_000
"""Turns of the loop in one moment after which it is taken to run for ever."""

T = TypeVar("T")


class Idle(Exception):
    """Everything waits, and for nothing that a timer could bring."""


class Livelock(Exception):
    """The loop turns and turns and no time passes."""


class _Selector:
    """Stands in for a selector: instead of blocking it moves the clock to the next timer."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Jump to the next timer, unless something is ready (`timeout` is 0)."""
        self._loop.jump(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets and threads whose clock jumps from timer to timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the seconds since the simulation began."""
        return self._now

    def jump(self, timeout: float | None) -> None:
        """Move the clock to the next timer; raises `Idle` without one, `Livelock` if it never gets there."""
        if timeout is None:
            raise Idle(f"nothing is left that could happen, at {self._now:.3f} s")
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
            self._turns = 0
        else:
            self._turns += 1
            if self._turns > _MAX_TURNS:
                raise Livelock(f"no time passes any more, at {self._now:.3f} s")

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from a selector here."""

    def _write_to_self(self) -> None:
        """No other thread waits to be woken."""


class VirtualTime:
    """What the `time` module is to the code that runs on a `VirtualLoop`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        """Return the seconds since 1970."""
        return EPOCH + self._loop.time()

    def time_ns(self) -> int:
        """Return the nanoseconds since 1970."""
        return int(self.time() * 1_000_000_000)

    def monotonic(self) -> float:
        """Return the seconds since the simulation began."""
        return self._loop.time()

    def monotonic_ns(self) -> int:
        """Return the nanoseconds since the simulation began."""
        return int(self.monotonic() * 1_000_000_000)

    perf_counter = monotonic


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end and leave nothing of it running."""
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            left = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
            for task in left:
                task.cancel()
            if left:
                loop.set_exception_handler(lambda _loop, _context: None)
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            loop.close()
