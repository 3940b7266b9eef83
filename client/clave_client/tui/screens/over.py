"""What is common to all that opens over the main screen: it closes once."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

__all__ = ["OverScreen"]

R = TypeVar("R")


class OverScreen(ModalScreen[R]):
    """A screen over another one."""

    def dismiss(self, result: R | None = None) -> AwaitComplete:
        """Close it, if it is in front: Textual closes whatever is, the main screen too, at a second key."""
        if self.app.screen is not self:
            return AwaitComplete()
        return super().dismiss(result)
