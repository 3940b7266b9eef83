"""Token buckets by key: how often something may happen. Knows no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["TokenBuckets"]

_K = TypeVar("_K", bound=Hashable)


class TokenBuckets(Generic[_K]):
    """One token bucket for each key: at most `burst` tokens, refilled with `rate_per_second`.

    A full bucket is not stored. Above `bound` keys the one not used for longest is dropped, which is full
    when it is used again: memory is bounded, at the price of leniency to a party with more than `bound` keys.
    """

    __slots__ = ("_bound", "_full_at", "_rate", "_span")

    def __init__(self, rate_per_second: float, burst: float, bound: int) -> None:
        self._rate = rate_per_second
        self._span = burst / rate_per_second
        self._bound = bound
        self._full_at: OrderedDict[_K, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: _K, now: float, amount: float = 1) -> float:
        """Take `amount` tokens and return 0.0, or take none and return the seconds to wait for them.

        `now` is in seconds of a monotonic clock. An amount above `burst` is taken from a full bucket, which
        then is in debt.
        """
        full_at = max(self._full_at.get(key, now), now)
        after = full_at + amount / self._rate
        if full_at > now and after - now > self._span:
            return min(after - now - self._span, full_at - now)
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        self._drop_full(now)
        return 0.0

    def _drop_full(self, now: float) -> None:
        while self._full_at:
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._bound:
                break
            del self._full_at[key]
