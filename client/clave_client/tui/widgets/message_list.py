"""The messages of one room, as one widget that draws its visible lines only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.events import Blur, Focus, Key, Resize
from textual.geometry import Offset, Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from clave_client.rpc.values import HistoryMessage
from clave_client.tui.base_app import FRAME_SECONDS
from clave_client.tui.keymap import AT_ONCE, Keys
from clave_client.tui.messages import PageWanted, PlaceWanted
from clave_client.tui.rows import Row, Rows
from clave_client.tui.typed_ahead import pass_on
from clave_client.tui.widgets.bare_lines import BareLines
from clave_client.ui.display import Line

__all__ = ["MessageList"]

_MOST_ROWS: Final = 400
_MOST_HEIGHTS: Final = 6
"""Rows that are kept, or as many as fill so many screens; of more, those at the other end are dropped, and
loaded again when needed."""

_NEAR: Final = 1
"""The next page is asked for when fewer heights of the screen than this are left before it."""

_GUTTER: Final = 1
"""Columns before each line, in which the chosen messages have a sign."""

_OWN_ACTIONS: Final = frozenset({"cursor_up", "cursor_down", "range", "oldest", "newest"})
"""What the list does by itself; all else is done to messages by `act`."""

_STYLES: Final = (
    *("name", "own", "time", "note", "alarm", "bold", "italic", "strike", "code", "block", "link", "mention"),
    *("chosen", "cursor"),
)


class MessageList(BareLines, ScrollView, can_focus=True):
    """The rows of the current room. It asks for pages, by `PageWanted`, as they come near.

    While it has the focus, one message is chosen, or several in a row; `act` is called with an action of the
    place "messages" in `keymap` and these, or with one of `AT_ONCE` and none. `drawn` is called when a key or
    a page has changed what is shown.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"message-list--{name}" for name in _STYLES}
    ALLOW_SELECT = True

    def __init__(
        self, keys: Keys, act: Callable[[str, list[HistoryMessage]], None], drawn: Callable[[], None]
    ) -> None:
        super().__init__()
        self._keys = keys
        self._act = act
        self._drawn = drawn
        self._rows = Rows(1)
        self.has_older = self.has_newer = False
        self.unseen = 0
        """Messages that came while earlier ones were in sight."""
        self._follows = True
        """Whether the newest message was in sight; a list that got smaller goes on showing it."""
        self._top: Row | None = None
        """The row that the list was opened at, until it scrolls: it stays in sight in a smaller list."""
        self._asked: set[bool] = set()
        self._arrived: list[Row] = []
        self._held: list[Row] = []
        self._is_opening = False
        self._cursor: Row | None = None
        self._range: Row | None = None
        self._chosen: set[int] = set()
        self._style_cache: dict[str, Style] = {}

    # --- rows ---

    @property
    def rows(self) -> Rows:
        """The rows that are loaded."""
        return self._rows

    @property
    def is_at_end(self) -> bool:
        """Whether the newest message is in sight."""
        return not self.has_newer and self.scroll_offset.y >= self.max_scroll_y

    def show(
        self, rows: Iterable[Row], *, has_older: bool, has_newer: bool = False, top: Row | None = None
    ) -> None:
        """Show other rows, from their end, or with `top` from there, with a line of what is above."""
        self._rows = Rows(self._columns)
        self._cursor = self._range = self._top = None
        self._rows.append(rows)
        self.unseen = 0
        self.has_older, self.has_newer = has_older, has_newer
        if not has_newer:
            held, self._held = self._held, []
            self._rows.append(held)
        self._asked.clear()
        self._changed()
        if top is None:
            self.show_end()
        else:
            self._show_from(top)
        if self.has_focus:
            is_message = top is not None and top.message is not None
            self._choose(top if is_message else self._rows.message_near(top, 1))
        self.flush()
        self.want_near()
        if len(self._rows):
            self._drawn()

    @contextmanager
    def while_opening(self) -> Iterator[None]:
        """Show nothing, as for another room; what arrives meanwhile comes below what is loaded."""
        self._held.clear()
        self._arrived.clear()
        self._is_opening = True
        self.show([], has_older=False)
        try:
            yield
        finally:
            self._is_opening = False
            self.flush()

    def add_older(self, rows: Iterable[Row], *, has_older: bool) -> None:
        """Add rows before the first one; what is in sight stays where it is."""
        added = self._rows.prepend(rows)
        self.has_older = has_older
        if len(self._rows) > self._most_rows:
            self._rows.trim_end(self._most_rows)
            self.has_newer = True
        self._changed()
        self._shift(added)
        self.end_page(older=True)
        self.want_near()

    def add_arrived(self, row: Row) -> None:
        """Add what has come just now, with what else comes within a frame."""
        self._arrived.append(row)
        if len(self._arrived) == 1:
            self.set_timer(FRAME_SECONDS, self.flush)

    def flush(self) -> None:
        """Add what has arrived at once; messages are left out if newer ones than the last here are missing.

        Notes, which are in no store, are held until the newest messages are here.
        """
        if self._is_opening:
            return
        loaded = {each.seq for each in self._rows.messages()}
        oldest = min(loaded, default=0)
        arrived, self._arrived = self._arrived, []
        arrived = [
            row
            for row in arrived
            if row.message is None or (row.message.seq > oldest and row.message.seq not in loaded)
        ]
        if not arrived:
            return
        if not self.is_at_end and len(self._rows) + len(arrived) > self._most_rows:
            self.has_newer = True  # what is being read stays; the newest are loaded again
        if not self.is_at_end:
            self.unseen += sum(row.message is not None and not row.message.own for row in arrived)
        if self.has_newer:
            self._held += [row for row in arrived if row.message is None]
            del self._held[: -self._most_rows]
        else:
            self.add_newer(arrived)

    def add_newer(self, rows: Iterable[Row], *, has_newer: bool = False) -> None:
        """Add rows after the last one; if that was in sight, the new last one is."""
        follows = self.is_at_end and not has_newer and self._range is None
        self._rows.append(rows)
        if not has_newer and self._held:
            held, self._held = self._held, []
            self._rows.append(held)
        gone = self._rows.trim_start(self._most_rows)
        self.has_older |= gone < 0
        self.has_newer = has_newer
        self.end_page(older=False)
        self._changed()
        if follows:
            self.show_end()
            self._shift(gone, scrolls=False)
        elif gone:
            self._shift(gone)
        self.want_near()

    def show_end(self) -> None:
        """Show the last lines that are loaded; what is chosen stays."""
        self._top = None
        self._follows = not self.has_newer
        self.scroll_end(animate=False, immediate=True, x_axis=False)

    def end_page(self, *, older: bool) -> None:
        """Note that a page which was asked for was added, or that none comes."""
        self._asked.discard(older)

    def replace(self, row: Row) -> None:
        """Show a message that has changed."""
        self.flush()
        follows = self.is_at_end
        new = self._rows.replace(row)
        if new is not None and new.message is not None:
            id_ = new.message.id
            self._cursor, self._range, self._top = (
                new if each is not None and each.message is not None and each.message.id == id_ else each
                for each in (self._cursor, self._range, self._top)
            )
            self._choose(self._cursor, scrolls=False)
        self._changed()
        if follows:
            self.show_end()

    def _changed(self) -> None:
        # Not by assignment, after which Textual would lay out and draw the whole screen.
        self.set_reactive(MessageList.virtual_size, Size(self._columns, self._rows.height))
        self.refresh()

    def _show_from(self, top: Row) -> None:
        self.scroll_to(y=max(0, self._rows.start_of(top) - 1), animate=False, immediate=True)
        self._follows = self.is_at_end
        self._top = top

    def _shift(self, lines: int, *, scrolls: bool = True) -> None:
        """Follow rows that came or went above: what is in sight and what is selected stay."""
        if scrolls:
            top = self._top
            self.scroll_to(y=self.scroll_offset.y + lines, animate=False, immediate=True)
            self._top = top
        selection = self.text_selection
        if lines and selection is not None and selection.start is not None and selection.end is not None:
            moved = Selection(selection.start + Offset(0, lines), selection.end + Offset(0, lines))
            self.screen.selections = {**self.screen.selections, self: moved}

    # --- drawing ---

    @property
    def _most_rows(self) -> int:
        return max(_MOST_ROWS, _MOST_HEIGHTS * self.size.height)

    @property
    def _columns(self) -> int:
        return max(1, self.scrollable_content_region.width - _GUTTER)

    def on_resize(self, _: Resize) -> None:
        """Wrap the lines anew, and stay where the list was."""
        follows, row = self._follows, self._rows.row_at(self.scroll_offset.y)
        self._rows.resize(self._columns)
        self._changed()
        if self._top is not None:
            self._show_from(self._top)
        elif follows:
            self.show_end()
        elif row is not None:
            self.scroll_to(y=self._rows.start_of(row), animate=False, immediate=True)
        self.want_near()

    def notify_style_update(self) -> None:
        """Take the colours of another theme."""
        self._style_cache.clear()
        self._rows.forget_drawn()
        super().notify_style_update()

    def bare_lines(self, places: range) -> list[Strip]:
        """Return lines of what is in sight."""
        selection, width, top = self.text_selection, self.size.width, self.scroll_offset.y
        return [self._drawn_line(top + y, selection, width) for y in places]

    def render_line(self, y: int) -> Strip:
        """Return one line of what is in sight with the places of its characters, for the mouse."""
        number = self.scroll_offset.y + y
        return self._drawn_line(number, self.text_selection, self.size.width).apply_offsets(0, number)

    def _drawn_line(self, number: int, selection: Selection | None, width: int) -> Strip:
        found = self._rows.find(number)
        if found is None:
            return Strip.blank(width, self._style(""))
        row, place = found
        span = None if selection is None else selection.get_span(number)
        if span is None and id(row) not in self._chosen:  # the same wherever it stands
            strip: Strip | None = row.drawn.get(place)
            if strip is None or strip.cell_length != width:
                strip = row.drawn[place] = self._draw(self._rows.line(number))
            return strip
        base = ""
        if id(row) in self._chosen:
            base = "cursor" if row is self._cursor else "chosen"
        return self._draw(self._rows.line(number), base, span)

    def _draw(self, line: Line, base: str = "", span: tuple[int, int] | None = None) -> Strip:
        """Return a line as it is drawn; `base` is "chosen" or "cursor", `span` what is selected of it."""
        sign = "\N{LEFT HALF BLOCK}" if base else " "
        shown: Line = [(base, sign), *((f"{base} {names}", text) for names, text in line)]
        segments = [Segment(text, self._style(names)) for names, text in shown]
        if span is not None:
            segments = _select(segments, span, self.screen.get_component_rich_style("screen--selection"))
        return Strip(segments).adjust_cell_length(self.size.width, self._style(base))

    def _style(self, names: str) -> Style:
        style = self._style_cache.get(names)
        if style is None:
            style = self.rich_style
            for name in names.split():
                style += self.get_component_rich_style(f"message-list--{name}", partial=True)
            self._style_cache[names] = style
        return style

    # --- text that is selected by the mouse ---

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the text that is selected in the loaded rows, without the signs before them."""
        lines = [" " * _GUTTER + line for line in self._rows.text().split("\n")]
        found = selection.extract("\n".join(lines))
        return "\n".join(line.removeprefix(" " * _GUTTER) for line in found.split("\n")), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw anew as text is selected."""
        self.refresh()

    # --- messages that are chosen ---

    async def _on_key(self, event: Key) -> None:
        """Take a key in its turn, so that what is typed ahead is for what it leads to."""
        if pass_on(self, event):
            return
        action = self._keys.action("messages", event.key)
        main_action = self._keys.action("main", event.key)
        if action in _OWN_ACTIONS:
            await self.run_action(action)
        elif action is not None:
            if self.chosen:
                self._act(action, self.chosen)
        elif main_action in AT_ONCE:
            self._act(main_action, [])
        else:
            return
        event.prevent_default().stop()
        self._drawn()

    @property
    def chosen(self) -> list[HistoryMessage]:
        """The chosen messages, in their order."""
        if self._cursor is None:
            return []
        rows = self._rows.between(self._range or self._cursor, self._cursor)
        return [row.message for row in rows if row.message is not None]

    def choose(self, seq: int, *, takes_keys: bool = True) -> None:
        """Show the message at a history seq, if it is here; with `takes_keys` choose it for what keys do."""
        row = self._rows.row_of(seq)
        if row is None:
            return
        if takes_keys:
            self.screen.set_focus(self)
            self._choose(row)
        else:
            self._show_row(row)

    def on_focus(self, _: Focus) -> None:
        """Choose the last message in sight, unless one is chosen."""
        if self._cursor is None:
            last = self._rows.row_at(min(self.scroll_offset.y + self.size.height, self._rows.height) - 1)
            is_message = last is not None and last.message is not None
            self._choose(last if is_message else self._rows.message_near(last, -1), scrolls=False)

    def on_blur(self, _: Blur) -> None:
        """Choose no message."""
        self._range = None
        self._choose(None, scrolls=False)

    def _choose(self, row: Row | None, *, scrolls: bool = True) -> None:
        self._cursor = row
        chosen = [] if row is None else self._rows.between(self._range or row, row)
        self._chosen = {id(each) for each in chosen}
        if row is not None and scrolls:
            self._show_row(row)
        self.refresh()

    def _show_row(self, row: Row) -> None:
        first, end = self._rows.span_of(row)
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if first < top or end > top + height:
            y = first - 1 if first < top else end - height + (1 if self.has_newer else 0)
            self.scroll_to(y=max(0, y), animate=False, immediate=True)

    def action_cursor_up(self) -> None:
        """Choose the message above."""
        self._choose(self._rows.message_near(self._cursor, -1))

    def action_cursor_down(self) -> None:
        """Choose the message below; below the last one is what is written."""
        below = self._rows.message_near(self._cursor, 1)
        if below is self._cursor and not self.has_newer:
            self.show_end()
            self._act("go_on_writing", [])
        else:
            self._choose(below)

    def action_range(self) -> None:
        """Choose several messages from this one on, or only one again."""
        self._range = None if self._range is not None else self._cursor
        self._choose(self._cursor)

    def action_oldest(self) -> None:
        """Go to the oldest message."""
        self.post_message(PlaceWanted(0.0))

    def action_newest(self) -> None:
        """Go to the newest message."""
        if self.has_newer:
            self.post_message(PlaceWanted(1.0))
        else:
            self.show_end()
            if self.has_focus:
                self._choose(self._rows.message_near(None, 1))

    # --- scrolling ---

    def action_page_up(self) -> None:
        """Show what is above what is in sight, at once; Textual's own action waits for the next refresh."""
        self._scroll_pages(-1)

    def action_page_down(self) -> None:
        """Show what is below what is in sight."""
        self._scroll_pages(1)

    def _scroll_pages(self, pages: int) -> None:
        y = self.scroll_offset.y + pages * self.size.height
        self.scroll_to(y=y, animate=False, immediate=True)

    @property
    def first_in_sight(self) -> HistoryMessage | None:
        """The first message of which something is in sight."""
        row = self._rows.row_at(self.scroll_offset.y)
        if row is None or row.message is None:
            row = None if row is None else self._rows.message_near(row, 1)
        return None if row is None else row.message

    @property
    def last_in_sight(self) -> HistoryMessage | None:
        """The last message of which something is in sight."""
        end = min(self.scroll_offset.y + self.size.height, self._rows.height)
        last = self._rows.row_at(end - 1)
        if last is not None and last.message is None:
            last = self._rows.message_near(last, -1)
        is_in_sight = last is not None and self._rows.start_of(last) < end
        return last.message if last is not None and is_in_sight else None

    @property
    def messages_in_sight(self) -> int:
        """How many messages are at least partly in sight."""
        top = self.scroll_offset.y
        rows = {id(row): row for y in range(self.size.height) if (row := self._rows.row_at(top + y))}
        return sum(row.message is not None for row in rows.values())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for the next page when it comes near."""
        super().watch_scroll_y(old_value, new_value)
        self._top = None
        self._follows = self.is_at_end
        if self._follows:
            self.unseen = 0
        self.want_near()

    def want_near(self) -> None:
        """Ask for the pages that come near."""
        margin, y = _NEAR * max(1, self.size.height), self.scroll_offset.y
        for older, has_more, left in (
            (True, self.has_older, y),
            (False, self.has_newer, self.max_scroll_y - y),
        ):
            if has_more and left < margin and older not in self._asked:
                self._asked.add(older)
                # What is here is drawn first.
                self.call_after_refresh(self.post_message, PageWanted(older=older))


def _select(segments: list[Segment], span: tuple[int, int], style: Style) -> list[Segment]:
    """Return segments with the characters of a span, to the end with -1, in another style."""
    start, end = span
    found: list[Segment] = []
    place = 0
    for text, own, _ in segments:
        last = len(text) if end < 0 else max(0, min(len(text), end - place))
        first = max(0, min(last, start - place))
        for part, is_selected in ((text[:first], False), (text[first:last], True), (text[last:], False)):
            if part:
                found.append(Segment(part, (own or Style()) + style if is_selected else own))
        place += len(text)
    return found
