"""The Markdown of messages as pieces of lines. Knows no terminal."""

from __future__ import annotations

from collections.abc import Callable

from clave_client.formats.markdown import readable
from clave_client.ui.display import Line

__all__ = ["bare_text", "marked_pieces"]


def marked_pieces(source: str, name_of: Callable[[bytes], str]) -> Line:
    """Return what to show of a source."""
    return [("", readable(source))]


def bare_text(source: str) -> str:
    """Return the text without marks."""
    return readable(source)
