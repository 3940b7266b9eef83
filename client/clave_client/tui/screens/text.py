"""Some lines to read, over the main screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from clave_client.tui.keymap import bindings
from clave_client.tui.screens.over import OverScreen
from clave_client.ui.display import Line, plain

__all__ = ["TextScreen"]


class TextScreen(OverScreen[None]):
    """Shows lines below a heading."""

    CSS_PATH = "text.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")

    def __init__(self, heading: str, lines: Sequence[Line]) -> None:
        super().__init__()
        self._heading = heading
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Put the heading above the lines."""
        with Vertical(id="frame"):
            yield Static(Content(self._heading), id="heading")
            with VerticalScroll():
                yield Static(Content("\n".join(plain(line) for line in self._lines)))

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)
