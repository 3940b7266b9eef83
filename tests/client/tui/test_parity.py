"""Line mode and the full screen serve the same commands and events, in the same words."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clave_client import events
from clave_client.client import Client
from clave_client.events import Event, Person
from clave_client.rpc.session import Session
from clave_client.store.profile import Profile
from clave_client.testing import MemoryRelay
from clave_client.ui.chat_commands import COMMANDS, run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from client.tui.screenkit import Screen, client_maker, in_a_room, screen_of

BLUE = Person("blue", b"b" * 32, "desk", b"e" * 32, verified=True)

USES = {
    "new": "/new attic",
    "invite": "/invite blue",
    "links": "/links",
    "revoke": "/revoke all",
    "join": "/join nonsense",
    "accept": "/accept friends",
    "decline": "/decline friends",
    "room": "/room friends",
    "who": "/who",
    "members": "/members",
    "info": "/info",
    "fingerprint": "/fingerprint blue",
    "verify": "/verify blue",
    "trust": "/trust blue",
    "title": "/title friends",
    "remove": "/remove nobody",
    "history": "/history 5",
    "role": "/role blue member",
    "policy": "/policy",
    "topic": "/topic cake",
    "pin": "/pin",
    "unpin": "/unpin",
    "ban": "/ban",
    "unban": "/unban nobody",
    "reply": "/reply an answer",
    "edit": "/edit another text",
    "delete": "/delete here",
    "react": "/react :tada:",
    "unreact": "/unreact",
    "timed": "/timed 1h soon gone",
    "show": "/show",
    "numbers": "/numbers",
    "search": "/search hello",
    "more": "/more",
    "jump": "/jump 1",
    "dm": "/dm red",
    "disappear": "/disappear",
    "receipts": "/receipts off",
    "block": "/block",
    "unblock": "/unblock nobody",
    "archive": "/archive attic",
    "audit": "/audit",
    "receipt": "/receipt",
    "devices": "/devices",
    "device": "/device no",
    "mute": "/mute attic",
    "leave": "/leave",
    "help": "/help",
    "exit": "exit",
}
"""One use of each command; some are refused, which both have to say in the same words."""

SILENT = {events.StatusChanged, events.MessagesExpired, events.OutboxChanged, events.PresenceChanged}
"""Events of which line mode says nothing at once."""

AT_THE_MESSAGE = {events.MessageEdited, events.MessageDeleted, events.ReactionChanged}
"""Events that the screen shows where the message is."""


class Windows:
    """Two windows on red's profile: the screen, and line mode."""

    def __init__(self, screen: Screen, talk: Conversation, lines: list[str], room: bytes) -> None:
        self.screen, self.talk, self.lines, self.room = screen, talk, lines, room

    async def screen_lines(self, settled: str) -> list[str]:
        """Return what stands in the list of messages, once `settled` does."""
        await self.screen.until(lambda: any(settled in line for line in self.shown()))
        return self.shown()

    def shown(self) -> list[str]:
        return [plain(line).strip() for line in self.screen.main.messages.rows.lines()]


@asynccontextmanager
async def windows(relay: MemoryRelay, home: Path, blue: Client) -> AsyncIterator[Windows]:
    async with screen_of(relay, home, (200, 60)) as screen:
        room = await in_a_room(screen, blue)
        await screen.types("hello")
        await screen.shows("  hello")
        async with Session(Profile(home, "red"), client_maker(relay)) as session:
            lines: list[str] = []
            talk = Conversation(session, lambda line: lines.append(plain(line)), interactive=True)
            await talk.begin("friends")
            yield Windows(screen, talk, lines, room)


def test_every_command_is_used() -> None:
    assert set(USES) == set(COMMANDS)


async def test_each_command_says_the_same_in_both(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, windows(relay, tmp_path, blue) as both:
        for name, use in USES.items():
            if name != "exit":
                await _say_in_both(both, name, use)
        await run_input(both.talk, USES["exit"])
        assert both.talk.finished
        await both.screen.types(USES["exit"])
        await both.screen.until(lambda: not both.screen.pilot.app.is_running)


async def _say_in_both(both: Windows, name: str, use: str) -> None:
    before = len(both.lines)
    accepted = await run_input(both.talk, use)
    said = both.lines[before:]
    await both.screen.types(use)
    notes = [line.strip() for line in said if line.startswith(("* ", "  /"))]
    if name == "jump":  # the screen goes to the message, which is chosen then
        await both.screen.until(lambda: bool(both.screen.main.messages.chosen))
        await both.screen.pilot.press("escape")
    elif notes:
        shown = await both.screen_lines(notes[-1])
        assert set(notes) <= set(shown), name
    if not accepted:
        await both.screen.until(lambda: both.screen.main.composer.text == use)
        both.screen.main.composer.write("")
    for _ in range(2):  # in both windows what is done next is done in the same room
        await run_input(both.talk, "/room friends")
        await both.screen.types("/room friends")
        await both.screen.until(lambda: both.screen.main.talk.room == both.talk.room)
    await both.screen.types(f"said after {name}")
    await both.screen_lines(f"said after {name}")


def _sample(kind: Any, name: str, stored: Any) -> Any:
    """Return a value for a field of an event; `stored` is a message that there is."""
    if name in ("room", "id", "seq"):
        return {"room": stored.room, "id": stored.id, "seq": stored.seq}[name]
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _sample(typing.get_args(kind)[0], name, stored)
    if origin is tuple:
        return (_sample(typing.get_args(kind)[0], "", stored),)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    return {bytes: b"x" * 32, str: "words", bool: True, int: 1, float: 1_000_000.0, Person: BLUE}[kind]


def _made(kind: type[Event], stored: Any) -> Event:
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            field.name: _sample(hints[field.name], field.name, stored)
            for field in dataclasses.fields(kind)
            if field.init
        }
    )


KINDS = sorted(
    (
        kind
        for name in events.__all__
        if isinstance(kind := getattr(events, name), type) and issubclass(kind, Event) and kind is not Event
    ),
    key=lambda kind: kind.__name__,
)


async def test_each_event_says_the_same_in_both(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, windows(relay, tmp_path, blue) as both:
        for kind in KINDS:
            await _happens_in_both(both, blue, kind)


async def _happens_in_both(both: Windows, blue: Client, kind: type[Event]) -> None:
    talk, words = both.screen.main.talk, f"before {kind.__name__}"
    room = both.room
    await run_input(both.talk, "/room friends")
    await both.screen.types("/room friends")
    await both.screen.until(lambda: talk.room == room == both.talk.room)
    await blue.room(room).send(words)
    await both.screen.shows(f"  {words}")
    line = next(each for each in blue.history(room) if each.text == words)
    seq = line.seq + (1 if kind is events.Message else 0)
    event = _made(kind, types.SimpleNamespace(room=room, id=line.id, seq=seq))
    before = len(both.lines)
    await both.talk.show_event(event)
    said = [line.strip() for line in both.lines[before:] if line.strip()]
    await talk.show_event(event)
    if not said:
        assert kind in SILENT
    elif kind in (events.Message, events.Sent):
        assert said[-1].endswith(words)
        shown = await both.screen_lines(words)  # which the screen has already, and shows once
        assert sum(words in each for each in shown) == 1
    elif kind not in AT_THE_MESSAGE:
        shown = await both.screen_lines(said[-1])
        assert set(said) <= set(shown), kind.__name__


async def test_what_happens_to_a_message_is_shown_at_it(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await blue.room(room).send("at five")
        await red.types("when?")
        await red.shows("  when?  received")
        await red.until(lambda: len(blue.history(room)) == 2)
        own = blue.history(room)[0].id
        blue.edit(room, own, "at six")
        await red.shows("  at six (edited)")
        blue.react(room, blue.history(room)[1].id, "\U0001f389")
        await red.shows("\U0001f389 1")
        await blue.wait_flushed()
        blue.delete(room, own)
        await red.shows("deleted this message")
