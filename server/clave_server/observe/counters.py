"""What a relay counts from its start on. Knows nobody who reads it, and no gauge: those are asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

__all__ = ["FLUSH_BOUNDS", "Counters"]

FLUSH_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: a flush counts in the first bucket whose bound it does not pass, else in the last one."""


@dataclass(slots=True)
class Counters:
    """Numbers that only grow. Plain attributes, changed on the loop's thread where the thing happens."""

    connections_accepted: int = 0
    connections_refused: Counter[str] = field(default_factory=Counter)
    """By reason, a `Code`'s value."""

    logins: int = 0
    logins_refused: Counter[str] = field(default_factory=Counter)
    registrations: int = 0
    entries: int = 0
    deliveries: int = 0
    slow_drops: int = 0
    rate_refusals: int = 0
    flushes: int = 0
    flush_seconds: float = 0.0
    flush_buckets: list[int] = field(default_factory=lambda: [0] * (len(FLUSH_BOUNDS) + 1))
    storage_failures: int = 0
    catch_up_reads: int = 0
    mirror_summed: int = 0
    pruned_entries: int = 0
    pruned_bytes: int = 0

    def flushed(self, seconds: float) -> None:
        """Count one transaction that took `seconds` to reach the disk."""
        self.flushes += 1
        self.flush_seconds += seconds
        self.flush_buckets[bisect_left(FLUSH_BOUNDS, seconds)] += 1
