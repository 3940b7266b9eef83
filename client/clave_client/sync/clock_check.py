"""Compares this machine's clock with the relay's, whose word is a hint for the user only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from clave_client.events import Event, Notice
from clave_client.formats.durations import duration_words
from clave_wire.messages import LoggedIn

__all__ = ["CLOCK_TOLERANCE", "ClockCheck", "difference_words"]

CLOCK_TOLERANCE: Final = 300.0
"""Seconds between two clocks that are not worth a word."""


def difference_words(ahead: float) -> str:
    """Say how many seconds a clock is ahead of the relay's, e.g. "3 hours behind the relay's"."""
    return f"{duration_words(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the relay's"


class ClockCheck:
    """How far `clock`, in seconds since 1970, is ahead of the relay's, as of the last login."""

    def __init__(self, clock: Callable[[], float], emit: Callable[[Event], None]) -> None:
        self._clock = clock
        self._emit = emit
        self._relay_began: float | None = None
        """The relay's time at which the event loop's was 0."""

        self._is_told = False

    def connected(self, logged_in: LoggedIn) -> None:
        """Take the relay's time from its answer to a login, and tell the user once when the clocks differ."""
        loop_time = asyncio.get_running_loop().time()
        self._relay_began = logged_in.time / 1000 - loop_time if logged_in.time else None
        ahead = self.ahead
        is_off = ahead is not None and abs(ahead) > CLOCK_TOLERANCE
        was_told, self._is_told = self._is_told, is_off
        if ahead is not None and is_off and not was_told:
            self._emit(
                Notice(
                    b"",
                    f"this machine's clock is {difference_words(ahead)}: set it, or times are wrong and"
                    " invitations fail; if it is right, tell the relay's operator",
                )
            )

    @property
    def ahead(self) -> float | None:
        """Seconds that the clock is ahead of the relay's; None if the relay did not tell its time."""
        if self._relay_began is None:
            return None
        return self._clock() - (self._relay_began + asyncio.get_running_loop().time())
