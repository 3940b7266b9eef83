"""The screen of settings: those of the room, with what it takes to change them, and the theme."""

from __future__ import annotations

import time
from pathlib import Path

from textual.widgets import OptionList

from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.app import ClaveApp
from clave_client.tui.screens.settings import SettingsScreen
from clave_client.values import RoomInfo
from client.tui.screenkit import Screen, in_a_room, screen_of

TALL = (90, 40)


async def in_settings(red: Screen) -> SettingsScreen:
    screen = SettingsScreen(red.main.talk)
    red.pilot.app.push_screen(screen)
    await red.shows("looks: ")
    return screen


async def choose(red: Screen, name: str) -> None:
    """Choose a line of the settings by its id."""
    options = red.pilot.app.screen.query_one(OptionList)
    options.highlighted = options.get_option_index(name)
    await red.pilot.press("enter")


async def info_of(red: Screen) -> RoomInfo:
    return await red.main.talk.session.ask(m.GetRoomInfo(room=red.main.talk.current()))


async def test_the_settings_of_a_room_are_shown_and_changed(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, TALL) as red:
        await red.opens("[b]attic")
        await in_settings(red)
        await red.shows("is called: [b]attic")
        await choose(red, "title")
        await red.pilot.press("end", *"2", "enter")
        await red.shows("is called: [b]attic2")
        await choose(red, "topic")
        await red.pilot.press(*"boats", "enter")
        await red.shows("is about: boats")
        await choose(red, "expiry")
        await red.shows("never  (as now)")
        await red.pilot.press("down", "down", "enter")
        await red.shows("new messages disappear: 1 day after they are read")
        await choose(red, "policy add")
        await red.pilot.press("down", "down", "enter")
        await red.shows("owners only invite people")
        info = await info_of(red)
        assert (info.title, info.topic, info.expiry, info.may_add) == ("[b]attic2", "boats", 86_400, "owner")


async def test_what_is_for_oneself_alone(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, TALL) as red:
        room = await in_a_room(red, blue)
        await in_settings(red)
        before = (await info_of(red)).read_receipts
        await choose(red, "mute")
        await red.pilot.press("down", "enter")
        await red.shows("a new message: is muted until")
        assert 3500 < red.main.talk.rooms[room].muted_until - time.time() <= 3600
        await choose(red, "mute")
        await red.pilot.press("enter")
        await red.shows("a new message: rings")
        await choose(red, "archived")
        await red.shows("in the list of rooms: left out")
        await choose(red, "receipts")
        words = "what you have got, not what you read" if before else "what you have got and read"
        await red.shows(f"the others are told: {words}")
        assert (await info_of(red)).read_receipts is not before


async def test_what_a_member_cannot_change_is_marked_and_refused_in_words(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, TALL) as red:
        room = await blue.create_room("theirs")
        await blue.invite(room.id, "red")
        await red.shows("invites you to theirs")
        await red.types("/accept theirs")
        await red.shows("talking in theirs")
        await in_settings(red)
        await red.shows("is called: theirs  (takes an admin)")
        await red.shows("everybody but guests invite people  (takes an owner)")
        await choose(red, "topic")
        await red.pilot.press(*"boats", "enter")
        await red.until(lambda: red.pilot.app.screen.query_one("#said").has_class("-error"))
        await red.until(lambda: red.pilot.app.screen.query_one("#said").display)
        assert (await info_of(red)).topic == ""


async def test_escape_stops_writing_and_changes_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, TALL) as red:
        await red.opens("attic")
        screen = await in_settings(red)
        await red.shows("is called: attic")
        await choose(red, "title")
        await red.pilot.press(*"nothing", "escape")
        await red.pilot.pause()
        assert red.pilot.app.screen is screen
        assert (await info_of(red)).title == "attic"
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is red.main)


async def test_a_theme_is_chosen_at_once_and_told(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        app = red.pilot.app
        assert isinstance(app, ClaveApp)
        kept: list[str] = []
        app._keep_theme = kept.append
        await in_settings(red)
        await choose(red, "theme")
        await red.shows("clave-dark  (as now)")
        names = [line.strip(" │") for line in red.lines if "│" in line]
        assert names.index("clave-light") < names.index("dracula")
        await red.pilot.press("down", "enter")
        await red.shows("looks: clave-light")
        assert app.theme == "clave-light"
        await red.until(lambda: kept == ["clave-light"])


async def test_it_fits_a_small_terminal(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, (40, 15)) as red:
        await red.opens("attic")
        screen = SettingsScreen(red.main.talk)
        red.pilot.app.push_screen(screen)
        await red.shows("is called: attic")
        await red.pilot.press("end")
        await red.shows("looks: clave-dark")
        assert max(map(len, red.lines)) == 40
