"""Wraps lines at spaces to the columns of a terminal. Knows no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from prompt_toolkit.utils import get_cwidth

from clave_client.ui.warnings import encode

__all__ = ["Line", "printable", "shorten", "split_rows", "width", "wrap"]

Line = list[tuple[str, str]]
"""Pieces of one line: a style's name and its text."""

_Characters = list[tuple[str, str]]
"""As `Line`, with one character in each piece."""

_INDENT = 6
"""Spaces before the second and later rows of a line, in a window of at least four times as many columns.

Without them, the text of one line could look like the start of another. Narrower windows have fewer, but one
at least, except before a wide character in a window of two columns.
"""

_URL = re.compile(r"<?https?://[!-~]*")
"""A word whose rows have no indent: as it holds no space, none of them looks like the start of a line."""

_WORD = re.compile("[^ ]+")

_TAB = " " * 4

_WIDE = 2
"""Columns of a wide character."""

_MOST_PER_COLUMN = 8
"""Characters that are looked at for each column of a text to shorten; marks take no columns."""

_JOINER, _EMOJI_SELECTOR = "\u200d", "\ufe0f"

_CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if code not in (0x09, 0x0A)}


def printable(line: Line, encoding: str) -> Line:
    """Return `line` with "?" for what `encode` replaces, and for control characters but tabs and newlines."""
    return [(style, encode(text.translate(_CONTROLS), encoding).decode(encoding)) for style, text in line]


def width(text: str) -> int:
    """Return the columns that `text` takes at most."""
    if text.isascii():
        return len(text)
    # An emoji selector makes some terminals draw the character before it two columns wide.
    return sum(1 if character == _EMOJI_SELECTOR else get_cwidth(character) for character in text)


def shorten(text: str, columns: int) -> str:
    """Return the first line of `text`; with "..." if that is not all or wider than `columns`."""
    start = text[: columns * _MOST_PER_COLUMN]
    first, *more = start.splitlines() or [""]
    if not more and len(start) == len(text) and width(first) <= columns:
        return first
    while first and width(first) > columns - 3:
        first = first[: min(len(first) - 1, columns)]
    return first + "..."


def wrap(line: Line, columns: int, indent: int = _INDENT) -> list[Line]:
    """Return `line` as rows of at most `columns`, at least one; only one character can be wider than that.

    Rows end at newlines and at spaces, which are dropped there. All but the first are indented; a word is
    broken only if wider than an indented row. Only a broken URL has rows that begin in the first column.
    `indent` are the spaces before such a row in a wide window.
    """
    return [row for row, _ in split_rows(line, columns, indent)]


def split_rows(line: Line, columns: int, indent: int = _INDENT) -> list[tuple[Line, bool]]:
    """Return the rows of `wrap`, each with whether it is full and its URL goes on in the next row."""
    text = "".join(piece for _, piece in line)
    blank = _indent(columns, indent)
    if text.isascii() and text.isprintable():
        if len(text) <= columns:
            return [(line, False)]
        words = [word.span() for word in _WORD.finditer(text)]
        if all(len(blank) + end - start <= columns for start, end in words):
            return [(row, False) for row in _wrap_words(line, words, columns, len(blank))]
    characters = [(style, each) for style, piece in line for each in piece.replace("\t", _TAB)]
    rows: list[tuple[Line, bool]] = []
    for paragraph in _paragraphs(characters, blank):
        rows += ((_merge(row), goes_on) for row, goes_on in _wrap_paragraph(paragraph, columns, blank))
    return rows


def _indent(columns: int, most: int) -> _Characters:
    return [("", " ")] * min(most, max(1, columns // 4), columns - 1)


def _wrap_words(line: Line, words: list[tuple[int, int]], columns: int, indent: int) -> list[Line]:
    """Return the rows of a line whose characters take a column each, by where its words start and end.

    It does what `_wrap_paragraph` does, many times faster; each word has a place in an indented row.
    """
    rows: list[Line] = []
    blank, first, last, used = 0, 0, 0, 0
    for start, end in words:
        if used + end - last <= columns:
            used += end - last
        else:
            if last:
                rows.append(_cut(line, first, last, blank))
            blank, first, used = indent, start, indent + end - start
        last = end
    return [*rows, _cut(line, first, last, blank)]


def _cut(line: Line, first: int, last: int, blank: int) -> Line:
    """Return the characters of a line from one place to another, behind so many spaces."""
    row: Line = [("", " " * blank)] if blank else []
    place = 0
    for style, piece in line:
        if text := piece[max(0, first - place) : max(0, last - place)]:
            before = row.pop()[1] if row and row[-1][0] == style else ""
            row.append((style, before + text))
        place += len(piece)
    return row


def _paragraphs(characters: _Characters, indent: _Characters) -> list[_Characters]:
    """Return what newlines separate; with `indent` before the second and later ones that have none."""
    found: list[_Characters] = [[]]
    for style, character in characters:
        if character == "\n":
            found.append([])
            continue
        if len(found) > 1 and not found[-1] and character != " ":
            found[-1] += indent
        found[-1].append((style, character))
    return found


def _wrap_paragraph(
    paragraph: _Characters, columns: int, indent: _Characters
) -> Iterator[tuple[_Characters, bool]]:
    row: _Characters = []
    used = 0  # columns of the row
    begun = False  # whether a word stands in the row
    gap: _Characters = []
    for is_space, group in groupby(paragraph, lambda item: item[1].isspace()):
        word = list(group)
        if is_space:
            gap = word
            continue
        blank, needed = _width(gap), _width(word)
        if used + blank + needed <= columns:
            row += gap + word
            used += blank + needed
        elif len(indent) + needed <= columns:
            if begun:
                yield row, False
            row = [*indent, *word]
            used = len(indent) + needed
        else:
            if used + blank < columns:
                row += gap
            else:
                if begun:
                    yield row, False
                row, begun = [*indent], False
            is_url = _URL.fullmatch("".join(character for _, character in word)) is not None
            *full, row = _break_word(row, begun, word, columns, [] if is_url else indent)
            yield from ((each, is_url) for each in full)
            # With a word after it, the end of a URL could look like the start of a line.
            used = columns if is_url else _width(row)
        begun, gap = True, []
    yield row, False


def _break_word(
    row: _Characters, begun: bool, word: _Characters, columns: int, indent: _Characters
) -> Iterator[_Characters]:
    """Yield the rows that `word` takes from the end of `row` on; `begun` says that a word stands in it."""
    used = _width(row)
    for cluster in _clusters(word, columns - len(indent)):
        needed = _width(cluster)
        if used + needed > columns:
            if begun:
                yield row
            row = [*indent] if columns > _WIDE or needed < _WIDE else []
            used = len(row)
        row += cluster
        used += needed
        begun = True
    yield row


def _clusters(word: _Characters, columns: int) -> Iterator[_Characters]:
    """Yield characters with what is drawn on them, and with what is joined to them as far as `columns` go."""
    cluster: _Characters = []
    used = 0
    for item in word:
        character = item[1]
        needed = width(character)
        is_joined = "\U0001f3fb" <= character <= "\U0001f3ff" or (cluster and cluster[-1][1] == _JOINER)
        if cluster and get_cwidth(character) and not (is_joined and used + needed <= columns):
            yield cluster
            cluster, used = [], 0
        cluster.append(item)
        used += needed
    yield cluster


def _width(characters: _Characters) -> int:
    return sum(width(character) for _, character in characters)


def _merge(characters: Iterable[tuple[str, str]]) -> Line:
    return [
        (style, "".join(character for _, character in group))
        for style, group in groupby(characters, lambda item: item[0])
    ]
