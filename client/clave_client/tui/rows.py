"""The loaded rows of a message list: messages and notes as wrapped lines. Knows no screen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from clave_client.events import MessageKind
from clave_client.rpc.values import HistoryMessage
from clave_client.tui.message_text import MARGIN, Names, continues, lines_of
from clave_client.ui.display import Line, date_text, plain, separator
from clave_client.ui.terminal.wrapping import wrap

__all__ = ["Row", "Rows"]


class Row:
    """A message, or a note between messages."""

    def __init__(
        self, lines: Sequence[Line], message: HistoryMessage | None = None, *, is_day: bool = False
    ) -> None:
        self._lines_of: Callable[..., Sequence[Line]] = lambda **_: lines
        self._lines: Sequence[Line] | None = lines
        self.message = message
        self.is_day = is_day
        """Whether it is the line before the first message of a day."""
        self._follows = False
        self._wrapped: list[Line] = []
        self._width = 0
        self.drawn: dict[int, Any] = {}
        """What a list has drawn of each of its lines; gone when they change."""

    @classmethod
    def of(cls, message: HistoryMessage, *, me: bytes, names: Names, numbered: bool = False) -> Row:
        """Return the row of a message; with `numbered` with its number."""
        row = cls([], message)
        row._lines_of = partial(lines_of, message, me=me, names=names, numbered=numbered)
        row._lines = None
        return row

    @property
    def lines(self) -> Sequence[Line]:
        """The lines, not wrapped yet."""
        if self._lines is None:
            self._lines = self._lines_of(follows=self._follows)
        return self._lines

    def set_follows(self, *, follows: bool) -> None:
        """Have a message stand below the name of the one before it, or below its own."""
        if self.message is not None and follows is not self._follows:
            self._follows, self._width = follows, 0
            self.drawn.clear()
            self._lines = None

    def wrapped(self, width: int) -> list[Line]:
        """Return the lines as they stand in a list `width` columns wide."""
        if width != self._width:
            self._wrapped = [row for line in self.lines for row in wrap(line, width, MARGIN)]
            self._width = width
            self.drawn.clear()
        return self._wrapped


class Rows:
    """The loaded rows of one room, with a line before the first message of each day.

    Each change returns how many lines came or went above what was there, so that a list can stay where it is.
    """

    def __init__(self, width: int) -> None:
        self._width = max(1, width)
        self._rows: list[Row] = []
        self._ends: list[int] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def height(self) -> int:
        """The number of lines."""
        ends = self._line_ends()
        return ends[-1] if ends else 0

    def line(self, number: int) -> Line:
        """Return a line; an empty one outside of the rows."""
        found = self.find(number)
        return [] if found is None else found[0].wrapped(self._width)[found[1]]

    def find(self, number: int) -> tuple[Row, int] | None:
        """Return the row in which a line is, and which of its lines that is; None outside of the rows."""
        ends = self._line_ends()
        place = bisect_right(ends, number)
        if number < 0 or place == len(ends):
            return None
        return self._rows[place], number - (ends[place - 1] if place else 0)

    def row_at(self, number: int) -> Row | None:
        """Return the row in which a line is."""
        found = self.find(number)
        return None if found is None else found[0]

    def start_of(self, row: Row) -> int:
        """Return the number of a row's first line, 0 if it is not here."""
        for place, each in enumerate(self._rows):
            if each is row:
                return self._line_ends()[place - 1] if place else 0
        return 0

    def holds(self, message: bytes) -> bool:
        """Return whether the message with an id is here."""
        return any(each.id == message for each in self.messages())

    def row_of(self, seq: int) -> Row | None:
        """Return the row of the message at this history seq."""
        return next((row for row in self._rows if row.message is not None and row.message.seq == seq), None)

    def span_of(self, row: Row) -> tuple[int, int]:
        """Return the numbers of a row's first line and of the one after its last."""
        start = self.start_of(row)
        return start, start + len(row.wrapped(self._width))

    def messages(self) -> list[HistoryMessage]:
        """Return the messages, in their order."""
        return [row.message for row in self._rows if row.message is not None]

    def last_message(self, *, own: bool) -> HistoryMessage | None:
        """Return the last message with a text, of the user's own or of somebody else."""
        messages = reversed(self.messages())
        return next((each for each in messages if each.own is own and each.kind is MessageKind.TEXT), None)

    def message_near(self, row: Row | None, step: int) -> Row | None:
        """Return the next row with a message, `step` (1 or -1) from a row.

        At the end it is the last one in that direction, without a row the last of all; None without any.
        """
        place = next((n for n, each in enumerate(self._rows) if each is row), None)
        if place is None:
            return next((each for each in reversed(self._rows) if each.message is not None), None)
        ahead = self._rows[place + 1 :] if step > 0 else self._rows[:place][::-1]
        found = next((each for each in ahead if each.message is not None), None)
        if found is None and row is not None and row.message is None:
            return self.message_near(row, -step) if any(each.message for each in self._rows) else None
        return found or row

    def between(self, one: Row, other: Row) -> list[Row]:
        """Return the rows with messages from one to another, in their order."""
        places = sorted(n for n, row in enumerate(self._rows) if row is one or row is other)
        found = self._rows[places[0] : places[-1] + 1] if places else []
        return [row for row in found if row.message is not None]

    def forget_drawn(self) -> None:
        """Have all rows drawn anew, as in other colours."""
        for row in self._rows:
            row.drawn.clear()

    def lines(self) -> list[Line]:
        """Return all lines, not wrapped."""
        return [line for row in self._rows for line in row.lines]

    def text(self) -> str:
        """Return all lines as text, as they are wrapped."""
        return "\n".join(plain(line) for row in self._rows for line in row.wrapped(self._width))

    @property
    def holds_own(self) -> bool:
        """Whether there is a message of the user's own."""
        return any(each.own for each in self.messages())

    @property
    def first(self) -> HistoryMessage | None:
        """The first message."""
        return next((row.message for row in self._rows if row.message is not None), None)

    @property
    def last(self) -> HistoryMessage | None:
        """The last message."""
        return next((row.message for row in reversed(self._rows) if row.message is not None), None)

    # --- changes ---

    def resize(self, width: int) -> None:
        """Wrap all lines anew for a list of another width."""
        if max(1, width) != self._width:
            self._width = max(1, width)
            self._ends = None

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        last = self._rows[-1].message if self._rows else None
        day = self.last
        added = _arranged(rows, last, "" if day is None else date_text(day.sent_at))
        self._rows += added
        if self._ends is not None:
            end = self._ends[-1] if self._ends else 0
            self._ends += [end := end + len(row.wrapped(self._width)) for row in added]

    def prepend(self, rows: Iterable[Row]) -> int:
        """Add earlier rows at the beginning."""
        before, first = self.height, self.first
        added = _arranged(rows, None, "")
        days = [date_text(row.message.sent_at) for row in added if row.message is not None]
        if first is not None and days[-1:] == [date_text(first.sent_at)] and self._rows[0].is_day:
            del self._rows[0]  # the line of a day that has begun above
        if added and self._rows and self._rows[0].message is not None:
            self._rows[0].set_follows(follows=continues(self._rows[0].message, added[-1].message))
        self._rows[:0] = added
        self._ends = None
        return self.height - before

    def replace(self, row: Row) -> Row | None:
        """Show a message that has changed anew, if it is here; return its row then."""
        for place, each in enumerate(self._rows):
            if each.message is not None and row.message is not None and each.message.id == row.message.id:
                row.set_follows(follows=each._follows)
                self._rows[place] = row
                self._ends = None
                return row
        return None

    def trim_start(self, most: int) -> int:
        """Drop the first rows, so that at most `most` are left; return minus the lines that went."""
        before = self.height
        del self._rows[: max(0, len(self._rows) - most)]
        if self._rows:
            self._rows[0].set_follows(follows=False)
        self._ends = None
        return self.height - before

    def trim_end(self, most: int) -> None:
        """Drop the last rows, so that at most `most` are left."""
        del self._rows[most:]
        self._ends = None

    def _line_ends(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(len(row.wrapped(self._width)) for row in self._rows))
        return self._ends


def _arranged(rows: Iterable[Row], before: HistoryMessage | None, day: str) -> list[Row]:
    """Return rows with a line before each that is of another day, and names once for several in a row."""
    found: list[Row] = []
    for row in rows:
        message = row.message
        if message is not None:
            if (now := date_text(message.sent_at)) != day:
                found.append(Row([separator(now)], is_day=True))
                day, before = now, None
            row.set_follows(follows=continues(message, before))
        found.append(row)
        before = message
    return found
