"""Wraps lines at spaces to the columns of a terminal. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from prompt_toolkit.utils import get_cwidth

__all__ = ["Line", "printable", "shorten", "split_rows", "width", "wrap"]

Line = list[tuple[str, str]]
"""Pieces of one line: a style's name and its text."""

_Characters = list[tuple[str, str]]
"""As `Line`, with one character in each piece."""

_INDENT = 6
"""Spaces before the second and later rows of a line, in a window of at least four times as many columns."""

_TAB = " " * 4

_JOINER, _EMOJI_SELECTOR = "\u200d", "\ufe0f"

_CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if code not in (0x09, 0x0A)}


def printable(line: Line, encoding: str) -> Line:
    """Return `line` with "?" for what `encoding` lacks, and for control characters but tabs and newlines."""
    return [
        (style, text.translate(_CONTROLS).encode(encoding, "replace").decode(encoding))
        for style, text in line
    ]


def width(text: str) -> int:
    """Return the columns that `text` takes at most."""
    if text.isascii():
        return len(text)
    # An emoji selector makes some terminals draw the character before it two columns wide.
    return sum(1 if character == _EMOJI_SELECTOR else get_cwidth(character) for character in text)


def shorten(text: str, columns: int) -> str:
    """Return the first line of `text`; with "..." if that is not all or wider than `columns`."""
    first, *more = text.splitlines() or [""]
    if not more and width(first) <= columns:
        return first
    while first and width(first) > columns - 3:
        first = first[: min(len(first) - 1, columns)]
    return first + "..."


def wrap(line: Line, columns: int) -> list[Line]:
    """Return `line` as rows of at most `columns`, at least one; only one character can be wider than that.

    Rows end at newlines and at spaces, which are dropped there. A word is broken only if wider than a row.
    """
    return [row for row, _ in split_rows(line, columns)]


def split_rows(line: Line, columns: int) -> list[tuple[Line, bool]]:
    """Return the rows of `wrap`, each with whether its last word goes on in the next row."""
    text = "".join(piece for _, piece in line)
    if text.isascii() and len(text) <= columns and "\n" not in text and "\t" not in text:
        return [(line, False)]
    characters = [(style, each) for style, piece in line for each in piece.replace("\t", _TAB)]
    rows: list[tuple[Line, bool]] = []
    for paragraph in _paragraphs(characters):
        rows += ((_merge(row), broken) for row, broken in _wrap_paragraph(paragraph, columns))
    return rows


def _paragraphs(characters: _Characters) -> list[_Characters]:
    found: list[_Characters] = [[]]
    for style, character in characters:
        if character == "\n":
            found.append([])
        else:
            found[-1].append((style, character))
    return found


def _wrap_paragraph(paragraph: _Characters, columns: int) -> Iterator[tuple[_Characters, bool]]:
    indent: _Characters = [("", " ")] * (_INDENT if columns >= 4 * _INDENT else 0)
    row: _Characters = []
    used = 0  # columns of the row
    begun = False  # whether a word stands in the row
    gap: _Characters = []
    for is_space, group in groupby(paragraph, lambda item: item[1] == " "):
        word = list(group)
        if is_space:
            gap = word
            continue
        needed = _width(word)
        if used + len(gap) + needed <= columns:
            row += gap + word
            used += len(gap) + needed
        elif needed > columns:
            if used + len(gap) < columns:
                row += gap
            elif begun:
                yield row, False
                row = []
            *full, row = _break_word(row, word, columns)
            yield from ((each, True) for each in full)
            used = _width(row)
        else:
            if begun:
                yield row, False
            row = [*indent, *word] if len(indent) + needed <= columns else word
            used = _width(row)
        begun, gap = True, []
    yield row, False


def _break_word(row: _Characters, word: _Characters, columns: int) -> Iterator[_Characters]:
    """Yield the rows that `word` takes from the end of `row` on."""
    used = _width(row)
    for cluster in _clusters(word):
        needed = _width(cluster)
        if row and used + needed > columns:
            yield row
            row, used = [], 0
        row = row + cluster
        used += needed
    yield row


def _clusters(word: _Characters) -> Iterator[_Characters]:
    """Yield characters with what is drawn on or joined to them."""
    cluster: _Characters = []
    for item in word:
        if cluster and not (_is_joined(item[1]) or cluster[-1][1] == _JOINER):
            yield cluster
            cluster = []
        cluster.append(item)
    yield cluster


def _is_joined(character: str) -> bool:
    return get_cwidth(character) == 0 or "\U0001f3fb" <= character <= "\U0001f3ff"


def _width(characters: _Characters) -> int:
    return sum(width(character) for _, character in characters)


def _merge(characters: Iterable[tuple[str, str]]) -> Line:
    return [
        (style, "".join(character for _, character in group))
        for style, group in groupby(characters, lambda item: item[0])
    ]
