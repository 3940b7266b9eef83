"""The screen with all keys and commands: made from the keys in use, and searched as one types."""

from __future__ import annotations

from pathlib import Path

from clave_client.testing import MemoryRelay
from clave_client.tui.keymap import KEYMAP, Keys
from clave_client.tui.screens.help import HelpScreen
from clave_client.ui.chat_commands import COMMANDS
from client.tui.screenkit import Screen, screen_of


def helping(red: Screen, keys: Keys | None = None) -> HelpScreen:
    screen = HelpScreen(red.main.talk, keys or Keys())
    red.pilot.app.push_screen(screen)
    return screen


def listed(screen: HelpScreen) -> str:
    """Return all that can be scrolled to."""
    return str(screen._text.content)


async def test_every_action_and_command_is_listed_with_the_keys_in_use(tmp_path: Path) -> None:
    wide = (200, 40)
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, wide) as red:
        screen = helping(red, Keys({"main.search": "f5,alt+f"}))
        await red.shows("Anywhere on the main screen")
        text = listed(screen)
        for each in (each for place in KEYMAP.values() for each in place if not each.id.startswith("room_")):
            assert each.words in text
        for command in COMMANDS.values():
            assert f"{command.usage:<16}  {command.help}" in text
        assert "F5 or Alt-f       search all messages" in text
        assert "Alt-s " not in text
        assert "Alt-1 to Alt-9    go to a room by its number" in text


async def test_what_is_typed_is_looked_for(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        screen = helping(red)
        await red.shows("Anywhere on the main screen")
        await red.pilot.press(*"link", "space", *"list")
        await red.until(lambda: "Anywhere" in listed(screen) and "While you write" not in listed(screen))
        assert "/links" in listed(screen)
        assert "/edit" not in listed(screen)
        await red.pilot.press(*"boat")
        await red.shows("no key and no command is about that")
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is red.main)


async def test_it_fits_and_is_scrolled_by_keys(tmp_path: Path) -> None:
    small = (40, 15)
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, small) as red:
        screen = helping(red)
        await red.shows("Anywhere on the main screen")
        await red.pilot.press("down", "pagedown")
        await red.until(lambda: "Anywhere" not in red.text)
        for _ in range(60):
            await red.pilot.press("pagedown")
        await red.shows("keys.toml where the profiles are")
        assert screen.body.max_scroll_x == 0
        await red.pilot.resize_terminal(300, 80)
        await red.shows("/invite [NAME]    add somebody, or make a link to join by")
