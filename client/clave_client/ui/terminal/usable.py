"""Decides whether stdin and stdout are a terminal that a prompt can be drawn on. Imports nothing slow."""

from __future__ import annotations

import os
import sys

__all__ = ["is_usable"]

_WITHOUT_CURSOR = frozenset({"", "dumb", "emacs", "unknown"})
"""Values of TERM that promise no cursor movement."""


def is_usable() -> bool:
    """Return whether stdin and stdout are terminals, and TERM names one that can move its cursor."""
    if os.environ.get("TERM", "").lower() in _WITHOUT_CURSOR:
        return False
    try:
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    except ValueError:  # closed
        return False
