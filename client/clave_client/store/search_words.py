"""Makes of texts what the index takes, and finds the words of a search in a text. Knows no table.

The index splits words by SQLite's tokenizer "unicode61". Before that, what is written without
spaces is spaced apart, character by character, and symbols and emoji become private characters, which count
as letters there. The rules are fixed ranges of code points and never change, whatever Unicode a later Python
knows: what was indexed is removed by the same rules.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

import apsw
import msgspec

__all__ = [
    "MOST_INDEXED",
    "MOST_MARKS",
    "MOST_TOKENS",
    "MOST_WORDS",
    "TOKENIZER",
    "SearchWords",
    "document",
    "spaced",
    "tag",
]

TOKENIZER: Final = ("unicode61", "remove_diacritics", "2", "categories", "L* N* M* Co")
"""SQLite's tokenizer with its arguments: letters, digits, marks and private characters make words."""

MOST_WORDS: Final = 50
"""Most words of a search."""

MOST_TOKENS: Final = 500
"""Most tokens of a search; what is spaced apart has one a character."""

MOST_MARKS: Final = 100
"""Most places that are marked in one text, the first ones."""

MOST_INDEXED: Final = 4000
"""Most characters of a text that are indexed, its first ones: removing a token again costs as much as any
other write, and a text of 32 KiB can have 10,000."""

_TAG: Final = "\ue000"
"""Begins the tokens that are no words; texts lose it."""

_APART: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdf\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
"""Scripts that put no space between words: each of their characters is a token."""

_SYMBOLS: Final = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3200-\u33ff\U0001f000-\U0001fbff"
)
"""Symbols and emoji, with those that are not assigned yet: each is a token."""

_JAMO: Final = "[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?"
"""A syllable of Hangul in its decomposed form; it becomes the composed one."""

_FLAG: Final = "[\U0001f1e6-\U0001f1ff]{2}"
"""Two regional indicators, which make one token, so that no flag is found across two others."""

_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f"
    "\ufe20-\ufe2f\U000e007f\U000e0100-\U000e01ef"
)
"""Accents, points of vowels, variation selectors and keycaps: left out, so that any form finds all."""

_TAGS: Final = "\U000e0020-\U000e007e"
"""The invisible letters of the flags of countries without a code; they become letters."""

_GAPS: Final = f"\0{_TAG}\ud800-\udfff"
"""What no query and no text can hold."""

_SPECIAL: Final = re.compile(
    f"(?P<jamo>{_JAMO})|(?P<apart>[{_APART}]+)|(?P<symbol>{_FLAG}|[{_SYMBOLS}])"
    f"|(?P<mark>[{_MARKS}]+)|(?P<tags>[{_TAGS}]+)|(?P<gap>[{_GAPS}]+)"
)
_MARK_RUN: Final = re.compile(f"[{_MARKS}]*")


def spaced(text: str) -> str:
    """Return a text as it is indexed, before SQLite splits it into words and folds them."""
    if text.isascii() and "\0" not in text:
        return text
    return _SPECIAL.sub(_replace, text)


def tag(kind: str, number: int) -> str:
    """Return the token for a number of some kind ("r" for rooms, "s" for senders), which no text has."""
    return f"{_TAG}{kind}{number}"


def document(room: int, sender: int, text: str) -> str:
    """Return what a message is indexed by: the tokens of its room and sender, and the text's beginning."""
    return f"{tag('r', room)} {tag('s', sender)} {spaced(text[:MOST_INDEXED])}"


def _replace(match: re.Match[str]) -> str:
    found = match.group()
    match match.lastgroup:
        case "apart":
            return f" {' '.join(found)} "
        case "symbol":
            return f" {''.join(_private(each) for each in found)} "
        case "jamo":
            first, vowel, *last = (ord(each) for each in found)
            final = last[0] - 0x11A7 if last else 0
            return f" {chr(0xAC00 + ((first - 0x1100) * 21 + vowel - 0x1161) * 28 + final)} "
        case "tags":
            return "".join(chr(ord(each) - 0xE0000) for each in found)
        case "mark":
            return ""
        case _:
            return " "


def _private(symbol: str) -> str:
    """Return the private character of plane 15 that stands for a symbol."""
    number = ord(symbol)
    return chr(0xF0000 + number if number < 0x10000 else 0xE0000 + number)


class SearchWords:
    """The words of a search: each is a phrase, all of which a message has to have.

    `phrases` are the tokens of each. Raises ValueError if there are none, or more than 50 words, or 500
    tokens.
    """

    def __init__(self, words: str, db: apsw.Connection) -> None:
        self._tokenizer = db.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))
        split = list(dict.fromkeys(spaced(word) for word in words.split()))
        if len(split) > MOST_WORDS:
            raise ValueError(f"search for {MOST_WORDS} words at most")
        found = {word: tuple(token for _, _, token in self._tokens(word)) for word in split}
        self._words = [word for word, tokens in found.items() if tokens]
        self.phrases = [found[word] for word in self._words]
        if not self.phrases:
            raise ValueError("say what to search for: a word, or an emoji")
        if sum(len(phrase) for phrase in self.phrases) > MOST_TOKENS:
            raise ValueError("these are too many words to search for")

    @property
    def expression(self) -> str:
        """The words in the syntax of FTS5; nothing in them has a meaning there."""
        return " AND ".join('"' + word.replace('"', '""') + '"' for word in self._words)

    def marks(self, text: str) -> list[tuple[int, int]]:
        """Return where the words are in a text: (start, end) in characters, ascending, none in another."""
        out = spaced(text)
        encoded, tokens, origins = out.encode(), self._tokens(out), _Origins(text)
        found: list[tuple[int, int]] = []
        for start, end in islice(self._places(tokens), MOST_MARKS):
            first = origins.start(len(encoded[:start].decode()))
            last = origins.end(len(encoded[:end].decode()))
            if found and first < found[-1][1]:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return found

    def _places(self, tokens: list[tuple[int, int, str]]) -> Iterator[tuple[int, int]]:
        """Yield where a word is among tokens, the longest of those that begin at one token."""
        longest = sorted(self.phrases, key=len, reverse=True)
        starts = {phrase[0]: [each for each in longest if each[0] == phrase[0]] for phrase in longest}
        for place, (start, _, token) in enumerate(tokens):
            for phrase in starts.get(token, ()):
                last = place + len(phrase)
                if last <= len(tokens) and all(
                    each == tokens[number][2] for number, each in enumerate(phrase, start=place)
                ):
                    yield start, tokens[last - 1][1]
                    break

    def _tokens(self, text: str) -> list[tuple[int, int, str]]:
        """Return the tokens of a text with their places, in bytes."""
        found = self._tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=True, include_colocated=False
        )
        return msgspec.convert(found, list[tuple[int, int, str]])


class _Origins:
    """Where the characters of a spaced text come from."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._outs = [0]
        self._spans = [(0, -1)]
        """By the first character of each part that was kept or replaced: its place in `text`, and its end, -1
        for a part that was kept."""
        out = before = 0
        for match in [] if text.isascii() and "\0" not in text else _SPECIAL.finditer(text):
            start, end = match.span()
            self._add(out, before, -1)
            out += start - before
            length = len(_replace(match))
            if match.lastgroup == "apart":
                for number in range(end - start):
                    self._add(out + 1 + 2 * number, start + number, start + number + 1)
            else:
                self._add(out, start, end)
            out, before = out + length, end
        self._add(out, before, -1)

    def _add(self, out: int, start: int, end: int) -> None:
        self._outs.append(out)
        self._spans.append((start, end))

    def start(self, out: int) -> int:
        """Return where the character `out` of the spaced text begins."""
        number = bisect_right(self._outs, out) - 1
        start, end = self._spans[number]
        return start if end >= 0 else start + out - self._outs[number]

    def end(self, out: int) -> int:
        """Return where the character before `out` ends, with the marks on it."""
        number = bisect_right(self._outs, out - 1) - 1
        start, end = self._spans[number]
        last = end if end >= 0 else start + out - self._outs[number]
        marks = _MARK_RUN.match(self._text, last)
        return last if marks is None else marks.end()
