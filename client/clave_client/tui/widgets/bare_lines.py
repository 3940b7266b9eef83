"""Widgets that are drawn with less work than others: Textual asks for borders and tints at each line."""

from __future__ import annotations

from textual.containers import Horizontal
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

__all__ = ["BareLines", "FilledRow"]


class BareLines(Widget):
    """Draws its lines as they are: as wide as it is, with its background.

    What a stylesheet says of its borders, paddings, tints or opacity does nothing.

    Most lines are drawn before and are the same objects again, so that Textual's own caches hold for them.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw the lines of a region of the widget."""
        strips = self.bare_lines(crop.line_range)
        background = self.background_colors[1]
        for each in self.get_line_filters():
            strips = [strip.apply_filter(each, background) for strip in strips]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def bare_lines(self, places: range) -> list[Strip]:
        """Return lines of the widget, the first of which is 0."""
        return [self.render_line(y) for y in places]


class FilledRow(Horizontal):
    """A container whose own lines are not drawn, as what is in it fills it."""

    BLANK = True
