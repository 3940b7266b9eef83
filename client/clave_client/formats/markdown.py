"""The Markdown of messages (GFM-MIMI): a small part of it is read, and written. Knows no display."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["mentioned", "readable", "write"]


def readable(source: str) -> str:
    """Return what to read of a source."""
    return source


def mentioned(source: str) -> frozenset[bytes]:
    """Return the accounts that a source mentions."""
    return frozenset()


def write(text: str, names: Mapping[str, bytes]) -> str | None:
    """Return the source of what a person typed, None if it is plain text."""
    return None
