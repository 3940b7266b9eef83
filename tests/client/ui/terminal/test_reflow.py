"""Where the cursor is after a terminal has broken rows anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.screen import Char, Screen
from prompt_toolkit.utils import get_cwidth

from clave_client.ui.terminal.reflow import cursor_after_reflow


def screen(*rows: str) -> Screen:
    drawn = Screen()
    for y, row in enumerate(rows):
        x = 0
        for character in row:
            drawn.data_buffer[y][x] = Char(character)
            x += get_cwidth(character)
    return drawn


@pytest.mark.parametrize(
    ("rows", "cursor", "columns", "after"),
    [
        (["0123456789"], (4, 0), 10, (4, 0)),
        (["0123456789"], (4, 0), 4, (0, 1)),
        (["0123456789"], (9, 0), 4, (1, 2)),
        (["0123456789", "ab"], (2, 1), 5, (2, 2)),
        (["", "ab"], (0, 1), 5, (0, 1)),
        (["01234   ", "ab"], (0, 1), 5, (0, 1)),
        (["日本語", "ab"], (0, 1), 5, (0, 2)),
        (["日本語"], (4, 0), 3, (0, 2)),
    ],
)
def test_where_the_cursor_is(
    rows: list[str], cursor: tuple[int, int], columns: int, after: tuple[int, int]
) -> None:
    assert cursor_after_reflow(screen(*rows), Point(*cursor), columns) == Point(*after)


@given(st.lists(st.text("ab日 ", min_size=1, max_size=12), min_size=1, max_size=4), st.integers(2, 12))
def test_each_row_moves_those_below_by_the_rows_it_takes(rows: list[str], columns: int) -> None:
    drawn = screen(*rows)
    places = [cursor_after_reflow(drawn, Point(0, y), columns) for y in range(len(rows))]
    assert all(place.x == 0 for place in places)
    for row, place, following in zip(rows, places, places[1:], strict=False):
        length = sum(map(get_cwidth, row.rstrip()))
        assert -(-max(length, 1) // columns) <= following.y - place.y <= max(length, 1)
