"""The Markdown of messages (GFM-MIMI), read: a small part has a meaning, the rest is text. Knows no display.

draft-ietf-mimi-content-08, "Specifics of Github Flavored Markdown in MIMI" and "Link and Mention handling".
Marks and titles of links go; lists, quotes, tables and HTML stay as they are written. Reading takes linear
time, never fails, and makes no text longer. A source was made safe by `clave_wire.text.sanitize` before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from clave_client.formats.emphasis import Style
from clave_client.formats.markdown_inline import Span, Spans, read_paragraph

__all__ = [
    "FENCE_END",
    "is_blank",
    "is_bounded",
    "mention_text",
    "mentioned",
    "parse",
    "readable",
    "shown_mention",
    "target_text",
]

FENCE_END: Final = re.compile(r" {0,3}(`{3,}+|~{3,}+)[ \t]*+")
"""A line that ends a block of code, if it has the characters of the one that began it, and as many."""

_FENCE = re.compile(r" {0,3}(?:(`{3,}+)[^`]*+|(~{3,}+).*+)")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]++|$)")
_OWN_LINE = re.compile(r"\s*+(?:>|\||[-+*][ \t]|[0-9]{1,9}[.)][ \t])")
"""What begins a line of a quote, a table or a list, to which no mark reaches from the line before."""

_LIKE_TARGET = re.compile(r"://|@|\w:\d|\w\.[^\W\d_]{2}|\d\.\d+\.\d|^\s*+(?:mailto|clave):", re.IGNORECASE)
"""Words that could be taken for a target, or for somebody's name."""

_MOST_CHARACTERS: Final = 16 * 1024
_MOST_MARKS: Final = 1000
_COSTLY: Final = "*_~`[]\\<"
"""The largest source that is read, the most characters in it that may be marks, and which these are."""

_ID_DIGITS: Final = 8
"""Digits that stand for an account of which the sender says no name."""


def parse(source: str) -> list[Span]:
    """Return the spans of a message, with its newlines. A block of code is one span, without its fences."""
    spans = Spans()
    for place, (kind, text) in enumerate(_blocks(source)):
        if place:
            spans.add("\n")
        if kind == _CODE:
            spans.add(text, Style.CODE)
        else:
            read_paragraph(text, spans, Style.BOLD if kind == _HEADING_LINE else Style.PLAIN)
    return spans.end()


def is_bounded(source: str) -> bool:
    """Return whether a source is read at all: one with very many marks is shown as it is."""
    return len(source) <= _MOST_CHARACTERS and sum(map(source.count, _COSTLY)) <= _MOST_MARKS


def readable(source: str, name_of: Callable[[bytes], str] | None = None) -> str:
    """Return what to read of a message in plain text, for search, quotes, notifications and scripts.

    `name_of` returns what an account is called, "" for nobody known; without it mentions are as their sender
    wrote them.
    """
    pieces = []
    for span in parse(source):
        if not span.mention:
            pieces.append(span.text + target_text(span))
        elif name_of is None:
            pieces.append(mention_text(span))
        else:
            pieces.append(shown_mention(span, name_of(span.mention)))
    return "".join(pieces)


def shown_mention(span: Span, name: str) -> str:
    """Return a mention of somebody called `name` here, or with "" of nobody here."""
    return f"@{name}" if name else f"{mention_text(span)} (not here)"


def mentioned(source: str) -> frozenset[bytes]:
    """Return the accounts, 32 bytes each, that a message mentions."""
    return frozenset(span.mention for span in parse(source) if span.mention)


def mention_text(span: Span) -> str:
    """Return a mention as its sender wrote it, with one @ before it."""
    words = " ".join(span.text.split()).lstrip("@ ")
    return "@" + (words if words and words != span.link else span.mention.hex()[:_ID_DIGITS])


def target_text(span: Span) -> str:
    """Return what to show behind the words of a link: its target, if the words are another text; else "".

    It says "goes to" where the words could be taken for another target.
    """
    target, words = span.link, span.text.strip()
    if not target or words == target:
        return ""
    if target.rstrip("/") in {f"{scheme}{words.rstrip('/')}" for scheme in ("", "https://", "mailto:")}:
        return f" <{target}>"
    looks = unicodedata.normalize("NFKC", words).replace("\N{IDEOGRAPHIC FULL STOP}", ".")
    return f" (goes to <{target}>)" if _LIKE_TARGET.search(looks) else f" <{target}>"


def is_blank(line: str) -> bool:
    """Return whether a line ends a paragraph."""
    return not line.strip(" \t")


_TEXT, _CODE, _HEADING_LINE = "text", "code", "heading"


def _blocks(source: str) -> Iterator[tuple[str, str]]:
    """Yield the blocks of a message by kind; there was a newline between each two, and fences beside code."""
    paragraph: list[str] = []
    code: list[str] = []
    fence = ""  # that of the block of code that is read
    for line in source.split("\n"):
        if fence:
            end = FENCE_END.fullmatch(line)
            if end is None or not end[1].startswith(fence):
                code.append(line)
                continue
            if code:
                yield _CODE, "\n".join(code)
            code, fence = [], ""
            continue
        begin = _FENCE.fullmatch(line)
        is_heading = _HEADING.match(line) is not None
        if paragraph and (begin or is_heading or is_blank(line) or _OWN_LINE.match(line)):
            yield _TEXT, "\n".join(paragraph)
            paragraph = []
        if begin is not None:
            fence = begin[1] or begin[2]
        elif is_heading:
            yield _HEADING_LINE, _heading(line)
        elif is_blank(line):
            yield _TEXT, line
        else:
            paragraph.append(line)
    if paragraph:
        yield _TEXT, "\n".join(paragraph)
    if code:
        yield _CODE, "\n".join(code)


def _heading(line: str) -> str:
    """Return the text of a heading, without the # at its beginning and end."""
    text = line.strip(" \t").lstrip("#").strip(" \t")
    without = text.rstrip("#")
    return without.rstrip(" \t") if not without or without[-1] in " \t" else text
