"""The bar beside the messages: where in the whole history is what one sees, not only in what is loaded."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.events import MouseDown, MouseMove, MouseUp
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from clave_client.tui.messages import PlaceWanted

__all__ = ["PlaceBar"]

_BAR: Final = "\N{RIGHT HALF BLOCK}"
_TRACK: Final = "\N{BOX DRAWINGS LIGHT VERTICAL}"


class PlaceBar(Widget):
    """A vertical bar; `top` and `end` say which part of the history is in sight, from 0.0 to 1.0.

    A click on it posts `PlaceWanted`.
    """

    top: reactive[float] = reactive(0.0)
    end: reactive[float] = reactive(1.0)

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[str, Strip] = {}

    def render_line(self, y: int) -> Strip:
        """Draw one line of the bar."""
        height = max(1, self.size.height)
        first = min(height - 1, int(self.top * height))
        last = max(first + 1, round(self.end * height))
        is_all = self.top <= 0.0 and self.end >= 1.0
        sign = " " if is_all else _BAR if first <= y < last else _TRACK
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
