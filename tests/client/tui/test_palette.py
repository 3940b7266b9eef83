"""The command palette: actions, rooms and commands by their names; a title is never markup."""

from __future__ import annotations

from pathlib import Path

from clave_client.testing import MemoryRelay
from clave_client.tui.palette import Palette
from clave_client.tui.screens.search import SearchScreen
from client.tui.screenkit import Screen, screen_of


async def choose(red: Screen, words: str, found: str) -> None:
    """Open the palette, type, and choose the first once `found` is in sight."""
    red.pilot.app.push_screen(Palette())
    await red.until(lambda: isinstance(red.pilot.app.screen, Palette))
    await red.pilot.press(*(key if key != " " else "space" for key in words))
    await red.shows(found)
    await red.pilot.pause(0.2)
    await red.pilot.press("enter")
    await red.until(lambda: not isinstance(red.pilot.app.screen, Palette))


async def test_an_action_is_done(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await choose(red, "search all messages", "Alt-s")
        await red.until(lambda: isinstance(red.pilot.app.screen, SearchScreen))


async def test_a_room_is_entered_and_its_title_is_no_markup(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        for title in ("[red]boats[/]", "attic"):
            await red.opens(title)
        await choose(red, "boats", "go to [red]boats[/]")
        await red.until(lambda: red.main.talk.title(red.main.talk.room) == "[red]boats[/]")


async def test_a_command_is_run_or_written_before_what_is_written(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("attic")
        await choose(red, "/who", "who is online in this room")
        await red.shows("online in attic: red")
        red.main.composer.write("where the boats are")
        await choose(red, "/topic", "/topic [TEXT]")
        await red.until(lambda: red.main.composer.text == "/topic where the boats are")
        assert red.main.composer.has_focus


async def test_all_is_listed_before_anything_is_typed(tmp_path: Path) -> None:
    tall = (120, 200)
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, tall) as red:
        red.pilot.app.push_screen(Palette())
        for words in ("search all messages", "/edit [N] TEXT", "close this window"):
            await red.shows(words)
        assert "go to room 1" not in red.text
