"""Counters since the relay started. Knows no reader; gauges are in `admin.gauges`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

__all__ = ["FLUSH_BOUNDS", "Counters"]

FLUSH_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the histogram's buckets, in seconds; a last bucket has what is slower."""


@dataclass(slots=True)
class Counters:
    """Numbers that only grow: plain attributes, incremented on the loop's thread."""

    connections_accepted: int = 0
    connections_refused: Counter[str] = field(default_factory=Counter)
    """By the value of the `Code` sent."""

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

    def count_slow_drop(self) -> None:
        """Count one client dropped because it did not read."""
        self.slow_drops += 1

    def count_rate_refusal(self) -> None:
        """Count one connection refused because its network connected too often."""
        self.rate_refusals += 1

    def count_flush(self, seconds: float) -> None:
        """Count one transaction that took `seconds` to reach the disk."""
        self.flushes += 1
        self.flush_seconds += seconds
        self.flush_buckets[bisect_left(FLUSH_BOUNDS, seconds)] += 1
