"""The screens of devices: the list, what adds one by a code and words, and what changes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.devices import DevicesScreen
from clave_client.tui.screens.pairing import PairingScreen
from client.tui.screenkit import Screen, screen_of
from devicekit import Newcomer, device_at


async def in_devices(red: Screen) -> DevicesScreen:
    screen = DevicesScreen(red.main.talk)
    red.pilot.app.push_screen(screen)
    await red.shows("this one, primary")
    return screen


async def pairing(red: Screen) -> str:
    """Begin to add a device; return its code."""
    await red.pilot.press("a")
    await red.shows("on the new device, within")
    screen = red.pilot.app.screen
    assert isinstance(screen, PairingScreen)
    (line,) = (row for row in str(screen._text.content).split("\n") if "clave://" in row)
    return line


async def add_laptop(red: Screen, relay: MemoryRelay, home: Path) -> None:
    newcomer = Newcomer(relay, home, await pairing(red), "laptop")
    words = await newcomer.shown()
    await red.shows(" ".join(words))
    await red.pilot.press("alt+y")
    await red.shows("laptop is your device now")
    await newcomer.task


async def names_of(red: Screen) -> list[str]:
    return [each.name for each in await red.main.talk.session.ask(m.ListDevices())]


async def test_a_device_is_added_if_both_show_the_same_words(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path / "1") as red:
        await in_devices(red)
        await add_laptop(red, relay, tmp_path / "2")
        await red.shows("laptop  away")
        assert await names_of(red) == ["main", "laptop"]


async def test_nothing_is_added_if_the_words_differ(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path / "1") as red:
        await in_devices(red)
        newcomer = Newcomer(relay, tmp_path / "2", await pairing(red), "laptop")
        await red.shows(" ".join(await newcomer.shown()))
        await red.pilot.press("alt+x")
        await red.shows("Nothing was added.")
        await red.pilot.press("escape")
        with pytest.raises(UsageError):
            await newcomer.task
        assert await names_of(red) == ["main"]


async def test_no_answer_is_taken_before_there_are_words(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await in_devices(red)
        await pairing(red)
        assert "They differ" not in red.text
        await red.pilot.press("alt+y")
        assert isinstance(red.pilot.app.screen, PairingScreen)


async def test_closing_the_screen_ends_the_pairing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path / "1") as red:
        screen = await in_devices(red)
        code = await pairing(red)
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is screen)
        newcomer = Newcomer(relay, tmp_path / "2", code, "laptop")
        with pytest.raises(UsageError):
            await newcomer.task
        assert await names_of(red) == ["main"]


async def test_a_device_is_removed_or_made_primary_after_a_question(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path / "1", (100, 24)) as red:
        screen = await in_devices(red)
        await add_laptop(red, relay, tmp_path / "2")
        async with device_at(relay, tmp_path / "2", "red"):
            await red.pilot.press("down", "p")
            await red.shows("Make laptop the primary device?")
            await red.pilot.press("escape")
            await red.until(lambda: red.pilot.app.screen is screen)
            await red.pilot.press("d")
            await red.shows("Remove laptop?")
            await red.pilot.press("enter")
            await red.until(lambda: red.pilot.app.screen is screen)
            assert await names_of(red) == ["main", "laptop"]
            await red.pilot.press("d")
            await red.shows("yes, remove laptop")
            await red.pilot.press("down", "enter")
            await red.shows("laptop is removed")
            assert await names_of(red) == ["main"]


async def test_another_device_is_made_the_primary_one(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path / "1", (100, 24)) as red:
        await in_devices(red)
        await add_laptop(red, relay, tmp_path / "2")
        async with device_at(relay, tmp_path / "2", "red"):
            await red.pilot.press("down", "p")
            await red.shows("yes, make laptop primary")
            await red.pilot.press("down", "enter")
            await red.shows("laptop has the account's key now")


async def test_it_fits_a_small_terminal(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path, (40, 15)) as red:
        await in_devices(red)
        await pairing(red)
        await red.pilot.press("pagedown")
        await red.shows("Esc close")
        assert max(map(len, red.lines)) == 40
