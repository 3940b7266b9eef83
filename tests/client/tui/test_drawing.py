"""When the screen is drawn: what a key changes at once, and nothing that is only there in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clave_client.testing import MemoryRelay
from clave_client.tui.base_app import program_of
from client.tui.screenkit import SECONDS, Screen, in_a_room, screen_of


class Drawn:
    """What is drawn on a screen from now on: the text of the screen in front, each time."""

    def __init__(self, red: Screen) -> None:
        app = red.pilot.app
        self.texts: list[str] = []
        self._news = asyncio.Event()
        draw = app._display

        def note_drawing(screen: Any, renderable: Any) -> None:
            draw(screen, renderable)
            if renderable is not None:
                self.texts.append(red.text)
                self._news.set()

        app._display = note_drawing  # type: ignore[method-assign]

    async def until(self, condition: Callable[[str], bool]) -> None:
        """Wait, without a pilot, which would have the screen drawn, until a text fits that is drawn."""
        async with asyncio.timeout(SECONDS):
            while not any(map(condition, self.texts)):
                self._news.clear()
                await self._news.wait()


async def test_a_key_is_drawn_without_waiting_for_the_next_update(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.shows("online")
        drawn = Drawn(red)
        red.main._update_timer.stop()
        red.type_ahead(*"written")
        await drawn.until(lambda text: "written" in text)


async def test_a_page_is_drawn_without_waiting_for_the_next_update(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, *(f"message {number}." for number in range(60)))
        drawn = Drawn(red)
        red.main._update_timer.stop()
        red.type_ahead("pageup")
        await drawn.until(lambda text: "message 59." not in text)


async def test_what_is_put_off_is_drawn_when_it_is_asked_for_or_a_frame_later(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.shows("online")
        app, title = program_of(red.main), red.main.title_line
        drawn = Drawn(red)
        app.draw_later()
        title.update("first")
        for _ in range(20):
            await asyncio.sleep(0)
        assert not drawn.texts
        app.draw_now()
        await drawn.until(lambda text: "first" in text)
        app.draw_later()
        app.draw_later()
        title.update("second")
        await drawn.until(lambda text: "second" in text)
        title.update("third")
        await drawn.until(lambda text: "third" in text)


async def test_the_room_below_a_search_is_not_drawn_before_what_was_found(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, "a rare word")
        await red.opens("elsewhere")
        await red.pilot.press("alt+s", *"rare")
        await red.shows("1 found")
        drawn = Drawn(red)
        red.type_ahead("enter")
        await drawn.until(lambda text: "> friends" in text)
        assert not [text for text in drawn.texts if "elsewhere is open" in text]
