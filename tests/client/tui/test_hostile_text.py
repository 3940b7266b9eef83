"""Hostile texts and titles through the real program on a terminal: only its own sequences come out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Paste
from textual.widgets import OptionList, Static, TextArea

from clave_client.tui.base_app import BaseApp
from client.tui.hostile_window import END
from scenarios.fullscreen import until_pressed
from scenarios.terminal import terminal

_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|_[^\x1b]*\x1b\\|[ -/]*[0-~])"
)
_OWN = re.compile(
    r"\x1b\[(?:"
    r"[0-9;:]*m"  # colours
    r"|[0-9]*;?[0-9]*H"  # the cursor
    r"|\?(?:25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048|7)(?:;[0-9]+)*[hlsr]"  # modes
    r"|\?2026\$p|\?2048\$p"  # what the terminal can do
    r"|[<>=][0-9]*u|\?u"  # keys
    r"|>[0-9]*;?[0-9]*m"  # how keys are sent
    r")"
    r"|\x1b\]22;[a-z-]+\x07"  # the shape of the mouse's pointer
)
_CONTROLS = "\x00-\x09\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f"
_DIRECTIONS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_FORBIDDEN = re.compile(f"[{_CONTROLS}{_DIRECTIONS}]")

_KEYS = (
    ("\x1bp", "members"),
    ("\x1bi", "encryption: "),
    ("\x1bi", END),
    ("\x1bm", END),
    ("s", "the relay says"),
)
"""What is looked at, and what is seen then."""


@pytest.mark.parametrize("seed", range(2))
async def test_only_the_programs_own_sequences_come_out(tmp_path: Path, seed: int) -> None:
    script = str(Path(__file__).parent / "hostile_window.py")
    paths = str(Path(__file__).parents[2])
    async with terminal(script, str(tmp_path), str(seed), PYTHONPATH=paths, LANG="C.UTF-8") as window:
        await until_pressed(window, "\x1b[1;5F", lambda: END in window.text)
        for key, shown in _KEYS:
            window.press(key)
            await window.shows(shown)
        window.press("\x11")
        assert await window.ended() == 0
    written = window.written.decode(errors="strict")
    strange = {each for each in _SEQUENCE.findall(written) if not _OWN.fullmatch(each)}
    assert not strange
    rest = _SEQUENCE.sub("", written)
    assert "\x1b" not in rest
    assert not _FORBIDDEN.findall(rest)
    assert "<U+001B>" in rest, "something hostile was shown"


class _Raw(BaseApp[None]):
    """A program that shows a text as it is, in several widgets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(Content(self._text))
        yield OptionList(Content(self._text))
        yield TextArea(self._text)


async def test_no_widget_draws_what_steers_the_terminal() -> None:
    raw = "a\x1b[2Jb\x9b2Jcd\u202ee\u2066f\u061cg\U0001f468\u200d\U0001f469"
    async with _Raw(raw).run_test() as pilot:
        await pilot.pause()
        strips = pilot.app.screen._compositor.render_strips()
        drawn = "".join(segment.text for strip in strips for segment in strip)
        assert not re.search(f"[\x1b{_CONTROLS}{_DIRECTIONS}]", drawn)
        assert drawn.count("a?[2Jb?2Jcd?e?f?g\U0001f468\u200d\U0001f469") == 3


async def test_a_paste_cannot_bring_what_steers_the_terminal() -> None:
    async with _Raw("").run_test() as pilot:
        area = pilot.app.query_one(TextArea)
        area.focus()
        driver = pilot.app._driver
        assert driver is not None
        driver.process_message(Paste("one\r\ntwo\x1b]52;c;eA==\x07\u202e\n"))
        await pilot.pause()
        assert area.text == "one\ntwo<U+001B>]52;c;eA==<U+0007><U+202E>"
