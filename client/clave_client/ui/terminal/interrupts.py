"""What Ctrl-C does: cancel what runs, else clear the text, else ask, else quit. Knows no terminal."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

__all__ = ["CONFIRM_SECONDS", "Interrupt", "Interrupts"]

CONFIRM_SECONDS: Final = 2.0
"""How long the question whether to quit stands."""


class Interrupt(enum.Enum):
    """What one Ctrl-C is to do."""

    CANCEL = enum.auto()
    CLEAR = enum.auto()
    ASK = enum.auto()
    QUIT = enum.auto()


class Interrupts:
    """Decides for each Ctrl-C. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_until = 0.0

    def is_asking(self) -> bool:
        """Whether the next Ctrl-C with nothing to cancel or clear quits."""
        return self._clock() < self._asked_until

    def press(self, *, running: bool, has_text: bool) -> Interrupt:
        """Return what to do now. `running`: something can be cancelled; `has_text`: text has been typed."""
        if running or has_text:
            self._asked_until = 0.0
            return Interrupt.CANCEL if running else Interrupt.CLEAR
        if self.is_asking():
            return Interrupt.QUIT
        self._asked_until = self._clock() + CONFIRM_SECONDS
        return Interrupt.ASK
