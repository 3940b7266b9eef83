"""The full screen in a real app without a terminal: rooms, messages, what is written, what comes."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from textual._styles_cache import StylesCache
from textual.events import Key

from clave_client.testing import MemoryRelay
from clave_client.tui.app import ClaveApp
from clave_client.tui.talk import ScreenConversation
from clave_client.values import Phase
from client.tui.screenkit import SECONDS, in_a_room, screen_of


async def test_what_is_written_and_what_comes_is_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.types("hello [bold]there[/bold] [red")
        await red.shows("  hello [bold]there[/bold] [red")
        await blue.room(room).send("and hello *you*")
        await red.shows("  and hello you")
        assert "blue (unverified)  " in red.text
        assert red.main.composer.text == ""
        assert "online" in red.lines[-1]


async def test_what_is_typed_ahead_is_taken_in_its_order(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        driver = red.pilot.app._driver
        assert driver is not None
        for line in ("/new friends", "first", "second"):
            for character in line:
                driver.process_message(Key(character, character))
            driver.process_message(Key("enter", "\r"))
        await red.shows("second")
        await red.until(lambda: red.text.find("  first") < red.text.find("  second"))


async def test_what_is_refused_is_written_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.types("said to nobody")
        await red.shows("you are in no room")
        assert red.main.composer.text == "said to nobody"


async def test_the_rooms_show_what_is_new_and_alt_a_goes_there(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.opens("attic")
        for number in range(3):
            await blue.room(room).send(f"message {number}")
        await red.shows("friends 3")
        red.main.composer.text = "not sent yet"
        await red.pilot.press("alt+a")
        await red.shows("  message 2")
        await red.until(lambda: "friends 3" not in red.text)
        assert red.main.composer.text == ""
        await red.types("/room attic")
        await red.until(lambda: red.main.composer.text == "not sent yet")


async def test_a_long_history_is_loaded_page_by_page_and_stays_in_its_place(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        for number in range(700):
            blue.post(room, f"message {number}.")
        await blue.wait_flushed()
        await red.shows("message 699.")
        await red.types("/room friends")
        await red.shows("message 699.")
        messages = red.main.messages
        messages.focus()
        numbers: list[int] = []
        while "message 0." not in red.text:
            before = messages.rows.line(messages.scroll_offset.y)
            await red.pilot.press("pageup")
            await red.until(lambda: not messages._asked)
            numbers.append(len(messages.rows))
            assert before or numbers
        assert max(numbers) <= 400, "no more is kept than is needed"
        await red.until(lambda: "SCROLLED" in red.lines[-1] or messages.has_newer)
        while "message 699." not in red.text:
            await red.pilot.press("end")
            await red.pilot.pause(0.01)
        assert messages.is_at_end


async def test_who_reads_earlier_messages_is_not_moved_by_new_ones(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, *(f"message {number}." for number in range(60)))
        red.main.messages.focus()
        await red.pilot.press("pageup", "pageup")
        await red.until(lambda: not red.main.messages.is_at_end)
        seen = red.lines[1:10]
        await blue.room(room).send("one more")
        await red.until(lambda: len(red.main.messages.rows) > 60)
        await red.pilot.pause(0.05)
        assert red.lines[1:10] == seen
        assert "one more" not in red.text
        await red.pilot.press("end")
        await red.shows("one more")


async def test_a_list_that_gets_smaller_goes_on_showing_the_newest_message(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, *(f"message {number}." for number in range(40)))
        await red.pilot.press("/")
        await red.until(lambda: red.main.completions.display)
        await red.shows("message 39.")
        await red.pilot.resize_terminal(90, 18)
        await red.until(lambda: len(red.lines) == 18)
        await red.shows("message 39.")
        assert "SCROLLED" not in red.lines[-1]


async def test_an_edited_message_is_shown_as_it_is_now(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, "at five")
        blue.edit(room, blue.find_message(room, "", own=True).id, "at six")
        await red.shows("at six")
        assert "at five" not in red.text


async def test_it_fits_small_and_large_terminals(tmp_path: Path) -> None:
    small = (40, 15)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, small) as red:
        room = await in_a_room(red, blue)
        await blue.room(room).send("a text that is longer than forty columns can be, so it wraps")
        await red.shows("it wraps")
        assert max(map(len, red.lines)) == 40
        await red.pilot.resize_terminal(300, 80)
        await red.shows("a text that is longer than forty columns can be, so it wraps")
        assert len(red.lines) == 80


async def _fail(*_: object) -> None:
    _raise()


def _raise(*_: object) -> None:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("part", ["enter", "begin"])
async def test_a_defect_ends_it_without_the_values_of_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(ScreenConversation, part, _fail)
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        app = red.pilot.app
        assert isinstance(app, ClaveApp)
        if part == "enter":
            await red.types("/new friends")
        await red.until(lambda: app.failure is not None)
        assert isinstance(app.failure, RuntimeError)
        assert app._exit_renderables == [], "Textual's traceback shows them"


async def test_a_defect_in_the_screen_ends_it_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps: list[ClaveApp] = []

    async def use(relay: MemoryRelay) -> None:
        async with screen_of(relay, tmp_path) as red:
            app = red.pilot.app
            assert isinstance(app, ClaveApp)
            apps.append(app)
            monkeypatch.setattr(red.main.completions, "show", _raise)
            await red.pilot.press("x")
            await red.until(lambda: app.failure is not None)

    async with MemoryRelay() as relay:
        with pytest.raises(RuntimeError, match="a defect"):
            await use(relay)
    assert isinstance(apps[0].failure, RuntimeError)
    assert apps[0]._exit_renderables == []


async def test_exit_leaves_and_others_are_told(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with screen_of(relay, tmp_path) as red:
            room = await in_a_room(red, blue)
            await red.types("exit")
            await red.until(lambda: not red.pilot.app.is_running)
        assert blue.rooms[room].phase is Phase.JOINED
        async with asyncio.timeout(SECONDS):
            await blue.sync.wait_for(lambda: len(blue.sync.online.get(room, ())) <= 1)


async def test_nothing_is_kept_of_screens_that_were_closed(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        counts = []
        for _ in range(4):
            for key in ("f1", "alt+s", "alt+o"):
                await red.pilot.press(key)
                await red.shows("Esc close")
                await red.pilot.press("escape")
                await red.until(lambda: red.pilot.app.screen is red.main)
            await red.pilot.pause()
            gc.collect()
            counts.append(sum(isinstance(each, StylesCache) for each in gc.get_objects()))
        assert counts[1:] == [counts[1]] * 3
