"""Turns what a person typed into the Markdown of a message, GFM-MIMI. Knows no room and reads no message.

Marks count where people mean them: around words, within one line. Everything else is escaped, so that every
reader of GFM shows it as it was typed. Only the indentation of a line is beyond that: GFM drops it, and takes
four spaces at the beginning of a paragraph for code; clave shows it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from clave_client.formats.emphasis import ASCII_PUNCTUATION, Run, is_punctuation, is_space, make_run, pair
from clave_client.formats.markdown import FENCE_END, is_blank
from clave_client.formats.mimi.message_id import account_uri
from clave_wire.text import MAX_NAME_CHARACTERS

__all__ = ["write"]

_LENGTHS: Final = {"*": (1, 2, 3), "_": (1,), "~": (2,)}
"""How many of a character are a mark."""

_MARKS: Final = "*_~"
_BEFORE_OPENING: Final = frozenset(_MARKS + "([{\"'-")
_AFTER_OPENING: Final = frozenset(_MARKS + "`([\"'@#$&+")
_BEFORE_CLOSING: Final = frozenset(_MARKS + "`)]}\"'.,;:!?%#$+")
_AFTER_CLOSING: Final = frozenset(_MARKS + ")]}\"'.,;:!?-")
"""ASCII punctuation that may stand beside a mark, outside and inside of words."""

_NO_MENTION_AFTER: Final = frozenset("@/\\")
_END_OF_URL: Final = _MARKS + "`)]}>\"'.,:!?"
"""What a URL does not end with; a semicolon can end an entity in it."""

_TOKEN = re.compile(r"(?P<code>`++)|(?P<run>\*++|_++|~++)|(?P<url>https?://\S++)|(?P<link>\[)|(?P<mention>@)")
_LINK = re.compile(
    r"\[(?P<words>[^\[\]]++)\]\((?P<target>(?:https?://|mailto:)[^\s()<>]++(?:\([^\s()<>]*+\)[^\s()<>]*+)*+)\)"
)
_FENCE = re.compile(r"(`{3,}+)[^`]*+")

_ESCAPED = re.compile(r"[\\`*_~\[\]]|<(?!\s)|&(?=#?[0-9A-Za-z]++;)")
_ESCAPED_IN_TARGET = re.compile(r"\\|&(?=#?[0-9A-Za-z]++;)")
_ENTITIES: Final = {"<": "&lt;", "&": "&amp;"}  # the draft wants it so for the < of HTML tags
_LEADING = re.compile(r"^([ \t]*+(?:[0-9]{1,9}(?=[.)]))?+)([#>\-+=|.)]|:(?=-))")
"""What begins a heading, a quote, a list, a rule or a table, or makes one of the line before."""


def write(text: str, names: Mapping[str, bytes]) -> str | None:
    """Return the source of what a person typed, None if it is plain text.

    A name of `names` after an @ mentions the account, 32 bytes, that it stands for.
    """
    known = _Names(names)
    lines = text.split("\n")
    ends = _fence_ends(lines)
    written: list[str] = []
    is_marked = False
    at = 0
    while at < len(lines):
        end = ends.get(at)
        if end is not None:
            written += lines[at : end + 1]
            is_marked = True
            at = end + 1
            continue
        line = _Line(lines[at], known)
        is_marked = is_marked or line.is_marked
        source = _LEADING.sub(r"\1\\\2", line.source, count=1)
        at += 1
        # GFM joins the lines of a paragraph unless they end in a backslash, which is text in the last one.
        goes_on = at < len(lines) and at not in ends and not is_blank(lines[at]) and not is_blank(source)
        written.append(source + "\\" * goes_on)
    return "\n".join(written) if is_marked else None


def _fence_ends(lines: list[str]) -> dict[int, int]:
    """Return where the blocks of code end, by where they begin."""
    ends: dict[int, int] = {}
    fence, begin = "", 0
    for place, line in enumerate(lines):
        found = FENCE_END.fullmatch(line) if fence else _FENCE.fullmatch(line)
        if found is not None and not fence:
            fence, begin = found[1], place
        elif found is not None and found[1].startswith(fence):
            ends[begin] = place
            fence = ""
    return ends


class _Names:
    """Whom a name in a text can mention."""

    def __init__(self, names: Mapping[str, bytes]) -> None:
        self._exact = {name: account for name, account in names.items() if len(name) <= MAX_NAME_CHARACTERS}
        self._folded: dict[str, bytes] = {}
        ambiguous: set[str] = set()
        for name, account in self._exact.items():
            if self._folded.setdefault(name.casefold(), account) != account:
                ambiguous.add(name.casefold())
        for name in ambiguous:
            del self._folded[name]
        lengths = {len(name) for name in (*self._exact, *self._folded)}
        self._lengths = sorted(lengths - {0}, reverse=True)

    def find(self, text: str, at: int) -> tuple[str, bytes] | None:
        """Return the longest name, as it is typed, that stands at `at`, and its account."""
        found = [text[at : at + length] for length in self._lengths if _ends_name(text, at + length)]
        for name in found:
            if name in self._exact:
                return name, self._exact[name]
        for name in found:
            if name.casefold() in self._folded:
                return name, self._folded[name.casefold()]
        return None


def _ends_name(text: str, at: int) -> bool:
    """Return whether a name can end before `at`: not within a word, nor before `-_.` and more of a word."""
    after = text[at : at + 1]
    return (
        at <= len(text) and not _is_word(after) and not (after in "-_." and _is_word(text[at + 1 : at + 2]))
    )


class _Mark:
    """A run that may be a mark: its place in the source, and how many words or signs stand before it."""

    __slots__ = ("can_close", "can_open", "piece", "text", "words")

    def __init__(self, text: str, piece: int, words: int, before: str, after: str) -> None:
        self.text = text
        self.piece = piece
        self.words = words
        is_mark = len(text) in _LENGTHS[text[0]]
        self.can_open = is_mark and _begins_word(before, after)
        self.can_close = is_mark and _ends_word(before, after)


class _Line:
    """The source of one typed line. Without `names`, it is that of a link's words, where no link can be."""

    def __init__(self, line: str, names: _Names | None) -> None:
        self._line = line
        self._names = names
        self._pieces: list[str] = []
        self._marks: list[_Mark] = []
        self._words = 0
        self._ticks = _tick_runs(line)
        self.is_marked = False
        at = 0
        while (token := _TOKEN.search(line, at)) is not None:
            self._add_text(line[at : token.start()])
            at = self._take(token)
        self._add_text(line[at:])
        self._pair_marks()
        self.source = "".join(self._pieces)

    def _add_text(self, text: str) -> None:
        self._pieces.append(_escape(text))
        self._words += sum(1 for each in text if not is_space(each) and not is_punctuation(each))

    def _add_marked(self, source: str) -> None:
        self._pieces.append(source)
        self._words += 1
        self.is_marked = True

    def _take(self, token: re.Match[str]) -> int:
        """Write what begins with a token; return where it ends."""
        line, start, end = self._line, token.start(), token.end()
        before, after = line[max(0, start - 1) : start], line[end : end + 1]
        match token.lastgroup:
            case "run":
                self._marks.append(_Mark(token[0], len(self._pieces), self._words, before, after))
                self._pieces.append(token[0])
                return end
            case "code":
                closing = self._closing_ticks(token) + len(token[0])
                if (
                    closing > end
                    and not _is_word(before)
                    and before != "\\"
                    and not _is_word(line[closing:][:1])
                ):
                    self._add_marked(line[start:closing])
                    return closing
            case "url":
                end = start + len(token[0].rstrip(_END_OF_URL))
                self._add_text(line[start:end])
                return end
            case "link" if self._names is not None and not _is_word(before) and before != "\\":
                link = _LINK.match(line, start)
                if link is not None and link["words"].strip() and not _is_word(line[link.end() :][:1]):
                    self._keep_from_image()
                    target = _ESCAPED_IN_TARGET.sub(_escaped, link["target"])
                    self._add_marked(f"[{_Line(link['words'], None).source}]({target})")
                    return link.end()
            case "mention" if (
                self._names is not None and not _is_word(before) and before not in _NO_MENTION_AFTER
            ):
                found = self._names.find(line, end)
                if found is not None:
                    self._keep_from_image()
                    self._add_marked(f"[@{_escape(found[0])}]({account_uri(found[1])})")
                    return end + len(found[0])
        self._add_text(token[0])
        return end

    def _keep_from_image(self) -> None:
        """Escape a ! before a link, which would make it an image."""
        if self._pieces and self._pieces[-1].endswith("!"):
            self._pieces[-1] = self._pieces[-1][:-1] + "\\!"

    def _closing_ticks(self, token: re.Match[str]) -> int:
        """Return where the backquotes begin that end the code after `token`, -1 if it is none."""
        closing = self._ticks.get(token.start(), -1)
        code = self._line[token.end() : closing]
        return -1 if closing < 0 or is_space(code[0]) or is_space(code[-1]) else closing

    def _pair_marks(self) -> None:
        """Find the marks that belong together, and escape the others."""
        openers: dict[str, list[_Mark]] = {}
        pairs: list[tuple[int, int]] = []
        for mark in self._marks:
            stack = openers.get(mark.text, [])
            if mark.can_close and stack and stack[-1].words < mark.words:
                opener = stack[-1]
                pairs.append((opener.piece, mark.piece))
                for others in openers.values():
                    while others and others[-1].piece >= opener.piece:
                        others.pop()
            elif mark.can_open:
                openers.setdefault(mark.text, []).append(mark)
        meant = {piece for each in pairs for piece in each}
        self._escape_marks(but=meant)
        if all(self._is_read_as_meant(pairs, symbols_mark=each) for each in (False, True)):
            self.is_marked = self.is_marked or bool(pairs)
        else:
            self._escape_marks(but=set())

    def _escape_marks(self, *, but: set[int]) -> None:
        for mark in self._marks:
            if mark.piece not in but:
                self._pieces[mark.piece] = _escape(mark.text)

    def _is_read_as_meant(self, pairs: list[tuple[int, int]], *, symbols_mark: bool) -> bool:
        """Return whether a reader of GFM pairs the marks as they are meant.

        Symbols are punctuation (`symbols_mark`) since CommonMark 0.31, and letters before.
        """
        pieces = sorted(piece for each in pairs for piece in each)
        runs = [self._run(piece, symbols_mark) for piece in pieces]
        found = {(pieces[opener], pieces[closer]) for opener, closer in pair(runs)}
        return found == set(pairs) and not any(run.left for run in runs)

    def _run(self, piece: int, symbols_mark: bool) -> Run:
        text, before, after = self._pieces[piece], self._neighbour(piece, -1), self._neighbour(piece, 1)
        return make_run(
            text[0],
            len(text),
            before,
            after,
            before_marks=_is_mark(before, symbols_mark),
            after_marks=_is_mark(after, symbols_mark),
        )

    def _neighbour(self, piece: int, step: int) -> str:
        """Return the character of the source beside a mark, "" at the end of the line."""
        piece += step
        while 0 <= piece < len(self._pieces):
            if self._pieces[piece]:
                return self._pieces[piece][0 if step > 0 else -1]
            piece += step
        return ""


def _tick_runs(line: str) -> dict[int, int]:
    """Return where the next run of as many backquotes begins, by where each begins."""
    following: dict[int, int] = {}
    last: dict[int, int] = {}
    for run in re.finditer("`++", line):
        length = len(run[0])
        if length in last:
            following[last[length]] = run.start()
        last[length] = run.start()
    return following


def _begins_word(before: str, after: str) -> bool:
    is_outside = is_space(before) or before in _BEFORE_OPENING or _is_other_sign(before)
    return is_outside and not is_space(after) and (after not in ASCII_PUNCTUATION or after in _AFTER_OPENING)


def _ends_word(before: str, after: str) -> bool:
    is_outside = is_space(after) or after in _AFTER_CLOSING or _is_other_sign(after)
    return (
        is_outside and not is_space(before) and (before not in ASCII_PUNCTUATION or before in _BEFORE_CLOSING)
    )


def _is_word(character: str) -> bool:
    """Return whether a word goes on at this character; not in scripts without spaces between words."""
    return (
        bool(character)
        and not is_space(character)
        and character not in ASCII_PUNCTUATION
        and not _is_other_sign(character)
    )


def _is_other_sign(character: str) -> bool:
    """Return whether this is a sign beyond ASCII beside which a word begins and ends."""
    if character.isascii():
        return False
    return unicodedata.category(character)[0] in "PS" or unicodedata.east_asian_width(character) in "WF"


def _is_mark(character: str, symbols_mark: bool) -> bool:
    if not character:
        return False
    return is_punctuation(character) or (symbols_mark and unicodedata.category(character)[0] == "S")


def _escape(text: str) -> str:
    return _ESCAPED.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0], "\\" + found[0])
