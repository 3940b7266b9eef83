"""The bar beside the messages: where in the whole history is what one sees, not only in what is loaded."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.events import MouseDown, MouseMove, MouseUp
from textual.reactive import reactive
from textual.strip import Strip

from clave_client.tui.messages import PlaceWanted
from clave_client.tui.widgets.bare_lines import BareLines

__all__ = ["PlaceBar"]

_BAR: Final = "\N{RIGHT HALF BLOCK}"
_TRACK: Final = "\N{BOX DRAWINGS LIGHT VERTICAL}"


class PlaceBar(BareLines):
    """A vertical bar; `top` and `end` are the part of the history it shows. A click posts `PlaceWanted`."""

    _lines: reactive[range | None] = reactive(None)
    """The lines of what is in sight; None if that is all."""

    def __init__(self) -> None:
        super().__init__()
        self.top, self.end = 0.0, 1.0
        self._drawn: dict[str, Strip] = {}

    def show(self, top: float, end: float) -> None:
        """Show which part of the history is in sight, from 0.0 to 1.0."""
        self.top, self.end = top, end
        height = max(1, self.size.height)
        first = min(height - 1, int(top * height))
        is_all = top <= 0.0 and end >= 1.0
        self._lines = None if is_all else range(first, max(first + 1, round(end * height)))

    def on_resize(self) -> None:
        """Show the same part on another height."""
        self.show(self.top, self.end)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the bar."""
        sign = " " if self._lines is None else _BAR if y in self._lines else _TRACK
        strip = self._drawn.get(sign)
        if strip is None:
            style = self.rich_style + Style(dim=sign == _TRACK)
            strip = self._drawn[sign] = Strip([Segment(sign, style)], 1)
        return strip

    def notify_style_update(self) -> None:
        """Take the colours of another theme."""
        self._drawn.clear()
        super().notify_style_update()

    def on_mouse_down(self, event: MouseDown) -> None:
        """Go to where the mouse is."""
        self.capture_mouse()
        self._want(event.y)

    def on_mouse_move(self, event: MouseMove) -> None:
        """Follow the mouse."""
        if self.app.mouse_captured is self:
            self._want(event.y)

    def on_mouse_up(self, _: MouseUp) -> None:
        """Follow the mouse no longer."""
        self.release_mouse()

    def _want(self, y: int) -> None:
        self.post_message(PlaceWanted(min(1.0, max(0.0, y / max(1, self.size.height - 1)))))
