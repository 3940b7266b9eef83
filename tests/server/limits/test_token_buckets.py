"""Token buckets: what they allow, how long they say to wait, and how much they store."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_host.addresses import network_of
from clave_server.limits.token_buckets import TokenBuckets


def test_a_bucket_allows_a_burst_and_then_the_rate() -> None:
    buckets = TokenBuckets[str](2.0, 3, 10)
    assert [buckets.take("red", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("red", 0.25) == 0.25
    assert buckets.take("red", 0.5) == 0.0
    assert buckets.take("red", 0.5) > 0
    assert [buckets.take("red", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_each_key_has_its_own_bucket() -> None:
    buckets = TokenBuckets[str](1.0, 1, 10)
    assert [buckets.take(key, 0.0) for key in ("red", "blue", "red")] == [0.0, 0.0, 1.0]


def test_an_amount_above_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    buckets = TokenBuckets[str](1.0, 5, 10)
    assert buckets.take("red", 0.0, 20) == 0.0
    assert buckets.take("red", 0.0, 20) == 20.0
    assert buckets.take("red", 20.0, 20) == 0.0
    assert buckets.take("red", 20.0) == 16.0


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10)), max_size=60),
)
def test_burst_and_rate_are_never_exceeded_and_the_returned_wait_suffices(
    burst: int, steps: list[tuple[int, int]]
) -> None:
    buckets = TokenBuckets[str](1.0, burst, 4)
    now, taken = 0, 0.0
    for pause, amount in steps:
        now += pause
        wait = buckets.take("red", now, min(amount, burst))
        if wait:
            assert buckets.take("red", now + wait - 0.5, min(amount, burst)) > 0
            now += int(wait)
            assert buckets.take("red", now, min(amount, burst)) == 0.0
        taken += min(amount, burst)
        assert taken <= burst + now


def test_the_number_of_buckets_is_limited_and_full_ones_are_dropped() -> None:
    buckets = TokenBuckets[int](1.0, 2, 100)
    for key in range(10_000):
        assert buckets.take(key, 0.0) == 0.0
        assert len(buckets) <= 100
    assert buckets.take(-1, 1.0) == 0.0
    assert len(buckets) == 1


def test_the_least_recently_used_bucket_is_dropped_first() -> None:
    buckets = TokenBuckets[str](1.0, 2, 2)
    for key in ("red", "blue", "red", "green"):
        assert buckets.take(key, 0.0) == 0.0
    assert buckets.take("red", 0.0) == 1.0
    assert [buckets.take("blue", 0.0) for _ in range(2)] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_network_of_returns_an_ipv4_address_or_a_64(ip: str, network: str) -> None:
    assert network_of(ip) == network


@pytest.mark.parametrize("text", ["", "nonsense", "192.0.2.0/24", "1.2.3", "::g"])
def test_network_of_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ipaddress.AddressValueError):
        network_of(text)
