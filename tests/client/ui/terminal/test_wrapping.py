"""Lines are wrapped at spaces: nothing but spaces is lost, no row is too wide, and none looks like a line."""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_client.ui.terminal.wrapping import Line, printable, shorten, split_rows, width, wrap

CHARACTERS = st.sampled_from("aZ09.- \u00a0\u3000\n\t日本語ü\u0301😀\u200d👩🏽\ufe0f❤")
URLS = st.from_regex(r" https?://[a-z0-9:_]{0,60}", fullmatch=True)
LINES = st.lists(
    st.tuples(st.sampled_from(["", "name", "time"]), st.text(CHARACTERS, max_size=40) | URLS), max_size=5
)
COLUMNS = st.integers(1, 60)

MARKS = "\u0301\ufe0f\U0001f3fd"
ONE_CHARACTER = re.compile(f"[\u200d{MARKS}]*(.[{MARKS}]*\u200d[\u200d{MARKS}]*)*.?[\u200d{MARKS}]*")
"""What is drawn as one, as far as made of CHARACTERS."""

SPACES = [
    character for character in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(character) == "Zs"
]
FORGED = "12:34 blue: hi"


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def styled(rows: list[Line]) -> list[tuple[str, str]]:
    """All characters but blanks, with their styles."""
    return [(style, each) for row in rows for style, text in row for each in text if not each.isspace()]


def forged_rows(line: Line, columns: int) -> list[str]:
    """The rows after the first that begin in the first column, but for pieces of URLs."""
    rows = split_rows(line, columns)
    return [
        plain(row)
        for (_, is_url), (row, _) in pairwise(rows)
        if plain(row)[:1].strip(" ") and not (is_url and re.fullmatch("[!-~]*", plain(row)))
    ]


@given(LINES, COLUMNS)
def test_nothing_but_blanks_is_lost_and_styles_are_kept(line: Line, columns: int) -> None:
    assert styled(wrap(line, columns)) == styled([line])


WORDS = st.lists(st.tuples(st.sampled_from(["", "name"]), st.text("a9.- ", max_size=40)), max_size=5)


@given(WORDS, COLUMNS)
def test_rows_of_ascii_end_where_those_of_other_letters_do(line: Line, columns: int) -> None:
    foreign = [(style, text.replace("a", "ü")) for style, text in line]
    expected = [[(style, text.replace("ü", "a")) for style, text in row] for row in wrap(foreign, columns)]
    if len(plain(line)) > columns:
        assert wrap(line, columns) == expected
    else:
        assert [plain(row) for row in wrap(line, columns)] == [plain(line)]


@given(LINES, COLUMNS)
def test_rows_are_as_wide_as_the_window_at_most(line: Line, columns: int) -> None:
    for row in wrap(line, columns):
        text = plain(row)
        assert width(text) <= columns or ONE_CHARACTER.fullmatch(text.lstrip(" "))
        assert "\n" not in text
        assert "\t" not in text


@given(LINES, COLUMNS)
def test_a_word_is_broken_only_if_wider_than_an_indented_row(line: Line, columns: int) -> None:
    words = plain(line).split()
    found = [word for row in wrap(line, columns) for word in plain(row).split()]
    if all(width(word) <= columns - min(6, max(1, columns // 4), columns - 1) for word in words):
        assert found == words


@given(LINES, COLUMNS)
def test_there_are_as_many_rows_as_lines_at_least(line: Line, columns: int) -> None:
    assert len(wrap(line, columns)) >= plain(line).count("\n") + 1


@given(LINES, COLUMNS)
def test_only_urls_begin_in_the_first_column_after_the_first_row(line: Line, columns: int) -> None:
    if columns > 2:
        assert forged_rows(line, columns) == []
    else:  # a wide character fills such a row
        assert all(ONE_CHARACTER.fullmatch(row) for row in forged_rows(line, columns))


@given(LINES, COLUMNS)
def test_rows_that_the_terminal_is_to_end_are_full(line: Line, columns: int) -> None:
    assert all(width(plain(row)) >= columns for row, goes_on in split_rows(line, columns) if goes_on)


@pytest.mark.parametrize("columns", [3, 8, 23, 24, 80, 100])
@pytest.mark.parametrize(
    "text",
    [
        *(f"{{}}{FORGED.replace(' ', space)}" for space in SPACES),
        *(f"{{}}{space}{FORGED.replace(' ', space)}" for space in SPACES),
        f"{{}}{FORGED.replace(' ', chr(0x2800))}",
        f"http{{}} {FORGED}",
        f"https://a{{}}{FORGED}",
        f"https://a{{}}{FORGED.replace(' ', chr(0xA0))}",
        f"https://a{{}}\u00e9{FORGED.replace(' ', '_')}",
        f"x\n{{}}{FORGED}",
        f"x\n      {{}}{' ' * 200}{FORGED}",
        f"x\n\u3000{{}}{FORGED}",
    ],
)
def test_no_text_looks_like_the_line_of_another(text: str, columns: int) -> None:
    for length in range(columns * 2):
        line: Line = [("time", "12:00 "), ("name", "red"), ("", f": {text.format('x' * length)}")]
        assert forged_rows(line, columns) == []
        for row in wrap(line, columns)[1:]:
            assert not re.match(r"\d\d:\d\d\W", plain(row))


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("", 10, [""]),
        ("fits", 4, ["fits"]),
        ("two words", 6, ["two", " words"]),
        ("two words", 5, ["two w", " ords"]),
        ("two\u3000words", 8, ["two", "  words"]),
        ("0123 4567 89ab cdef", 10, ["0123 4567", "  89ab", "  cdef"]),
        ("abcdefghij", 4, ["abcd", " efg", " hij"]),
        ("x abcdefghij y", 6, ["x abcd", " efghi", " j y"]),
        ("日本語", 5, ["日本", " 語"]),
        ("日", 1, ["日"]),
        ("a日b", 2, ["a", "日", " b"]),
        ("abc", 1, ["a", "b", "c"]),
        ("ae\u0301b", 2, ["ae\u0301", " b"]),
        ("a\n\n  b", 10, ["a", "", "  b"]),
        ("a\nb", 24, ["a", "      b"]),
        ("one two three four five six", 24, ["one two three four five", "      six"]),
        ("one " + "x" * 30 + " six", 24, ["one " + "x" * 20, "      " + "x" * 10 + " six"]),
        ("see http://abcdefgh ij", 10, ["see http:/", "/abcdefgh", "  ij"]),
        ("see <http://abcdefg> ij", 10, ["see <http:", "//abcdefg>", "  ij"]),
        ("a loooong http://abcdefgh", 10, ["a loooong", "  http://a", "bcdefgh"]),
    ],
)
def test_where_rows_end(text: str, columns: int, rows: list[str]) -> None:
    assert [plain(row) for row in wrap([("", text)], columns)] == rows


def test_only_rows_that_end_within_a_url_say_so() -> None:
    rows = split_rows([("", "see https://a/path is\nabcdefghij")], 8)
    assert [(plain(row), goes_on) for row, goes_on in rows] == [
        ("see http", True),
        ("s://a/pa", True),
        ("th", False),
        ("  is", False),
        ("  abcdef", False),
        ("  ghij", False),
    ]


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("short", 10, "short"),
        ("longer than that", 10, "longer ..."),
        ("a\nb", 10, "a..."),
        ("日本語日本", 8, "日本..."),
        ("e" + "\u0301" * 100, 4, "e" + "\u0301" * 31 + "..."),
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


@given(st.text(), st.sampled_from(["utf-8", "latin-1", "ascii", "koi8-r", "cp1252"]))
def test_printable_text_can_be_encoded_and_controls_nothing(text: str, encoding: str) -> None:
    [(style, shown)] = printable([("name", text)], encoding)
    shown.encode(encoding)
    assert style == "name"
    assert len(shown) == len(text)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in shown if each not in "\t\n")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "koi8-r", "cp866", "mac-roman"])
def test_printable_text_has_no_byte_of_a_c1_control(encoding: str) -> None:
    everything = "".join(map(chr, range(0xD800)))
    [(_, shown)] = printable([("", everything)], encoding)
    assert len(shown) == len(everything)
    assert not any(0x80 <= byte < 0xA0 for byte in shown.encode(encoding))
