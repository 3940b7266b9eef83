"""How long to wait before reconnecting: exponential backoff with full jitter. Knows no clock, no network."""

from __future__ import annotations

import random
from collections.abc import Callable

from clave_client.errors import ClientError, RelayRefused, RelayUnreachable

__all__ = ["LONGEST", "LONGEST_ASKED", "Backoff", "jitter"]

FIRST, LONGEST = 0.25, 30.0
"""Upper bound of the random wait after the first failure, and after many, in seconds."""

LONGEST_ASKED = 300.0
"""Longest wait, in seconds, that is granted to a relay that asks for one: it cannot keep a client away."""


def jitter(longest: float) -> float:
    """Return a random pause between 0 and `longest` seconds."""
    return random.uniform(0.0, longest)  # noqa: S311 (not a secret)


class Backoff:
    """Counts failures in a row; `jitter` spreads the reconnects of clients that lost the same relay."""

    def __init__(self, jitter: Callable[[float], float] = jitter) -> None:
        self._jitter = jitter
        self._failures = 0

    def after_loss(self, reason: ClientError, *, lasted: float, spread: float) -> float:
        """Return the seconds to wait after losing a connection that was up for `lasted` seconds.

        `spread` is the relay's wish, in seconds, for unannounced losses.
        """
        if lasted > LONGEST:
            self._failures = 0
        return self._pause(reason, spread if isinstance(reason, RelayUnreachable) else 0.0)

    def after_failure(self, reason: ClientError) -> float:
        """Return the seconds to wait after a failed attempt to connect."""
        return self._pause(reason, 0.0)

    def _pause(self, reason: ClientError, spread: float) -> float:
        usual = min(LONGEST, FIRST * 2**self._failures)
        self._failures += 1
        asked = reason.retry_after if isinstance(reason, RelayRefused) else 0.0
        return min(asked, LONGEST_ASKED) + self._jitter(max(usual, min(spread, LONGEST_ASKED)))
