"""The screen of links: they are listed, and ended one by one or all, after a question."""

from __future__ import annotations

from pathlib import Path

from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.links import LinksScreen
from client.tui.screenkit import Screen, in_a_room, screen_of


async def in_links(red: Screen, count: int) -> LinksScreen:
    """Make links and open the screen."""
    talk = red.main.talk
    for number in range(count):
        await talk.session.ask(m.MakeLink(room=talk.current(), seconds=3600, uses=number + 1))
    screen = LinksScreen(talk)
    red.pilot.app.push_screen(screen)
    await red.until(lambda: screen._links.option_count == count)
    return screen


async def links_of(red: Screen) -> set[int]:
    """Return how many devices each link lets in."""
    talk = red.main.talk
    return {link.uses for link in await talk.session.ask(m.ListLinks(room=talk.current()))}


async def test_one_link_is_ended_after_a_question(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        screen = await in_links(red, 2)
        await red.shows("by red: 1 device until")
        await red.pilot.press("down", "d")
        await red.shows("no, keep it")
        await red.pilot.press("enter")
        await red.until(lambda: red.pilot.app.screen is screen)
        assert await links_of(red) == {1, 2}
        chosen = str(screen._links.options[1].prompt)
        await red.pilot.press("delete")
        await red.shows("yes, end the link")
        await red.pilot.press("down", "enter")
        await red.shows(": ended")
        await red.until(lambda: screen._links.option_count == 1)
        assert str(screen._links.options[0].prompt) != chosen
        assert await links_of(red) == ({1} if "2 devices" in chosen else {2})


async def test_all_links_are_ended(tmp_path: Path) -> None:
    async with (
        MemoryRelay() as relay,
        relay.client("blue") as blue,
        screen_of(relay, tmp_path, (40, 15)) as red,
    ):
        await in_a_room(red, blue)
        await in_links(red, 3)
        await red.pilot.press("a")
        await red.shows("yes, end all links")
        await red.pilot.press("down", "enter")
        await red.shows("There is no link to join by.")
        assert not await links_of(red)
        assert "end all" not in red.text
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is red.main)
