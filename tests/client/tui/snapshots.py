"""Snapshots of a screen: its lines as text, then the style of each run of them. Knows no scene.

The stored ones are in the folder `snapshots`. After a change that is meant, have them written anew with
`CLAVE_UPDATE_SNAPSHOTS=1 python -m pytest tests/client/tui/test_snapshots.py`, and read their diff.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rich.segment import Segment
from rich.style import Style
from textual.app import App

__all__ = ["FOLDER", "UPDATE", "assert_snapshot", "snapshot_of", "stored_snapshots"]

FOLDER: Final = Path(__file__).parent / "snapshots"
UPDATE: Final = "CLAVE_UPDATE_SNAPSHOTS"

_CLOCK: Final = re.compile(r"\b[0-2]\d:[0-5]\d(?::[0-5]\d)?\b")
_ATTRIBUTES: Final = ("bold", "dim", "italic", "underline", "reverse", "strike")


def assert_snapshot(app: App[Any], name: str, folder: Path = FOLDER) -> None:
    """Compare what an app shows with what is stored by that name; fails with a diff.

    With `CLAVE_UPDATE_SNAPSHOTS` in the environment it is stored instead.
    """
    now, path = snapshot_of(app), folder / f"{name}.txt"
    if os.environ.get(UPDATE):
        folder.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(f"there is no snapshot {path.name}; {UPDATE}=1 writes it")
    before = path.read_text(encoding="utf-8")
    if before != now:
        diff = unified_diff(before.splitlines(), now.splitlines(), "stored", "shown", lineterm="")
        raise AssertionError("\n".join([f"{path.name} differs ({UPDATE}=1 stores it):", *diff]))


def stored_snapshots(folder: Path = FOLDER) -> set[str]:
    """Return the names of the snapshots that are stored."""
    return {path.stem for path in folder.iterdir()}


def snapshot_of(app: App[Any]) -> str:
    """Return what an app shows: the text without spaces at the ends of lines, then the styles.

    A line of styles is for one or more rows, counted from 1, with the column before which each style ends.
    Times of day stand as HH:MM. Of spaces only the background counts.
    """
    rows = [list(strip) for strip in app.screen._compositor.render_strips()]
    texts = ["".join(segment.text for segment in row).rstrip() for row in rows]
    shown = [_CLOCK.sub(lambda found: "HH:MM:SS"[: len(found[0])], text) for text in texts]
    return "\n".join([*shown, "=== styles", *_style_lines(map(_runs, rows))]) + "\n"


def _style_lines(rows: Iterable[str]) -> Iterator[str]:
    """Yield the styles of rows, once for several rows in a row that have the same."""
    number = 1
    for words, alike in groupby(rows):
        last = number + len(list(alike)) - 1
        yield f"{number}: {words}" if last == number else f"{number}-{last}: {words}"
        number = last + 1


def _runs(row: list[Segment]) -> str:
    found: list[tuple[int, str]] = []
    column = 0
    for segment in _spaces_apart(row):
        column += segment.cell_length
        words = _words(segment)
        if found and found[-1][1] == words:
            found.pop()
        found.append((column, words))
    return ", ".join(f"{words} <{end}" for end, words in found)


def _spaces_apart(row: Iterable[Segment]) -> Iterator[Segment]:
    """Yield segments without spaces at their ends, and these spaces in segments of their own."""
    for text, style, _ in row:
        said = text.strip(" ")
        start = text.find(said) if said else len(text)
        for piece in (text[:start], said, text[start + len(said) :]):
            if piece:
                yield Segment(piece, style)


def _words(segment: Segment) -> str:
    """Return the style of a segment, as in "#dce1e6 on #111519 bold"."""
    style = segment.style or Style()
    background = style.bgcolor.name if style.bgcolor is not None else "default"
    named = [name for name in _ATTRIBUTES if getattr(style, name)]
    if not segment.text.strip(" "):
        named = [name for name in named if name in ("underline", "reverse", "strike")]
        if not named:
            return f"on {background}"
    color = style.color.name if style.color is not None else "default"
    return " ".join([color, "on", background, *named])
