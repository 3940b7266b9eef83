"""The line being typed, as a conversation sees it: each room keeps what was not sent. Draws nothing."""

from __future__ import annotations

from typing import Protocol

__all__ = ["DraftLine", "NoDraft"]


class DraftLine(Protocol):
    """The line being typed at a prompt."""

    def text(self) -> str:
        """Return what is typed."""

    def set_text(self, text: str) -> None:
        """Replace what is typed."""


class NoDraft:
    """The line of a pipe: nothing is typed there."""

    def text(self) -> str:
        """Return nothing."""
        return ""

    def set_text(self, text: str) -> None:
        """Do nothing."""
