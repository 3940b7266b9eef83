"""Durations as people say them. Knows no clock."""

from __future__ import annotations

from typing import Final

__all__ = ["duration_words", "exact_duration_words", "parse_duration"]

_MOST_DIGITS: Final = 8

_UNITS: Final = ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"))


_EXACT_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"))

_SUFFIXES: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration such as 30s, 10m, 8h, 7d or 4w; None for anything else."""
    digits, unit = text[:-1], _SUFFIXES.get(text[-1:].lower())
    if unit is None or not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS):
        return None
    return int(digits) * unit


def exact_duration_words(seconds: int) -> str:
    """Return a duration exactly, in the largest unit that it is a multiple of: "1 hour", "90 seconds"."""
    size, unit = next(
        ((size, unit) for size, unit in _EXACT_UNITS if seconds % size == 0 and seconds), (1, "second")
    )
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def duration_words(seconds: float) -> str:
    """Return a duration in the largest unit of which it has two at least: "90 minutes", "2 hours"."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), (1, "seconds"))
    return f"{seconds / size:.0f} {unit}"
