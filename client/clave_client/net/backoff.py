"""How long a client waits before it comes back to a relay. Knows no clock and no network."""

from __future__ import annotations

import random
from collections.abc import Callable

from clave_client.errors import ClientError, RelayRefused, RelayUnreachable

__all__ = ["LONGEST", "LONGEST_ASKED", "Backoff", "jitter"]

FIRST, LONGEST = 0.25, 30.0
"""The longest wait after one failure, and after many, in seconds."""

LONGEST_ASKED = 300.0
"""The longest wait, in seconds, that a relay is granted: it cannot keep anybody away by asking for more."""


def jitter(longest: float) -> float:
    """Return a random pause, in seconds, of at most `longest`."""
    return random.uniform(0.0, longest)  # noqa: S311 (nothing secret hangs on it)


class Backoff:
    """Counts failures. `jitter` keeps clients that lost one relay from coming back in step."""

    def __init__(self, jitter: Callable[[float], float] = jitter) -> None:
        self._jitter = jitter
        self._failures = 0

    def lost(self, reason: ClientError, *, lasted: float, spread: float) -> float:
        """Return how long to wait, in seconds, after a connection that was up for `lasted` seconds ended.

        `spread` is what the relay asked of whoever loses it without a word.
        """
        if lasted > LONGEST:
            self._failures = 0
        return self._pause(reason, spread if isinstance(reason, RelayUnreachable) else 0.0)

    def failed(self, reason: ClientError) -> float:
        """Return how long to wait, in seconds, after a connection that did not come up."""
        return self._pause(reason, 0.0)

    def _pause(self, reason: ClientError, spread: float) -> float:
        usual = min(LONGEST, FIRST * 2**self._failures)
        self._failures += 1
        asked = reason.retry_after if isinstance(reason, RelayRefused) else 0.0
        return min(asked, LONGEST_ASKED) + self._jitter(max(usual, min(spread, LONGEST_ASKED)))
