"""The time of the relay's last run, kept in the database, by which a clock that jumped is noticed.

At a start a clock is doubted that is a week ahead of the last run, or behind it; while the relay runs, one
that is two hours off the time that it has run. It is doubted until the relay has run for a day in which the
clock went on, by a clock that nobody can set, or until the operator confirms it. Knows nothing of what is
done by the clock.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import apsw

from clave_host.clock import now_ms, utc_text

__all__ = ["Jump", "RunClock", "RunTime", "confirm_clock", "find_jump", "note_time"]

_HOUR_MS: Final = 60 * 60 * 1000
_DAY_MS: Final = 24 * _HOUR_MS

_AHEAD_MS: Final = 7 * _DAY_MS
"""How far a clock may be ahead of the last run: a relay that was off for so long is not doubted."""

_DRIFT_MS: Final = 2 * _HOUR_MS
"""How far it may get ahead while the relay runs."""

_BEHIND_MS: Final = _HOUR_MS
"""How far it may be behind: clocks are corrected, never by much."""

_NEWEST: Final = "SELECT at FROM segments ORDER BY id DESC LIMIT 1"

_DOUBTED: Final = "clock doubted"
_DOUBTED_RUN: Final = "clock doubted run"
_DOUBTED_SLACK: Final = "clock doubted slack"
"""Keys of the doubted clock's time at the last look, and of `Jump.run` and `Jump.slack`."""


class RunTime(NamedTuple):
    """Milliseconds that a process has run, and that its machine was suspended meanwhile."""

    ran: int
    slept: int

    @classmethod
    def read(cls) -> RunTime:
        """Return both, from the machine's start on."""
        ran = time.monotonic_ns()
        boot = getattr(time, "CLOCK_BOOTTIME", None)  # of Linux
        slept = 0 if boot is None else time.clock_gettime_ns(boot) - ran
        return cls(ran // 1_000_000, slept // 1_000_000)

    def since(self, former: RunTime) -> RunTime:
        """Return what has passed since `former`."""
        return RunTime(self.ran - former.ran, max(0, self.slept - former.slept))


class Jump(NamedTuple):
    """A clock that is doubted: the time that it should be at least, and the time that it says.

    `run` is how long the relay has run while the clock went on, `slack` how long it may have been off.
    """

    expected: int
    now: int
    run: int
    slack: int

    @property
    def times(self) -> str:
        """Both times, in words."""
        return (
            f"the clock says {utc_text(self.now)}, and by its last run this relay expects"
            f" {utc_text(self.expected)}"
        )

    @property
    def text(self) -> str:
        """What the operator needs to know."""
        return (
            f"{self.times}: until the relay has run for a day with this clock nothing is pruned, and"
            " registration tokens expire by it; if it is wrong, set it; if it is right, run:"
            " clave-relay prune --confirm-clock"
        )


class RunClock:
    """What a running relay knows of its clock since it last looked at the database."""

    def __init__(self) -> None:
        self.jump: Jump | None = None
        self._at = now_ms()
        self._run_time = RunTime.read()

    def passed(self) -> RunTime:
        """Return what has passed since `note`."""
        return RunTime.read().since(self._run_time)

    def note(self, jump: Jump | None, now: int, passed: RunTime) -> None:
        """Remember what a look at `now` found, `passed` after the one before."""
        former = self._run_time
        self.jump, self._at = jump, now
        self._run_time = RunTime(former.ran + passed.ran, former.slept + passed.slept)

    def is_doubted(self, now: int) -> bool:
        """Return whether the clock is doubted that says `now`, even before the next look notices."""
        passed = self.passed()
        return self.jump is not None or not _goes_on(self._at + passed.ran, now, passed.slept)


def find_jump(connection: apsw.Connection, now: int, passed: RunTime | None = None) -> Jump | None:
    """Return why the clock is doubted that says `now` (ms since 1970), None if it is not.

    `passed` is how long the relay has run since the last look, None at a start.
    """
    last, doubted = _read(connection, "clock"), _read(connection, _DOUBTED)
    if last is None:
        last = connection.execute(_NEWEST).get  # of a version that kept no time
    if last is None:
        return None
    ran, slept = passed or RunTime(0, _AHEAD_MS)
    expected = last + ran
    slack = min(_AHEAD_MS, (_read(connection, _DOUBTED_SLACK) or 0) + slept)
    is_right = _goes_on(expected, now, slack)
    if doubted is None:
        return None if is_right else Jump(expected, now, 0, slack)
    went_on = _goes_on(doubted + ran, now, slept)
    if is_right and not (went_on and doubted + ran > expected):
        return None  # it was set
    run = (_read(connection, _DOUBTED_RUN) or 0) + ran if went_on else 0
    return None if run >= _DAY_MS else Jump(expected, now, run, slack)


def note_time(connection: apsw.Connection, now: int, passed: RunTime | None = None) -> Jump | None:
    """Do what `find_jump` does, and keep the time, inside a transaction."""
    jump = find_jump(connection, now, passed)
    if jump is None:
        confirm_clock(connection, now)
    else:
        _write(connection, "clock", jump.expected)
        _write(connection, _DOUBTED, now)
        _write(connection, _DOUBTED_RUN, jump.run)
        _write(connection, _DOUBTED_SLACK, jump.slack)
    return jump


def confirm_clock(connection: apsw.Connection, now: int) -> None:
    """Believe the clock, inside a transaction."""
    _write(connection, "clock", now)
    keys = (_DOUBTED, _DOUBTED_RUN, _DOUBTED_SLACK)
    connection.execute("DELETE FROM meta WHERE key IN (?, ?, ?)", keys)


def _goes_on(expected: int, now: int, slack: int) -> bool:
    return expected - _BEHIND_MS <= now <= expected + max(_DRIFT_MS, min(slack, _AHEAD_MS))


def _read(connection: apsw.Connection, key: str) -> int | None:
    value = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return value if isinstance(value, int) else None


def _write(connection: apsw.Connection, key: str, at: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, at))
