"""Draws what a Textual app shows as an SVG that needs nothing from elsewhere. Knows no screen."""

from __future__ import annotations

import re
from typing import Any

from textual.app import App

__all__ = ["picture_of"]

_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_FONTS = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'


def picture_of(app: App[Any], title: str) -> str:
    """Return a picture of what an app shows, with a title; any monospace font will do."""
    drawn = _FONT_FACE.sub("", app.export_screenshot(title=title))
    lines = drawn.replace("font-family: Fira Code, monospace", f"font-family: {_FONTS}").splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"
