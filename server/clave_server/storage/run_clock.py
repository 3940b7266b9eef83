"""The time of the relay's last run, kept in the database, by which a clock that jumped is noticed.

A clock is doubted that is a week ahead of the last run, or behind it, until it has gone on for a day or the
operator confirms it. Knows nothing of what is done by the clock.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import apsw

from clave_host.clock import utc_text

__all__ = ["Jump", "confirm_clock", "find_jump", "note_time"]

_HOUR_MS: Final = 60 * 60 * 1000
_DAY_MS: Final = 24 * _HOUR_MS

_AHEAD_MS: Final = 7 * _DAY_MS
"""How far a clock may be ahead of the last run: a relay that was off for so long is not doubted."""

_BEHIND_MS: Final = _HOUR_MS
"""How far it may be behind: clocks are corrected, never by much."""

_NEWEST: Final = "SELECT at FROM segments ORDER BY id DESC LIMIT 1"


class Jump(NamedTuple):
    """A clock that is doubted: the last time believed, the present one, and the first one doubted."""

    last: int
    now: int
    since: int

    @property
    def text(self) -> str:
        """What the operator needs to know."""
        return (
            f"the clock says {utc_text(self.now)}, and this relay last ran at {utc_text(self.last)}:"
            " until the clock has gone on for a day nothing is pruned, and registration tokens expire by it;"
            " if it is wrong, set it; if it is right, run: clave-relay prune"
        )


def find_jump(connection: apsw.Connection, now: int) -> Jump | None:
    """Return why the clock is doubted that says `now` (ms since 1970), None if it is not."""
    last, since = _read(connection, "clock"), _read(connection, "clock doubted")
    if last is None:
        last = connection.execute(_NEWEST).get  # of a version that kept no time
    if last is None or _goes_on(last, now):
        return None
    if since is None or not _goes_on(since, now):
        return Jump(last, now, now)
    return None if now - since >= _DAY_MS else Jump(last, now, since)


def note_time(connection: apsw.Connection, now: int) -> Jump | None:
    """Do what `find_jump` does, and keep the time, inside a transaction."""
    jump = find_jump(connection, now)
    if jump is None:
        confirm_clock(connection, now)
    else:
        _write(connection, "clock", jump.last)
        _write(connection, "clock doubted", jump.since)
    return jump


def confirm_clock(connection: apsw.Connection, now: int) -> None:
    """Believe the clock, inside a transaction."""
    _write(connection, "clock", now)
    connection.execute("DELETE FROM meta WHERE key = 'clock doubted'")


def _goes_on(before: int, now: int) -> bool:
    return before - _BEHIND_MS <= now <= before + _AHEAD_MS


def _read(connection: apsw.Connection, key: str) -> int | None:
    value = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return value if isinstance(value, int) else None


def _write(connection: apsw.Connection, key: str, at: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, at))
