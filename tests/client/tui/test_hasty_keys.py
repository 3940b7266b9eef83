"""Keys that are pressed twice, or before what they are for is there: each counts once, and in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.jump import JumpScreen
from clave_client.tui.screens.main import MainScreen
from clave_client.tui.screens.search import SearchScreen
from client.tui.screenkit import Screen, in_a_room, screen_of

OPENED = {
    "jump": (("alt+j",), ("a", "a")),
    "jump, closed": (("alt+j",), ("escape", "escape")),
    "delete": (("alt+m", "d"), ("enter", "enter")),
    "react": (("alt+m", "plus"), ("enter", "enter")),
    "details": (("alt+m", "s"), ("escape", "escape")),
    "search": (("alt+s", *"look"), ("enter", "enter")),
    "palette": (("ctrl+p", *"settings"), ("enter", "enter", "enter")),
    "help": (("f1",), ("escape", "escape")),
}
"""By what it is opened, and what closes it twice."""


def _is_main_there(red: Screen) -> bool:
    return any(isinstance(each, MainScreen) for each in red.pilot.app.screen_stack)


@pytest.mark.parametrize("name", OPENED)
async def test_a_key_that_closes_a_screen_closes_no_other(tmp_path: Path, name: str) -> None:
    opens, closes = OPENED[name]
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, "look here")
        await red.pilot.press(*opens)
        await red.until(lambda: red.pilot.app.screen is not red.main)
        if name == "search":
            await red.shows("1 found")
        red.type_ahead(*closes)
        await red.pilot.pause(0.2)
        assert _is_main_there(red)
        await red.pilot.press("escape", "escape")
        await red.until(lambda: red.pilot.app.screen is red.main)
        assert len(red.pilot.app.screen_stack) == 2, red.pilot.app.screen_stack


async def test_keys_behind_a_letter_are_for_what_it_leads_to(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, "look here")
        red.type_ahead("alt+j", "s", "r", *"answer", "enter")
        await red.until(lambda: any(each.text == "answer" for each in blue.history(room)))
        assert blue.history(room)[-1].reply_to == blue.history(room)[-2].id


async def test_what_is_typed_for_a_question_is_not_said(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, "look here")
        await red.pilot.press("alt+m")
        red.type_ahead("d")
        await red.until(lambda: isinstance(red.pilot.app.screen, ChoiceScreen) or red.is_holding)
        red.type_ahead("enter", "x", "y", "enter")
        await red.until(lambda: not red.is_holding and red.pilot.app.screen is red.main)
        await blue.room(room).send("and now?")
        await red.shows("and now?")
        assert [each.text for each in blue.history(room)] == ["look here", "and now?"]


async def test_what_is_typed_while_a_found_message_is_shown_is_written(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await blue.room(room).send("look here")
        await red.opens("attic")
        seq, ask = blue.history(room)[-1].seq, red.main.talk.session.ask
        may_answer = asyncio.Event()

        async def ask_late(asked: m.Method[object]) -> object:
            if isinstance(asked, m.GetHistory):
                await may_answer.wait()
            return await ask(asked)

        red.main.talk.session.ask = ask_late  # type: ignore[method-assign, assignment]
        red.main.go(room, seq)
        red.type_ahead(*"dope")
        await red.until(lambda: red.main.composer.text == "dope")
        may_answer.set()
        await red.shows("look here")
        red.type_ahead(*" it is")
        await red.until(lambda: red.main.composer.text == "dope it is")


async def test_ctrl_c_while_a_room_is_entered_loses_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        for title in ("attic", "cellar"):
            await red.opens(title)
        ask, is_asked = red.main.talk.session.ask, asyncio.Event()

        async def ask_never(asked: m.Method[object]) -> object:
            if isinstance(asked, m.SetDraft):
                is_asked.set()
                await asyncio.Event().wait()
            return await ask(asked)

        red.main.talk.session.ask = ask_never  # type: ignore[method-assign, assignment]
        red.type_ahead(*"a draft", "alt+1")
        await is_asked.wait()
        red.type_ahead("ctrl+c")
        await red.until(lambda: red.main.composer.text == "a draft")
        red.main.talk.session.ask = ask  # type: ignore[method-assign]
        await red.types("/frob")
        await red.shows("there is no /frob")


async def test_a_room_that_is_gone_is_not_entered(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("attic")
        room = red.main.talk.room
        red.main.go(b"\x01" * 16)
        await red.shows("no room")
        assert red.main.talk.room == room
        assert "attic is open" in red.text


async def test_search_opened_by_the_palette_is_opened_once(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.pilot.press("ctrl+p", *"search")
        await red.until(lambda: "Alt-s" in red.text)
        red.type_ahead("enter", "enter", "enter")
        await red.until(lambda: isinstance(red.pilot.app.screen, SearchScreen))
        await red.pilot.pause(0.2)
        stack = red.pilot.app.screen_stack
        assert [type(each) for each in stack[1:]] == [MainScreen, SearchScreen]


async def test_keys_behind_an_invitation_are_its_answer(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await (await blue.create_room("of blue")).invite("red")
        await red.shows("invitations")
        red.type_ahead(*"a draft", "alt+j")
        await red.until(lambda: isinstance(red.pilot.app.screen, JumpScreen))
        letters = [str(each.content) for each in red.pilot.app.screen.query(Static)]
        red.type_ahead(letters[-2], "down", "enter")
        await red.until(lambda: "of blue" not in red.text)
        await red.until(lambda: red.pilot.app.screen is red.main)
        assert red.main.composer.text == "a draft"
        assert not blue.history(room)


async def test_what_is_typed_behind_a_hit_is_for_its_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, "look here")
        await red.opens("elsewhere")
        await red.pilot.press("alt+s", *"look")
        await red.shows("1 found")
        red.type_ahead("enter", *"wxyz", "enter")
        await red.until(lambda: blue.history(room)[-1].text == "wxyz")
        assert red.main.talk.room == room


async def test_escape_from_the_messages_has_what_follows_written(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, "look here")
        await red.pilot.press("alt+m")
        await red.until(lambda: red.main.messages.has_focus)
        red.type_ahead("escape", *"delete")
        await red.until(lambda: red.main.composer.text == "delete")
        assert red.pilot.app.screen is red.main


async def test_enter_right_behind_the_words_goes_to_what_is_found(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, "look here")
        await red.opens("elsewhere")
        red.type_ahead("alt+s", *"look", "enter", *"for it", "enter")
        await red.until(lambda: blue.history(room)[-1].text == "for it")


async def test_what_is_not_found_leaves_the_search_open(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        red.type_ahead("alt+s", *"nowhere", "enter", *"22")
        await red.shows("nothing was found")
        await red.until(lambda: "nowhere22" in red.text)
        assert not red.is_holding


async def test_a_line_that_is_still_to_be_sent_moves_no_choice(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        for text in ("first", "second", "third"):
            await blue.room(room).send(text)
        await red.shows("third")
        session, chosen = red.main.talk.session, asyncio.Event()
        ask = session.ask

        async def asked_slowly(asked: m.Method[Any]) -> Any:
            if isinstance(asked, m.AddTypedLine):
                await chosen.wait()
            return await ask(asked)

        session.ask = asked_slowly  # type: ignore[method-assign, assignment]
        red.type_ahead(*"said", "enter", "alt+m", "up", "up")
        await red.until(lambda: [each.text for each in red.main.messages.chosen] == ["first"])
        chosen.set()
        await red.shows("  said")
        assert [each.text for each in red.main.messages.chosen] == ["first"]
