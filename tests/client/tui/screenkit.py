"""Red's window in a real app without a terminal, and what tests of the screens do with it. Knows no story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.events import Key
from textual.pilot import Pilot

from clave_client.client import Client
from clave_client.rpc.session import Session
from clave_client.store.profile import Profile
from clave_client.testing import MemoryRelay
from clave_client.tui.app import ClaveApp
from clave_client.tui.screens.main import MainScreen

SECONDS = 10.0


class Screen:
    """One window of red's, as somebody sees and uses it."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self.pilot = pilot

    @property
    def main(self) -> MainScreen:
        return next(each for each in self.pilot.app.screen_stack if isinstance(each, MainScreen))

    @property
    def lines(self) -> list[str]:
        """What stands on the screen that is in front."""
        strips = self.pilot.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                while not condition():
                    await self.pilot.pause(0.01)
        except TimeoutError:
            raise AssertionError(f"it did not come to that; the screen is\n{self.text}") from None

    async def shows(self, words: str) -> None:
        await self.until(lambda: words in self.text)

    async def opens(self, title: str) -> None:
        """Open a new room."""
        await self.types(f"/new {title}")
        await self.shows(f"{title} is open")

    async def types(self, text: str) -> None:
        self.main.composer.text = text
        await self.pilot.press("enter")

    @property
    def is_holding(self) -> bool:
        """Whether keys wait for a screen that is being opened."""
        app = self.pilot.app
        return isinstance(app, ClaveApp) and app.is_holding

    def type_ahead(self, *keys: str) -> None:
        """Give keys to the app all at once, before it has done anything about the first."""
        driver = self.pilot.app._driver
        assert driver is not None
        for key in keys:
            character = key if len(key) == 1 else "\r" if key == "enter" else None
            driver.process_message(Key(key, character))


def client_maker(relay: MemoryRelay) -> Callable[[Profile], Client]:
    """Return what makes the client of a profile at a relay."""
    return lambda profile: Client(profile, relay.address, clock=relay.clock, connect=relay.connect)


@asynccontextmanager
async def screen_of(
    relay: MemoryRelay, home: Path, size: tuple[int, int] = (90, 24), room: str | None = None
) -> AsyncIterator[Screen]:
    """Open a window on red's profile."""
    async with Session(Profile(home, "red"), client_maker(relay)) as session:
        app = ClaveApp(session, room)
        async with app.run_test(size=size) as pilot:
            screen = Screen(pilot)
            await screen.until(lambda: isinstance(app.screen, MainScreen))
            yield screen


async def in_a_room(screen: Screen, blue: Client, *texts: str) -> bytes:
    """Have red open a room and blue come into it and say `texts`, until red sees the last; return its id."""
    await screen.opens("friends")
    await screen.types("/invite blue")
    await screen.until(lambda: bool(blue.invitations()))
    room = blue.invitations()[0].id
    await blue.accept(room)
    await screen.shows("blue (unverified) joined")
    for text in texts:
        await blue.room(room).send(text)
    if texts:
        await screen.shows(texts[-1])
    return room
