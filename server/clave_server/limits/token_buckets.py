"""How often something may happen: token buckets by key, and what counts as one network. Knows no clock."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

__all__ = ["TokenBuckets", "network_of"]

_K = TypeVar("_K", bound=Hashable)

_IPV6_PREFIX: Final = 64
"""Bits: the smallest network that one customer of IPv6 gets, all of whose addresses are theirs."""


class TokenBuckets(Generic[_K]):
    """One token bucket for each key: `burst` tokens at most, `rate_per_second` of them coming back.

    A full bucket is not kept. Beyond `bound` keys the one untouched for longest is forgotten, and full again:
    memory stays bounded at the price of leniency towards whoever commands more than `bound` keys.
    """

    __slots__ = ("_bound", "_full_at", "_rate", "_span")

    def __init__(self, rate_per_second: float, burst: float, bound: int) -> None:
        self._rate = rate_per_second
        self._span = burst / rate_per_second
        self._bound = bound
        self._full_at: OrderedDict[_K, float] = OrderedDict()

    @property
    def kept(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def take(self, key: _K, now: float, amount: float = 1) -> float:
        """Take `amount` tokens and return 0.0, or take none and return the seconds to wait for them.

        `now` is in seconds of a clock that never goes back. More than a burst at once takes a full bucket
        into debt.
        """
        full_at = max(self._full_at.get(key, now), now)
        after = full_at + amount / self._rate
        if full_at > now and after - now > self._span:
            return min(after - now - self._span, full_at - now)
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        while self._full_at:
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._bound:
                break
            del self._full_at[key]


def network_of(ip: str) -> str:
    """Return what one party is taken to command: an IPv4 address itself, of IPv6 the /64, `2001:db8::/64`.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. Raises `ValueError` for anything
    that is no address.
    """
    if ":" not in ip:
        return str(ipaddress.IPv4Address(ip))
    address = ipaddress.IPv6Address(ip.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
