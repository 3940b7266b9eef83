"""The rows above the prompt: what the caller shows there, what runs and what waits. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clave_client.ui.terminal.wrapping import Line, shorten, wrap

__all__ = ["LABEL_COLUMNS", "cut_line", "job_lines", "limit_rows"]

_MOST_WAITING: Final = 3
"""Most waiting lines shown."""

LABEL_COLUMNS: Final = 40
"""Most columns of a typed line that are shown."""


def job_lines(running: str, reason: str, waiting: Sequence[str]) -> list[Line]:
    """Return the lines for what runs, why it takes long, and what waits for it."""
    lines: list[Line] = [[("note", f"{shorten(running, LABEL_COLUMNS)}: {reason} ... Ctrl-C cancels")]]
    lines += [[("note", f"next: {shorten(each, LABEL_COLUMNS)}")] for each in waiting[:_MOST_WAITING]]
    if len(waiting) > _MOST_WAITING:
        lines.append([("note", f"and {len(waiting) - _MOST_WAITING} more")])
    return lines


def cut_line(line: Line, most: int) -> Line:
    """Return `line`; of one with more than `most` characters that many and "...", as wrapping takes long."""
    kept: Line = []
    for style, text in line:
        if len(text) > most:
            return [*kept, (style, text[:most] + "...")]
        kept.append((style, text))
        most -= len(text)
    return kept


def limit_rows(lines: Sequence[Line], columns: int, most: int) -> list[Line]:
    """Return `lines` as rows of `columns`; if they are more than `most`, the last ones below a count."""
    rows = [row for line in lines for row in wrap(line, columns)]
    if len(rows) <= most:
        return rows
    if most < 2:
        return rows[len(rows) - most :]
    hidden = len(rows) - most + 1
    return [[("note", shorten(f"({hidden} more)", columns))], *rows[hidden:]]
