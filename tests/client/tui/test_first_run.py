"""The first screen of all: who one is, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from clave_client.tui.first_run import Answers, FirstRun


@asynccontextmanager
async def first_run(
    *names: str, answers: Answers | None = None, problem: str = "", size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Pilot[Any]]:
    app = FirstRun(names, answers or Answers(), problem)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot


def _text(pilot: Pilot[Any]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@pytest.mark.parametrize("size", [(40, 15), (80, 24), (160, 50)])
async def test_a_name_and_a_relay_are_asked_one_after_the_other(size: tuple[int, int]) -> None:
    async with first_run(size=size) as pilot:
        await pilot.press(*"red", "enter", *"chat.example", "enter")
        assert pilot.app.return_value == Answers("red", "chat.example")


async def test_what_is_missing_is_said() -> None:
    async with first_run() as pilot:
        await pilot.press("enter")
        assert "say what others are to call you" in _text(pilot)
        await pilot.press(*"red", "enter", "enter")
        assert "say where" in _text(pilot)
        assert pilot.app.focused is pilot.app.query_one("#relay", Input)


async def test_a_link_may_be_pasted_with_the_command_and_in_two_lines() -> None:
    async with first_run() as pilot:
        await pilot.press(*"red", "enter")
        pilot.app.query_one("#relay", Input).value = "clave join clave://chat.example:7878/#Adk1 CKPq"
        await pilot.press("enter")
        assert pilot.app.return_value == Answers("red", "clave://chat.example:7878/#Adk1CKPq")


async def test_one_of_several_profiles_is_chosen() -> None:
    async with first_run("blue", "red") as pilot:
        assert isinstance(pilot.app.focused, OptionList)
        await pilot.press("down", "enter")
        assert pilot.app.return_value == Answers("red")


async def test_a_profile_that_there_is_is_not_made_again() -> None:
    async with first_run("red") as pilot:
        await pilot.press("tab", *"red", "tab", *"chat.example", "enter")
        assert "red is a profile on this machine already" in _text(pilot)
        assert pilot.app.return_value is None


async def test_why_it_asks_again_is_said_and_the_answers_are_kept() -> None:
    async with first_run(answers=Answers("red", "chat.example"), problem="nobody answers there") as pilot:
        assert "nobody answers there" in _text(pilot)
        assert pilot.app.query_one("#name", Input).value == "red"
        assert pilot.app.query_one("#relay", Input).value == "chat.example"


async def test_one_can_leave() -> None:
    async with first_run() as pilot:
        await pilot.press("ctrl+q")
        assert pilot.app.return_value is None
        assert not pilot.app.is_running
