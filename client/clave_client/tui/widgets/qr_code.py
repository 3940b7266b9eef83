"""A QR code on the screen. Knows not what it says."""

from __future__ import annotations

from textual.content import Content
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from clave_client.ui.link_text import qr_lines

__all__ = ["QrCode"]


class QrCode(Static):
    """The QR code of a text; where it does not fit, words say how wide a window it takes.

    It is always light on black, as readers of the code expect, whatever the theme.
    """

    DEFAULT_CSS = """
    QrCode {
        width: 1fr;
        height: auto;
        &.-fits { width: auto; color: #ffffff; background: #000000; }
    }
    """

    def __init__(self, text: str = "", *, id: str | None = None) -> None:  # noqa: A002  (as of all widgets)
        super().__init__(id=id)
        self._rows: list[str] = []
        self.show(text)

    def show(self, text: str) -> None:
        """Show another text's code, or nothing for ""."""
        self._rows = qr_lines(text) if text else []
        self.display = bool(text)
        self._draw()

    def on_resize(self, _: Resize) -> None:
        """Show the code or that it does not fit."""
        self._draw()

    def _draw(self) -> None:
        columns = max(map(len, self._rows), default=0)
        parent = self.parent
        room = parent.size.width if self.is_mounted and isinstance(parent, Widget) else columns
        fits = columns <= room
        self.set_class(fits, "-fits")
        text = "\n".join(self._rows) if fits else f"the QR code takes {columns} columns; here are {room}"
        self.update(Content(text))
