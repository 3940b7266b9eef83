"""The screen keeps and draws no more than a terminal can show, however much it is given."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.key_binding import KeyBindings

from clave_client.ui.terminal import screen
from clave_client.ui.terminal.draft import Draft
from clave_client.ui.terminal.screen import PendingLines, Screen
from clave_client.ui.terminal.wrapping import Line, printable
from client.ui.terminal.window import window


def texts(pending: PendingLines) -> Iterator[str]:
    while pending:
        yield "".join(text for _, text in pending.take())


def test_all_lines_are_kept_in_order_while_they_are_few() -> None:
    pending = PendingLines()
    for number in range(3):
        pending.add([("", "line "), ("name", str(number))])
    assert list(texts(pending)) == ["line 0", "line 1", "line 2"]


def test_the_oldest_of_too_many_lines_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_MOST_LINES", 3)
    pending = PendingLines()
    for number in range(4):
        pending.add([("", str(number))])
    assert list(texts(pending)) == ["* 1 line was left out; /history shows them", "1", "2", "3"]
    for number in range(10):
        pending.add([("", str(number))])
    assert list(texts(pending)) == ["* 7 lines were left out; /history shows them", "7", "8", "9"]
    pending.add([("", "last")])
    assert list(texts(pending)) == ["last"]


def test_the_oldest_of_too_long_lines_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_MOST_CHARACTERS", 10)
    pending = PendingLines()
    for text in ("aaaa", "bbbb", "cccc"):
        pending.add([("name", text[:1]), ("", text[1:])])
    assert list(texts(pending)) == ["* 1 line was left out; /history shows them", "bbbb", "cccc"]
    pending.add([("", "short")])
    pending.add([("", "longer than all that may wait")])
    assert list(texts(pending)) == [
        "* 1 line was left out; /history shows them",
        "longer than all that may wait",
    ]


def test_a_url_is_broken_by_the_terminal_and_nothing_follows_on_its_row() -> None:
    url = "https://example.org/" + "x" * 30
    with window(columns=30) as shown:
        shown.press(f"say see {url} 12:34 blue: hi\r")
        shown.ends_with("see https://example.org/xxxxxx", "x" * 24, "      12:34 blue: hi", "room>")
        assert f"see {url}\r".encode() in shown.written


def test_lines_for_a_terminal_that_takes_nothing_are_bounded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with window() as shown:
        shown.press(f"burst 25000\rmark {mark}\rdraft")
        shown.becomes(mark.exists, "the next line's effect")
        shown.until(lambda: "burst 24999" in shown.text, "the last line")
        shown.prompts("draft")
        printed = [row for row in shown.everything if row.startswith(("burst ", "* "))]
        assert printed == [
            "* 5000 lines were left out; /history shows them",
            *(f"burst {number}" for number in range(5000, 25_000)),
        ]


@pytest.mark.parametrize("text", ["word " * 13_000, "x" * 65_536])
async def test_no_more_of_a_live_line_is_laid_out_than_can_be_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 0

    def counting(line: Line, encoding: str) -> Line:
        nonlocal longest
        longest = max(longest, *(len(piece) for _, piece in line))
        return printable(line, encoding)

    monkeypatch.setattr(screen, "printable", counting)
    drawn = asyncio.Event()

    def live() -> list[Line]:
        drawn.set()
        return [[("note", text)]]

    master, slave = os.openpty()
    with os.fdopen(slave) as stdin, os.fdopen(os.dup(slave), "w") as stdout:
        shown = Screen(Draft([]), KeyBindings(), lambda: "> ", live, lambda: None, stdin=stdin, stdout=stdout)
        running = asyncio.create_task(shown.run())
        await drawn.wait()
        shown.end()
        await running
    os.close(master)
    assert 100 < longest <= 80 * 24


def test_every_style_of_a_line_is_drawn_alone_and_beside_another() -> None:
    for name in (
        "name",
        "own",
        "time",
        "note",
        "alarm",
        "bold",
        "italic",
        "strike",
        "code",
        "link",
        "mention",
    ):
        drawn = screen._STYLE.get_attrs_for_style_str(screen._class(name))
        assert drawn != screen._STYLE.get_attrs_for_style_str(screen._class("")), name
    both = screen._STYLE.get_attrs_for_style_str(screen._class("bold link"))
    assert both.bold
    assert both.underline
