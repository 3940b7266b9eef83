"""Turns lines of (style, text) pieces into Textual's content. A text is never markup."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from clave_client.ui.display import Line

__all__ = ["content_of", "paragraphs"]

_STYLES: Final = {
    "name": "bold $text-primary",
    "own": "bold $text-success",
    "time": "$text-muted",
    "note": "$text-accent",
    "alarm": "bold $text-error",
    "bold": "bold",
    "italic": "italic",
    "strike": "strike",
    "code": "$text-secondary",
    "link": "underline",
    "mention": "bold underline $text-warning",
}
"""What the names of styles look like; a mention, or what was searched for, is seen without colours, too."""


def content_of(line: Line) -> Content:
    """Return the content of a line."""
    return Content("").join(
        Content.styled(text, " ".join(_STYLES.get(name, "") for name in names.split()).strip())
        for names, text in line
    )


def paragraphs(*lines: Content) -> Content:
    """Return contents below each other."""
    return Content("\n").join(lines)
