"""The time of day, as it is stored and sent."""

from __future__ import annotations

import datetime as dt
import time

__all__ = ["now_ms", "utc_text"]


def now_ms() -> int:
    """Return the milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def utc_text(at: int) -> str:
    """Write a time (ms since 1970) for people; one that `datetime` cannot hold, as `@` and seconds."""
    try:
        return f"{dt.datetime.fromtimestamp(at / 1000, dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"@{at // 1000}"
