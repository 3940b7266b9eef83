"""The Markdown inside one paragraph: marks, code, links, escapes. Knows no blocks and no display.

GitHub Flavored Markdown, chapter 6. A link's target is one of few schemes, and holds at most one pair of
parentheses in parentheses; references to links are not read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final, NamedTuple

from clave_client.formats.emphasis import Run, Style, is_punctuation, make_run, pair
from clave_client.formats.mimi.message_id import account_of

__all__ = ["Span", "Spans", "read_paragraph"]

_ESCAPED = r"\\(?P<escaped>[!-/:-@\[-`{-~])"
_ENTITY = r"&(?P<entity>lt|gt|amp|quot|\#39);"
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "#39": "'"}
_LITERALS = re.compile(f"{_ESCAPED}|{_ENTITY}")

_TOKEN = re.compile(
    rf"""{_ESCAPED} | {_ENTITY}
    | \\(?P<newline>\n)
    | (?P<code>`++)
    | (?P<run>\*++|_++|~++)
    | <(?P<autolink>[A-Za-z][A-Za-z0-9+.\-]{{1,31}}:[^\s<>]*+)>
    | (?P<open>!?\[)
    | (?P<close>\])""",
    re.VERBOSE,
)

_DESTINATION = re.compile(
    r"""\(\s*+
    (?: <(?P<bracketed>[^\s<>]*+)>
      | (?P<bare>(?: \\[^\s] | [^\s()\\<>] | \((?:\\[^\s]|[^\s()\\<>])*+\) )*+) )
    (?:\s++(?:"[^"]*+"|'[^']*+'))?+
    \s*+\)""",
    re.VERBOSE,
)

_TARGET = re.compile(r"(?:https?://|mailto:|clave:)[^\s<>]++", re.IGNORECASE)
"""What can be a link's target; any other is shown as it is written."""


class Span(NamedTuple):
    """A run of text.

    `link` is the target of a link, "" if it is none; a link is one span and has the styles that all of its
    text has. `mention` is the account, 32 bytes, to which it leads, b"" if to none; `text` is then only what
    the sender calls it.
    """

    text: str
    style: Style = Style.PLAIN
    link: str = ""
    mention: bytes = b""

    def __repr__(self) -> str:
        return f"<Span of {len(self.text)} characters>"


class Spans:
    """The spans of a message, as they are read."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._parts: list[str] = []
        self._style = Style.PLAIN

    def add(self, text: str, style: Style = Style.PLAIN) -> None:
        """Add a text, which becomes one span with what was before it and has the same style."""
        if text and style != self._style:
            self.end()
            self._style = style
        self._parts.append(text)

    def add_link(self, text: str, style: Style, target: str) -> None:
        """Add a link; without words, its target stands for them."""
        self.end()
        account = account_of(target) or b""
        words = text if text.strip() or account else target
        self._spans.append(Span(words, style, target, account))

    def end(self) -> list[Span]:
        """End the last span, and return all."""
        text = "".join(self._parts)
        if text:
            self._spans.append(Span(text, self._style))
        self._parts = []
        return self._spans


def read_paragraph(source: str, spans: Spans, style: Style = Style.PLAIN) -> None:
    """Add to `spans` what a paragraph, or a line, says; all of it has `style`."""
    _Paragraph(source).read(spans, style)


class _Text(NamedTuple):
    text: str
    style: Style = Style.PLAIN

    def __repr__(self) -> str:
        return f"<_Text of {len(self.text)} characters>"


class _Bracket:
    """The beginning of a link, once its end has given it a target; until then a text."""

    __slots__ = ("after", "target", "text")

    def __init__(self, text: str, after: int) -> None:
        self.text = text
        self.after = after  # how many runs stand before it
        self.target = ""


class _LinkEnd(NamedTuple):
    pass


_Node = _Text | Run | _Bracket | _LinkEnd


class _Paragraph:
    """The text of one paragraph."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._nodes: list[_Node] = []
        self._runs: list[Run] = []  # those that are not paired yet
        self._brackets: list[_Bracket] = []
        self._ticks: dict[int, list[int]] | None = None

    def read(self, spans: Spans, style: Style) -> None:
        """Add what is read to `spans`; all of it has `style`."""
        source, at = self._source, 0
        while (token := _TOKEN.search(source, at)) is not None:
            self._nodes.append(_Text(source[at : token.start()]))
            at = self._take(token)
        self._nodes.append(_Text(source[at:]))
        pair(self._runs)
        self._write(spans, style)

    def _take(self, token: re.Match[str]) -> int:
        """Read what begins with a token; return where it ends."""
        start, end, found = token.start(), token.end(), token[0]
        match token.lastgroup:
            case "escaped" | "entity" | "newline":
                self._nodes.append(_Text(_literal(token)))
            case "code":
                closing = self._closing_ticks(len(found), end)
                if closing < 0:
                    self._nodes.append(_Text(found))
                    return end
                self._nodes.append(_Text(_code(self._source[end:closing]), Style.CODE))
                return closing + len(found)
            case "run":
                before, after = self._source[max(0, start - 1) : start], self._source[end : end + 1]
                run = make_run(
                    found[0],
                    len(found),
                    before,
                    after,
                    before_marks=bool(before) and is_punctuation(before),
                    after_marks=bool(after) and is_punctuation(after),
                )
                self._nodes.append(run)
                self._runs.append(run)
            case "autolink" if _TARGET.fullmatch(token["autolink"]):
                bracket = _Bracket("<", len(self._runs))
                bracket.target = token["autolink"]
                self._nodes += [bracket, _Text(token["autolink"]), _LinkEnd()]
                self._brackets = []
            case "open":
                bracket = _Bracket(found, len(self._runs))
                self._nodes.append(bracket)
                self._brackets.append(bracket)
            case "close":
                return self._close(end)
            case _:
                self._nodes.append(_Text(found))
        return end

    def _close(self, end: int) -> int:
        """Read what a ] ends, which stands before `end`; return where it ends. Links hold no links."""
        bracket = self._brackets.pop() if self._brackets else None
        link = None if bracket is None else _DESTINATION.match(self._source, end)
        if bracket is None or link is None:
            self._nodes.append(_Text("]"))
            return end
        target = _LITERALS.sub(_literal, link["bracketed"] or link["bare"] or "")
        if not _TARGET.fullmatch(target):
            self._nodes.append(_Text("]" + link[0]))
            return link.end()
        pair(self._runs[bracket.after :])
        del self._runs[bracket.after :]
        bracket.target = target
        self._nodes.append(_LinkEnd())
        self._brackets = []
        return link.end()

    def _closing_ticks(self, length: int, start: int) -> int:
        """Return where the next run of so many backquotes is, -1 if there is none."""
        if self._ticks is None:
            self._ticks = {}
            for run in re.finditer("`++", self._source):
                self._ticks.setdefault(len(run[0]), []).append(run.start())
        places = self._ticks.get(length, [])
        place = bisect_left(places, start)
        return places[place] if place < len(places) else -1

    def _write(self, spans: Spans, base: Style) -> None:
        counts = dict.fromkeys((Style.BOLD, Style.ITALIC, Style.STRIKE), 0)
        style = base
        words: list[str] = []
        shared: Style | None = None  # the styles of all the words of a link
        target = ""

        def add(text: str, marked: Style) -> None:
            nonlocal shared
            if target:
                words.append(text)
                shared = shared if not text else marked if shared is None else shared & marked
            else:
                spans.add(text, marked)

        for node in self._nodes:
            match node:
                case _Text():
                    add(node.text, style | node.style)
                case Run():
                    style = _changed(style, base, counts, node.ends, -1)
                    add(node.character * node.left, style)
                    style = _changed(style, base, counts, node.begins, 1)
                case _Bracket(target=""):
                    add(node.text, style)
                case _Bracket():
                    words, shared, target = [], None, node.target
                case _LinkEnd():
                    spans.add_link("".join(words), style if shared is None else shared, target)
                    target = ""


def _changed(style: Style, base: Style, counts: dict[Style, int], changed: list[Style], by: int) -> Style:
    """Return the style after some begin or end, which `counts` says how often they have begun."""
    if not changed:
        return style
    for each in changed:
        counts[each] += by
    found = base
    for each, count in counts.items():
        found |= each if count else Style.PLAIN
    return found


def _literal(token: re.Match[str]) -> str:
    """Return the character that an escape or an entity stands for."""
    if token["entity"]:
        return _ENTITIES[token["entity"]]
    return token["escaped"] or "\n"


def _code(text: str) -> str:
    """Return the text of code between backquotes, without one space at both its ends (GFM, section 6.3)."""
    return text[1:-1] if text.strip(" ") and text[0] == text[-1] == " " else text
