from __future__ import annotations

from clave_server.observe.counters import FLUSH_BOUNDS, Counters


def test_a_flush_is_counted_in_the_bucket_of_its_duration() -> None:
    counters = Counters()
    for seconds in (0.0, 0.0005, 0.0006, 1.0, 7.0):
        counters.count_flush(seconds)
    assert counters.flushes == 5
    assert round(counters.flush_seconds, 6) == 8.0011
    assert sum(counters.flush_buckets) == 5
    assert (counters.flush_buckets[0], counters.flush_buckets[1]) == (2, 1)
    assert counters.flush_buckets[len(FLUSH_BOUNDS) - 1 :] == [1, 1]


def test_counters_share_no_state() -> None:
    one, other = Counters(), Counters()
    one.connections_refused["full"] += 1
    one.count_flush(0.1)
    assert other == Counters()
