"""The messages of one room, as one widget that draws its visible lines only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from clave_client.tui.messages import PageWanted
from clave_client.tui.rows import Row, Rows

__all__ = ["MessageList"]

_MOST_ROWS: Final = 400
"""Rows that are kept; of more, those at the other end are dropped, and loaded again when needed."""

_FRAME_SECONDS: Final = 1 / 15
"""What comes within this time is drawn at once."""

_NEAR: Final = 2
"""The next page is asked for when so many heights of the screen are left before it."""


class MessageList(ScrollView, can_focus=True):
    """The rows of the current room. It asks for pages, by `PageWanted`, as they come near."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"message-list--{name}"
        for name in (
            *("name", "own", "time", "note", "alarm", "bold", "italic", "strike", "code", "link", "mention"),
        )
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", show=False),
        Binding("down", "scroll_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("home", "scroll_home", show=False),
        Binding("end", "newest", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows = Rows(1)
        self.has_older = self.has_newer = False
        self._asked: set[bool] = set()
        self._arrived: list[Row] = []

    # --- rows ---

    @property
    def rows(self) -> Rows:
        """The rows that are loaded."""
        return self._rows

    @property
    def is_at_end(self) -> bool:
        """Whether the newest message is in sight."""
        return not self.has_newer and self.scroll_offset.y >= self.max_scroll_y

    def show(self, rows: Iterable[Row], *, has_older: bool, has_newer: bool = False) -> None:
        """Show other rows, from their end."""
        self._rows = Rows(self._columns)
        self._arrived.clear()
        self._rows.append(rows)
        self.has_older, self.has_newer = has_older, has_newer
        self._asked.clear()
        self._changed()
        self.scroll_end(animate=False, immediate=True, x_axis=False)

    def add_older(self, rows: Iterable[Row], *, has_older: bool) -> None:
        """Add rows before the first one; what is in sight stays where it is."""
        added = self._rows.prepend(rows)
        self.has_older = has_older
        if len(self._rows) > _MOST_ROWS:
            self._rows.trim_end(_MOST_ROWS)
            self.has_newer = True
        self._asked.discard(True)
        self._changed()
        self.scroll_to(y=self.scroll_offset.y + added, animate=False, immediate=True)

    def add_arrived(self, row: Row) -> None:
        """Add what has come just now, with what else comes within a frame."""
        self._arrived.append(row)
        if len(self._arrived) == 1:
            self.set_timer(_FRAME_SECONDS, self.flush)

    def flush(self) -> None:
        """Add what has arrived at once, unless newer messages than the last one here are not loaded."""
        arrived, self._arrived = self._arrived, []
        if arrived and not self.has_newer:
            self.add_newer(arrived)

    def add_newer(self, rows: Iterable[Row], *, has_newer: bool = False) -> None:
        """Add rows after the last one; if that was in sight, the new last one is."""
        follows = self.is_at_end and not has_newer
        self._rows.append(rows)
        gone = self._rows.trim_start(_MOST_ROWS)
        self.has_older |= gone < 0
        self.has_newer = has_newer
        self._asked.discard(False)
        self._changed()
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif gone:
            self.scroll_to(y=self.scroll_offset.y + gone, animate=False, immediate=True)

    def replace(self, row: Row) -> None:
        """Show a message that has changed."""
        self.flush()
        follows = self.is_at_end
        self._rows.replace(row)
        self._changed()
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _changed(self) -> None:
        self.virtual_size = Size(self._columns, self._rows.height)
        self.refresh()

    # --- drawing ---

    @property
    def _columns(self) -> int:
        return max(1, self.scrollable_content_region.width)

    def on_resize(self, _: Resize) -> None:
        """Wrap the lines anew, and stay where the list was."""
        follows, row = self.is_at_end, self._rows.row_at(self.scroll_offset.y)
        self._rows.resize(self._columns)
        self._changed()
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif row is not None:
            self.scroll_to(y=self._rows.start_of(row), animate=False, immediate=True)

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is in sight."""
        line = self._rows.line(self.scroll_offset.y + y)
        segments = [Segment(text, self._style(names)) for names, text in line]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _style(self, names: str) -> Style:
        style = self.rich_style
        for name in names.split():
            style += self.get_component_rich_style(f"message-list--{name}", partial=True)
        return style

    # --- scrolling ---

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for the next page when it comes near."""
        super().watch_scroll_y(old_value, new_value)
        margin = _NEAR * max(1, self.size.height)
        for older, has_more, left in (
            (True, self.has_older, new_value),
            (False, self.has_newer, self.max_scroll_y - new_value),
        ):
            if has_more and left < margin and older not in self._asked:
                self._asked.add(older)
                self.post_message(PageWanted(older=older))

    def action_newest(self) -> None:
        """Go to the newest message."""
        if self.has_newer:
            self.post_message(PageWanted(older=False))
        self.scroll_end(animate=False)
