from __future__ import annotations

from clave_server.observe.counters import FLUSH_BOUNDS, Tally


def test_a_flush_counts_in_the_bucket_of_its_time() -> None:
    tally = Tally()
    for seconds in (0.0, 0.0005, 0.0006, 1.0, 7.0):
        tally.flushed(seconds)
    assert tally.flushes == 5
    assert round(tally.flush_seconds, 6) == 8.0011
    assert sum(tally.flush_buckets) == 5
    assert (tally.flush_buckets[0], tally.flush_buckets[1]) == (2, 1)
    assert tally.flush_buckets[len(FLUSH_BOUNDS) - 1 :] == [1, 1]


def test_tallies_share_nothing() -> None:
    one, other = Tally(), Tally()
    one.connections_refused["full"] += 1
    one.flushed(0.1)
    assert other == Tally()
