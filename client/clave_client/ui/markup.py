"""Turns the Markdown of a message into pieces of a line. Knows no terminal and no members.

A terminal shows bold, italic and underlined text also without colours. What would say something else if its
style were lost has a sign in the text: code its backquotes, struck text its tildes, and a link its target.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from clave_client.formats.emphasis import Style
from clave_client.formats.markdown import parse, readable, shown_mention, target_text
from clave_client.formats.markdown_inline import Span
from clave_client.ui.display import Line

__all__ = ["bare_text", "marked_pieces"]

_STYLES: Final = (
    (Style.BOLD, "bold"),
    (Style.ITALIC, "italic"),
    (Style.STRIKE, "strike"),
    (Style.CODE, "code"),
)


def marked_pieces(source: str, name_of: Callable[[bytes], str], targets: list[str] | None = None) -> Line:
    """Return the pieces of a message; a style is names joined by spaces, such as "bold link".

    `name_of` returns what an account is called here, "" if it is no member: then the sender's words are
    shown, which never stand for a member. With `targets`, where links go is added there, and their words are
    followed by its number; and code in lines of its own has the style "block" and no signs.
    """
    pieces: Line = []
    for span in parse(source):
        style = " ".join(name for each, name in _STYLES if each in span.style)
        if span.mention:
            name = name_of(span.mention)
            pieces.append((f"{style} mention".strip() if name else style, shown_mention(span, name)))
        elif span.link:
            pieces.append((f"{style} link".strip(), _signed(span, begins_line=False)))
            target = target_text(span)
            if target and targets is not None:
                targets.append(target.strip())
                target = f"[{len(targets)}]"
            pieces.append(("time" if targets is not None else "", target))
        else:
            begins_line = not pieces or pieces[-1][1].endswith("\n")
            if targets is not None and Style.CODE in span.style and "\n" in span.text and begins_line:
                pieces.append(("block", span.text))
                continue
            pieces.append((style, _signed(span, begins_line=begins_line)))
    return [(style, text) for style, text in pieces if text]


def bare_text(source: str) -> str:
    """Return the text of a message to copy: without marks, also those that `marked_pieces` shows."""
    return readable(source)


def _signed(span: Span, *, begins_line: bool) -> str:
    """Return the text of a span with the signs that must not be lost."""
    text = span.text
    if Style.CODE in span.style:
        longest = max(map(len, re.findall("`++", text)), default=0)
        if "\n" in text and begins_line:
            fence = "`" * max(3, longest + 1)
            text = f"{fence}\n{text}\n{fence}"
        else:
            ticks = "`" * (longest + 1)
            space = " " * ("`" in (text[0], text[-1]))
            text = f"{ticks}{space}{text}{space}{ticks}"
    return f"~~{text}~~" if Style.STRIKE in span.style else text
