"""Durations as people say them. Knows no clock."""

from __future__ import annotations

from typing import Final

__all__ = ["duration_words"]

_UNITS: Final = ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"))


def duration_words(seconds: float) -> str:
    """Return a duration in the largest unit of which it has two at least: "90 minutes", "2 hours"."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), (1, "seconds"))
    return f"{seconds / size:.0f} {unit}"
