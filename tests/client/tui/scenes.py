"""Scenes: an app brought to a state, with the same time and the same keys in every run.

Snapshot tests and the pictures in the documentation show the same scenes. To add one, write a function below
that opens an app and yields its pilot:

    @scene
    async def settings(home: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
        async with a_room(home, size) as red:
            await red.pilot.press("alt+o")
            yield red.pilot
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from clave_client import events
from clave_client.client import Client
from clave_client.events import Person
from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.demo import DemoApp
from clave_client.tui.first_run import Answers, FirstRun
from clave_client.tui.themes import THEMES as _THEMES
from clave_client.values import Fingerprint, RelayView, RoomInfo, RoutedDevice
from client.tui.screenkit import Screen, in_a_room, screen_of
from client.tui.snapshots import snapshot_of
from simulation.randomness import seeded

__all__ = ["NOW", "SCENES", "SIZES", "THEMES", "Scene", "a_room", "room_scene", "scene", "wear"]

Scene = Callable[[Path, tuple[int, int]], AbstractAsyncContextManager[Pilot[Any]]]
"""Opens an app in a home for profiles, at a size in columns and rows."""

SIZES: Final = ((40, 15), (80, 24), (160, 50))
THEMES: Final = tuple(theme.name for theme in _THEMES)

_OWN_MESSAGES: Final = 2
"""What red says in the room."""

NOW: Final = 1_796_000_000.0
"""The time of all scenes, in seconds since 1970."""

SCENES: Final[dict[str, Scene]] = {}
"""All scenes by name."""


def scene(opens: Callable[[Path, tuple[int, int]], AsyncIterator[Pilot[Any]]]) -> Scene:
    """Make a scene, named as the function."""
    opened = asynccontextmanager(opens)

    @asynccontextmanager
    async def opened_alike(home: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
        with _utc(), seeded(opens.__name__):
            async with opened(home, size) as pilot:
                yield pilot

    SCENES[opens.__name__.replace("_", "-")] = opened_alike
    return opened_alike


async def wear(pilot: Pilot[Any], theme: str) -> None:
    """Put on a theme, and wait until the screen stays as it is; no cursor blinks from then on."""
    for each in _THEMES:
        pilot.app.register_theme(each)
    pilot.app.theme = theme
    pilot.app.refresh_css(animate=False)  # now, and not at some time
    await pilot.pause()
    fields = [each for each in pilot.app.screen.query("*") if isinstance(each, Input | TextArea)]
    for field in fields:
        field.cursor_blink = False
        if isinstance(field, TextArea):
            field.show_cursor = False
    before = ""
    while (now := snapshot_of(pilot.app)) != before:
        before = now
        for field in fields:
            field._pause_blink(visible=True)
        await pilot.pause(0.05)


@contextmanager
def _utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@asynccontextmanager
async def a_room(home: Path, size: tuple[int, int]) -> AsyncIterator[Screen]:
    """Open red's window on a room with blue: messages, a quote, a reaction; two more rooms have news."""
    async with (
        MemoryRelay(clock=lambda: NOW) as relay,
        relay.client("blue") as blue,
        screen_of(relay, home, size) as red,
    ):
        room = await in_a_room(red, blue)
        for title, count in (("work", 3), ("chess club", 1)):
            await _have_news(red, blue, title, count)
        await red.types("/room friends")
        await red.until(lambda: red.main.talk.room == room)
        await red.types("shall we meet on Sunday?")
        await blue.sync.wait_for(lambda: bool(blue.history(room)))
        asked = blue.find_message(room, "", own=False)
        blue.react(room, asked.id, "\N{THUMBS UP SIGN}")
        await blue.send(room, "*yes*, at the lake", reply_to=asked.id)
        await blue.send(room, "I bring `cake` for @red: https://cake.example/recipe?with=plums")
        await red.shows("plums")
        await red.types("and I tea")
        await red.shows("and I tea")
        await red.until(lambda: _is_all_received(red))
        red.main.checklist.is_wanted = red.main.checklist.display = False
        yield red


@asynccontextmanager
async def room_scene(home: Path, size: tuple[int, int]) -> AsyncIterator[Screen]:
    """Open the window that `views` are of, alike in every run."""
    with _utc(), seeded("room"):
        async with a_room(home, size) as red:
            session = red.main.talk.session
            ask = session.ask

            async def ask_alike(method: m.Method[Any]) -> Any:
                return _alike(await ask(method))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(session, "ask", ask_alike)
                yield red


def _alike(answer: Any) -> Any:
    """Return an answer of the owner with what no seed makes the same in every run."""
    match answer:
        case RoomInfo():
            return replace(answer, id=_ROOM, code=_CODE)
        case Fingerprint():
            return replace(
                answer, fingerprint=" ".join(["myo2 wo34"] * 4), safety_number=" ".join(["48020"] * 12)
            )
        case RelayView():
            return replace(answer, room=_ROOM, account=bytes(32), device=bytes(32), head=bytes(32))
        case _:
            return answer


def _is_all_received(red: Screen) -> bool:
    """Return whether the others are known to have received all that red has said."""
    rows = red.main.messages.rows
    own = [each for each in rows.messages() if each.own]
    return len(own) == _OWN_MESSAGES and all(each.delivered for each in own)


async def _have_news(red: Screen, blue: Client, title: str, count: int) -> None:
    """Have blue invite red to a room, and say something there while red is in another one."""
    talk = red.main.talk
    room = await blue.create_room(title)
    await room.invite("red")
    await red.until(lambda: room.id in talk.rooms)
    await red.types(f"/accept {title}")
    await red.until(lambda: talk.room == room.id)
    await red.types("/room friends")
    await red.until(lambda: talk.room != room.id)
    for number in range(count):
        await room.send(f"news {number + 1}")
    await red.until(lambda: talk.rooms[room.id].unread == count)


@scene
async def first_run(home: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    del home
    async with FirstRun((), Answers(), "").run_test(size=size) as pilot:
        yield pilot


@scene
async def first_steps(home: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    async with MemoryRelay(clock=lambda: NOW) as relay, screen_of(relay, home, size) as red:
        await red.types("/new friends")
        await red.shows("friends is open")
        await red.shows("[ ] bring somebody in")
        yield red.pilot


_ROOM: Final = bytes(range(16))
_CODE: Final = (
    *("milk", "cheese", "wide", "devote", "august", "liar"),
    *("strike", "chimney", "around", "nephew", "science", "unlock"),
)
_RED, _GREEN = (
    Person(name, bytes([number]) * 32, "main", bytes([number]) * 32, verified=False)
    for number, name in enumerate(("red", "green"), start=1)
)


@scene
async def demo(home: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    app = DemoApp(clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        app.wrote("red", "/new friends")
        app.read("blue", events.Invited(_ROOM, "friends", _RED, ("red",)), b"")
        app.wrote("blue", "/accept friends")
        app.wrote("red", "hello, both of you")
        for name in ("blue", "green"):
            app.read(name, events.Message(_ROOM, 5, _RED, b"id", "hello, both of you", NOW), b"")
        app.wrote("green", "it sees what stands right")
        app.read("red", events.Message(_ROOM, 6, _GREEN, b"id", "it sees what stands right", NOW), b"")
        for row in (
            "red  127.0.0.1:40000  room 00010203  seq 5  application  458 B  ..32b1560382883187",
            "green  127.0.0.1:40002  room 00010203  seq 6  application  458 B  ..03c532402d793aa2",
        ):
            app.mirrored(f"2026-11-29 12:26:40  {row}")
        app.show_receipt(_RECEIPT)
        yield pilot


_RECEIPT: Final = RelayView(
    room=_ROOM,
    number=6,
    own=True,
    name="green",
    account=_GREEN.account,
    device=_GREEN.device,
    device_name="main",
    way="direct",
    accepted_at=NOW,
    entry_bytes=458,
    ciphertext_bytes=379,
    padded_bytes=256,
    head=bytes(32),
    seen=None,
    count=None,
    devices=[RoutedDevice("red", "main", _RED.device, online=True)],
    devices_then=True,
    characters=25,
    reply_to=0,
    reactions=0,
    edits=0,
    disappears=False,
    title="friends",
    role="member",
)
