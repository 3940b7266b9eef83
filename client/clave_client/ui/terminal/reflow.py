"""Where the cursor is after a terminal has broken the prompt's rows for a narrower window. Draws nothing."""

from __future__ import annotations

from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.screen import Screen

__all__ = ["cursor_after_reflow"]


def cursor_after_reflow(screen: Screen, cursor: Point, columns: int) -> Point:
    """Return where `cursor` is now that the rows of `screen` are broken at `columns`."""
    y = 0
    for row in range(cursor.y):
        y += _place(screen, row, _length(screen, row) - 1, columns).y + 1
    place = _place(screen, cursor.y, cursor.x, columns)
    return Point(place.x, y + place.y)


def _length(screen: Screen, row: int) -> int:
    """Return the columns of a row without the blanks at its end; at least 1."""
    cells = screen.data_buffer[row]
    return max((x + max(cell.width, 1) for x, cell in cells.items() if cell.char != " "), default=1)


def _place(screen: Screen, row: int, column: int, columns: int) -> Point:
    """Return where a column of a row stands once it is broken at `columns`; wide characters stay whole."""
    cells = screen.data_buffer[row]
    x = y = at = 0
    while True:
        wide = max(cells[at].width, 1)
        if x + wide > columns and x:
            x, y = 0, y + 1
        if at + wide > column:
            return Point(x, y)
        x += wide
        at += wide
