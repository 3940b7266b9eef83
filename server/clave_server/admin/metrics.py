"""A relay's counters and gauges in Prometheus's text format, read at each scrape. Knows no HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from clave_server.admin.gauges import Gauges
from clave_server.observe.counters import FLUSH_BOUNDS, Counters

__all__ = ["Metrics"]

_COUNTERS: Final = {
    "connections_accepted": "Connections let in.",
    "logins": "Logins that held.",
    "registrations": "Names registered.",
    "entries": "Entries that reached the disk.",
    "deliveries": "Entries handed to connected devices.",
    "slow_drops": "Connections closed because they did not keep up.",
    "rate_refusals": "Times that a connection or an account had to wait because it came too fast.",
    "storage_failures": "Transactions that did not reach the disk.",
    "catch_up_reads": "Reads of the log for devices that fell behind.",
    "mirror_summed": "Mirror lines summed up instead of shown.",
    "pruned_entries": "Entries that retention deleted.",
    "pruned_bytes": "Bytes of these entries.",
}

_REFUSALS: Final = {
    "connections_refused": "Connections not let in, by reason.",
    "logins_refused": "Logins refused, by reason.",
}

_GAUGES: Final = {
    "people": "Names online.",
    "devices": "Devices online.",
    "connections": "Connections open, logged in or not.",
    "logging_in": "Connections that did not log in yet.",
    "rooms_open": "Rooms in memory.",
    "waiting_requests": "Requests that no flush has taken yet.",
    "waiting_writes": "Transactions waiting for the writing thread.",
    "waiting_reads": "Reads waiting for the reading thread.",
    "outbox_bytes": "Bytes that clients' networks did not take yet.",
    "storage_works": "1, or 0 while nothing reaches the disk.",
}


@dataclass(frozen=True, eq=False)
class Metrics(Collector):
    """Reads everything at a scrape; `disk` returns bytes of the database and bytes free."""

    counters: Counters
    gauges: Callable[[], Gauges]
    disk: Callable[[], tuple[int, int]]

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registering does not read the numbers."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"clave_{name}", text, value=getattr(self.counters, name))
        for name, text in _REFUSALS.items():
            yield _by_reason(f"clave_{name}", text, getattr(self.counters, name))
        yield self._flushes()
        gauges = self.gauges()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"clave_{name}", text, value=getattr(gauges, name))
        database, free = self.disk()
        yield GaugeMetricFamily("clave_database_bytes", "Bytes of the database.", value=database)
        yield GaugeMetricFamily("clave_disk_free_bytes", "Bytes left on its disk.", value=free)

    def _flushes(self) -> Metric:
        bounds = [*map(str, FLUSH_BOUNDS), "+Inf"]
        counts = itertools.accumulate(self.counters.flush_buckets)
        return HistogramMetricFamily(
            "clave_flush_seconds",
            "How long transactions took to reach the disk.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=self.counters.flush_seconds,
        )


def _by_reason(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in sorted(counts.items()):
        family.add_metric([reason], count)
    return family
