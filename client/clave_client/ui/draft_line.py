"""The line being typed, as a conversation sees it: each room keeps what was not sent. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["DraftLine", "NoDraft", "TypedText"]


@dataclass
class TypedText:
    """What was typed before a key that leads elsewhere; `is_kept` once it is stored with where it belongs."""

    text: str = field(default="", repr=False)
    is_kept: bool = False


class DraftLine(Protocol):
    """The line being typed at a prompt."""

    def text(self) -> str:
        """Return what is typed."""

    def put_back(self, text: str) -> None:
        """Make `text` what is typed; if something is, the newest of the earlier texts."""


class NoDraft:
    """The line of a pipe: nothing is typed there."""

    def text(self) -> str:
        """Return nothing."""
        return ""

    def put_back(self, text: str) -> None:
        """Do nothing."""
