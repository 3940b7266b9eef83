"""Views of red's window, one after the other: what a person looks at on the full screen. See `scenes`.

Each brings an open window to what is to be seen; `leave` brings it back. They are in the order in which they
are visited, as some change what the next ones show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from client.tui.screenkit import Screen
from simulation.randomness import seeded

__all__ = ["VIEWS", "View", "leave"]

View = Callable[[Screen], Awaitable[None]]

VIEWS: Final[dict[str, View]] = {}
"""All views by name, in their order."""


def view(brings: View) -> View:
    """Add a view, named as the function."""
    name = brings.__name__.replace("_", "-")

    async def brings_alike(red: Screen) -> None:
        with seeded(name):
            await brings(red)

    VIEWS[name] = brings_alike
    return brings_alike


async def leave(red: Screen) -> None:
    """Close what is open over the main screen, and choose nothing there."""
    stack = red.pilot.app.screen_stack
    while red.pilot.app.screen is not red.main:
        open_ones = len(stack)
        await red.pilot.press("escape")
        await red.until(lambda before=open_ones: len(red.pilot.app.screen_stack) < before)  # type: ignore[misc]
    if red.main.panel.shows:
        red.main.choose_panel(red.main.panel.shows)
    red.main.rooms.end_find()
    red.main.stop_answering()
    red.main.composer.write("")
    red.main.set_focus(red.main.composer)
    await red.until(lambda: not red.main.messages.chosen)


@view
async def main(red: Screen) -> None:
    await red.shows("and I tea")


@view
async def chosen_message(red: Screen) -> None:
    await red.pilot.press("alt+m", "up")
    await red.until(lambda: bool(red.main.messages.chosen))


@view
async def answer(red: Screen) -> None:
    await red.pilot.press("alt+m", "up", "r", *"with cream?")
    await red.shows("answering blue")
    await red.shows("with cream?")


@view
async def completion(red: Screen) -> None:
    await red.pilot.press(*"/re")
    await red.until(lambda: red.main.completions.display)


@view
async def jump(red: Screen) -> None:
    await red.pilot.press("alt+j")
    await red.until(lambda: red.pilot.app.screen is not red.main)


@view
async def members(red: Screen) -> None:
    await red.pilot.press("alt+p")
    await red.shows("blue member")


@view
async def info(red: Screen) -> None:
    await red.pilot.press("alt+i")
    await red.shows("encryption: ")


@view
async def find_room(red: Screen) -> None:
    await red.pilot.press("ctrl+t", *"ch")
    await red.until(lambda: red.main.rooms.filter.value == "ch")
    await red.shows("chess")


@view
async def palette(red: Screen) -> None:
    await red.pilot.press("ctrl+p", *"mes")
    await red.shows("Alt-m")


@view
async def help_(red: Screen) -> None:
    await red.pilot.press("f1")
    await red.shows("Keys and commands")


@view
async def search(red: Screen) -> None:
    await red.pilot.press("alt+s", *"cake")
    await red.shows("1 found")


@view
async def details(red: Screen) -> None:
    await red.pilot.press("alt+m", "s")
    await red.shows("about this message")


@view
async def receipt(red: Screen) -> None:
    await red.pilot.press("alt+m", "w")
    await red.shows("what the relay could learn")


@view
async def reactions(red: Screen) -> None:
    await red.pilot.press("alt+m", "+")
    await red.shows("react with")


@view
async def people_to_verify(red: Screen) -> None:
    await red.pilot.press("alt+v")
    await red.until(lambda: red.pilot.app.screen is not red.main)
    await red.shows("unverified")


@view
async def verify(red: Screen) -> None:
    await red.pilot.press("alt+v")
    await red.shows("unverified")
    await red.pilot.press("enter")
    await red.shows("afety number")


@view
async def room_code(red: Screen) -> None:
    await red.pilot.press("alt+v")
    await red.shows("unverified")
    await red.pilot.press("up", "enter")
    await red.shows("In the room: blue")


@view
async def invite(red: Screen) -> None:
    await red.pilot.press("alt+n")
    await red.shows("Make a link")


@view
async def links(red: Screen) -> None:
    await red.pilot.press("alt+l")
    await red.shows("no link")


@view
async def devices(red: Screen) -> None:
    await red.pilot.press("alt+d")
    await red.shows("main")


@view
async def settings(red: Screen) -> None:
    await red.pilot.press("alt+o")
    await red.shows("takes an owner")
