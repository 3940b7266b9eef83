"""The screen that searches: what is found as one types, what was said around it, and where Enter goes."""

from __future__ import annotations

from pathlib import Path

from clave_client.client import Client
from clave_client.rpc.values import FoundMessage
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.search import SearchScreen
from client.tui.screenkit import Screen, in_a_room, screen_of


async def searching(red: Screen, words: str = "") -> list[FoundMessage | None]:
    """Open the screen and type; return the list that what it was closed with is added to."""
    closed: list[FoundMessage | None] = []
    red.pilot.app.push_screen(SearchScreen(red.main.talk), closed.append)
    await red.shows("type what to find in all rooms")
    await red.pilot.press(*words)
    return closed


def around(red: Screen) -> str:
    """Return what stands below the line under what was found."""
    return red.text.rpartition("─────── ")[2]


async def said(red: Screen, blue: Client, room: bytes, *texts: str) -> None:
    for text in texts:
        await blue.room(room).send(text)
    await red.shows(texts[-1])


async def test_what_is_found_is_shown_as_one_types_and_enter_goes_there(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        texts = (
            "lunch at one",
            "before",
            "the [red]boat[/red] leaves",
            "after",
            "another boat",
            "end",
            "much later",
        )
        await said(red, blue, room, *texts)
        closed = await searching(red, "boat")
        await red.shows("2 found in all rooms, newest first")
        hits = [line for line in red.lines if "blue (unverified)  friends, " in line]
        assert len(hits) == 2
        assert red.text.index("another boat") < red.text.index("the [red]boat[/red] leaves")
        await red.until(lambda: "end" in around(red))
        await red.pilot.press("down")
        await red.until(lambda: "> " in around(red) and "before" in around(red))
        assert around(red).index("before") < around(red).index("> ") < around(red).index("after")
        await red.pilot.press("enter")
        await red.until(lambda: bool(closed))
        assert closed[0] is not None
        assert (closed[0].room, closed[0].message.text) == (room, "the [red]boat[/red] leaves")


async def test_that_nothing_was_found_is_said_and_escape_closes(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await said(red, blue, room, "hello")
        closed = await searching(red, "boat")
        await red.shows("nothing was found in all rooms")
        await red.pilot.press("enter")
        assert not closed
        await red.pilot.press("escape")
        await red.until(lambda: closed == [None])


async def test_this_room_only_and_all_rooms(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await said(red, blue, room, "a boat of friends")
        await red.opens("attic")
        await red.types("a boat of the attic")
        await red.shows("  a boat of the attic")
        await searching(red, "boat")
        await red.shows("2 found in all rooms")
        await red.pilot.press("ctrl+r")
        await red.shows("1 found in attic")
        assert "a boat of friends" not in red.text
        await red.pilot.press("ctrl+r")
        await red.shows("2 found in all rooms")


async def test_older_ones_are_found_page_by_page(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        for number in range(45):
            blue.post(room, f"boat {number}.")
        await blue.wait_flushed()
        await red.shows("boat 44.")
        await searching(red, "boat")
        await red.shows("20 found in all rooms, newest first, and there are older ones")
        await red.pilot.press("ctrl+o")
        await red.shows("40 found")
        await red.pilot.press("ctrl+o")
        await red.shows("45 found in all rooms, newest first ")
        await red.pilot.press("ctrl+o")
        await red.pilot.pause()
        assert "45 found" in red.text


async def test_enter_goes_to_what_these_words_find_also_when_it_comes_early(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await said(red, blue, room, "boat one", "boats two")
        closed = await searching(red, "one")
        await red.shows("1 found")
        screen = red.pilot.app.screen
        assert isinstance(screen, SearchScreen)
        screen._input.value = "two"
        await red.pilot.press("enter")
        await red.until(lambda: bool(closed))
        assert closed[0] is not None
        assert closed[0].message.text == "boats two"


async def test_it_fits_small_and_large_terminals(tmp_path: Path) -> None:
    small = (40, 15)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, small) as red:
        room = await in_a_room(red, blue)
        await said(red, blue, room, "first", "the boat leaves", "last")
        await searching(red, "boat")
        await red.shows("1 found in all rooms")
        await red.until(lambda: "> " in red.text and "first" in red.text)
        assert max(map(len, red.lines)) == 40
        assert "Esc close" in red.text
        await red.pilot.resize_terminal(300, 80)
        await red.until(lambda: "first" in red.text and "last" in red.text)
        assert len(red.lines) == 80
