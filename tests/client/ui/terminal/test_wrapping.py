"""Lines are wrapped at spaces: nothing but spaces is lost, and no row is too wide."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_client.ui.terminal.wrapping import Line, printable, shorten, split_rows, width, wrap

CHARACTERS = st.sampled_from("aZ09.- \n\t日本語ü\u0301😀\u200d👩🏽\ufe0f❤")
LINES = st.lists(
    st.tuples(st.sampled_from(["", "name", "time"]), st.text(CHARACTERS, max_size=40)), max_size=5
)
COLUMNS = st.integers(1, 60)

MARKS = "\u0301\ufe0f\U0001f3fd"
ONE_CHARACTER = re.compile(f"[\u200d{MARKS}]*(.[{MARKS}]*\u200d[\u200d{MARKS}]*)*.?[\u200d{MARKS}]*")
"""What is drawn as one, as far as made of CHARACTERS."""


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def styled(rows: list[Line]) -> list[tuple[str, str]]:
    """All characters but blanks, with their styles."""
    return [(style, each) for row in rows for style, text in row for each in text if each not in " \n\t"]


@given(LINES, COLUMNS)
def test_nothing_but_blanks_is_lost_and_styles_are_kept(line: Line, columns: int) -> None:
    assert styled(wrap(line, columns)) == styled([line])


@given(LINES, COLUMNS)
def test_rows_are_as_wide_as_the_window_at_most(line: Line, columns: int) -> None:
    for row in wrap(line, columns):
        text = plain(row)
        assert width(text) <= columns or ONE_CHARACTER.fullmatch(text)
        assert "\n" not in text
        assert "\t" not in text


@given(LINES, COLUMNS)
def test_a_word_is_broken_only_if_wider_than_a_row(line: Line, columns: int) -> None:
    words = plain(line).split()
    found = [word for row in wrap(line, columns) for word in plain(row).split()]
    if all(width(word) <= columns for word in words):
        assert found == words


@given(LINES, COLUMNS)
def test_there_are_as_many_rows_as_lines_at_least(line: Line, columns: int) -> None:
    assert len(wrap(line, columns)) >= plain(line).count("\n") + 1


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("", 10, [""]),
        ("fits", 4, ["fits"]),
        ("two words", 5, ["two", "words"]),
        ("0123 4567 89ab cdef", 10, ["0123 4567", "89ab cdef"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("x abcdefghij y", 6, ["x abcd", "efghij", "y"]),
        ("日本語", 5, ["日本", "語"]),
        ("日", 1, ["日"]),
        ("ae\u0301b", 2, ["ae\u0301", "b"]),
        ("a\n\n  b", 10, ["a", "", "  b"]),
        ("one two three four five six", 24, ["one two three four five", "      six"]),
    ],
)
def test_where_rows_end(text: str, columns: int, rows: list[str]) -> None:
    assert [plain(row) for row in wrap([("", text)], columns)] == rows


def test_only_rows_that_end_within_a_word_say_so() -> None:
    rows = split_rows([("", "one abcdefgh\ntwo")], 5)
    assert [(plain(row), broken) for row, broken in rows] == [
        ("one a", True),
        ("bcdef", True),
        ("gh", False),
        ("two", False),
    ]


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("short", 10, "short"),
        ("longer than that", 10, "longer ..."),
        ("a\nb", 10, "a..."),
        ("日本語日本", 8, "日本..."),
    ],
)
def test_shorten(text: str, columns: int, shown: str) -> None:
    assert shorten(text, columns) == shown
    assert width(shown) <= columns


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("ab", 2), ("日本", 4), ("e\u0301", 1), ("😀", 2), ("❤", 1), ("❤\ufe0f", 2)],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text(), st.sampled_from(["utf-8", "latin-1", "ascii", "koi8-r"]))
def test_printable_text_can_be_encoded_and_controls_nothing(text: str, encoding: str) -> None:
    [(style, shown)] = printable([("name", text)], encoding)
    shown.encode(encoding)
    assert style == "name"
    assert len(shown) == len(text)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in shown if each not in "\t\n")
