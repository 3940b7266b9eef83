"""Pairs the runs of `*`, `_` and `~` in a line of Markdown, in linear time. Knows no links and no blocks.

GitHub Flavored Markdown, sections 6.4 and 6.5, with its rules for which run can open and close and which fit.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["ASCII_PUNCTUATION", "Run", "Style", "is_punctuation", "is_space", "make_run", "pair"]

ASCII_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
"""What a backslash can escape."""

_LONGEST_STRIKE: Final = 2
"""Tildes of the longest run that strikes text."""


class Style(enum.Flag):
    """How a text is marked."""

    PLAIN = 0
    BOLD = enum.auto()
    ITALIC = enum.auto()
    STRIKE = enum.auto()
    CODE = enum.auto()


class Run:
    """A run of one character that may mark text before it, behind it, or both.

    After `pair`, `ends` and `begins` are the styles that end and begin at it. `left` counts the characters
    that are text; they stand between the two.
    """

    __slots__ = ("begins", "can_close", "can_open", "character", "ends", "left", "length")

    def __init__(self, character: str, length: int, *, can_open: bool, can_close: bool) -> None:
        self.character = character
        self.length = self.left = length
        self.can_open = can_open
        self.can_close = can_close
        self.begins: list[Style] = []
        self.ends: list[Style] = []


def is_space(character: str) -> bool:
    """Return whether this is Unicode whitespace as GFM has it; "", the end of a text, is too."""
    return not character or character in "\t\n\f\r" or unicodedata.category(character) == "Zs"


def is_punctuation(character: str) -> bool:
    """Return whether this is a punctuation character as GFM has it."""
    return character in ASCII_PUNCTUATION or unicodedata.category(character)[0] == "P"


def make_run(
    character: str, length: int, before: str, after: str, *, before_marks: bool, after_marks: bool
) -> Run:
    """Return the run that stands between the characters `before` and `after`, each "" at the end of the text.

    `before_marks` and `after_marks` say whether these are punctuation.
    """
    begins = not is_space(after) and (not after_marks or is_space(before) or before_marks)
    ends = not is_space(before) and (not before_marks or is_space(after) or after_marks)
    if character == "_":
        return Run(
            character,
            length,
            can_open=begins and (not ends or before_marks),
            can_close=ends and (not begins or after_marks),
        )
    is_long = character == "~" and length > _LONGEST_STRIKE
    return Run(character, length, can_open=begins and not is_long, can_close=ends and not is_long)


_Kind = tuple[str, int, bool]
"""What of an opening run decides which closing one fits: its character, length, and whether it can close."""


def pair(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """Pair the runs of one text, given in their order; return the places of the pairs in `runs`."""
    openers: dict[_Kind, list[int]] = {}
    pairs: list[tuple[int, int]] = []
    for place, closer in enumerate(runs):
        while closer.can_close and closer.left:
            at = max(
                (stack[-1] for kind, stack in openers.items() if stack and _fits(kind, closer)), default=-1
            )
            if at < 0:
                break
            for stack in openers.values():
                while stack and stack[-1] > at:
                    stack.pop()
            opener = runs[at]
            style, used = _style(opener, closer)
            opener.begins.append(style)
            closer.ends.append(style)
            opener.left -= used
            closer.left -= used
            pairs.append((at, place))
            if not opener.left:
                openers[_kind(opener)].pop()
        if closer.can_open and closer.left:
            openers.setdefault(_kind(closer), []).append(place)
    return pairs


def _kind(run: Run) -> _Kind:
    return run.character, run.length if run.character == "~" else run.length % 3, run.can_close


def _fits(kind: _Kind, closer: Run) -> bool:
    """Return whether `closer` closes an opener of this kind: rules 9 and 10 of section 6.4."""
    character, length, can_close = kind
    if character != closer.character:
        return False
    if character == "~":
        return length == closer.length
    is_both = can_close or closer.can_open
    return not is_both or bool((length + closer.length) % 3) or not length


def _style(opener: Run, closer: Run) -> tuple[Style, int]:
    """Return what two runs mark, and how many characters of each do it."""
    if opener.character == "~":
        return Style.STRIKE, opener.left
    return (Style.BOLD, 2) if min(opener.left, closer.left) > 1 else (Style.ITALIC, 1)
