"""What is typed and not sent stays with its room, whatever happens while another one is entered."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.ui.chat_commands import run_shortcut, switch
from clave_client.ui.draft_line import TypedText
from client.rpc.kit import home_at
from client.ui.test_conversation import Window


class Line:
    """A line that is typed into; `earlier` are the texts that Up brings back."""

    def __init__(self) -> None:
        self.typed = ""
        self.earlier: list[str] = []
        self.put = asyncio.Event()

    def text(self) -> str:
        return self.typed

    def put_back(self, text: str) -> None:
        self.put.set()
        if not self.typed:
            self.typed = text
        elif text:
            self.earlier.append(text)


async def test_what_is_typed_while_a_room_is_entered_is_for_that_room(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        for title in ("one", "two"):
            await red.ask(m.CreateRoom(title=title))
        await red.ask(m.SetDraft(room="two", text="kept"))
        window = await Window.open(home, "red", room="one")
        line = window.talk.draft = Line()
        entering = asyncio.create_task(window.types("/room two"))
        line.typed = "typed ahead"
        assert await entering
        assert (line.typed, line.earlier) == ("typed ahead", ["kept"])
        assert await red.ask(m.GetDraft(room="one")) == ""
        line.typed = ""
        await switch(window.talk, 1, TypedText("for two"))
        assert line.typed == ""
        await window.types("/room two")
        assert line.typed == "for two"
        line.typed = "something new"
        await switch(window.talk, 2, TypedText())
        assert (line.typed, line.earlier) == ("something new", ["kept"]), "it was put back before"
        await window.close()


async def test_what_was_typed_for_a_room_is_kept_there_when_entering_another_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        for title in ("one", "two"):
            await red.ask(m.CreateRoom(title=title))
        window = await Window.open(home, "red", room="one")
        await red.ask(m.SetDraft(room="two", text="for two"))
        line = window.talk.draft = Line()
        typed, ask = TypedText("for one"), window.session.ask

        async def fail(request: m.Method[Any]) -> object:
            if isinstance(request, m.ListMembers):
                raise UsageError("no")
            return await ask(request)

        with monkeypatch.context() as patch:
            patch.setattr(window.session, "ask", fail)
            await run_shortcut(window.talk, partial(switch, window.talk, 2), typed)
        assert window.talk.prompt == "two> "
        assert typed.is_kept
        assert await red.ask(m.GetDraft(room="one")) == "for one"
        await window.types("/room two")
        assert line.typed == "for two"
        await window.close()


async def test_a_window_that_ends_as_soon_as_a_room_shows_opens_there_again(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        for title in ("one", "two"):
            await red.ask(m.CreateRoom(title=title))
        window = await Window.open(home, "red", room="one")
        line = window.talk.draft = Line()
        entering = asyncio.create_task(window.types("/room two"))
        await line.put.wait()
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        await window.close()
        window = await Window.open(home, "red")
        assert window.talk.prompt == "two> "
        await window.close()
