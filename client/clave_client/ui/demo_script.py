"""The demo's play: a real relay process, three clients, and what they say. Shows nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol, TypeVar, cast

from clave_client import events
from clave_client.client import Client
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.events import Event
from clave_client.store.profile import Profile
from clave_client.sync.event_stream import EventStream
from clave_client.values import RelayView

__all__ = ["PEOPLE", "TITLE", "Play", "Stage", "played"]

PEOPLE: Final = ("red", "blue", "green")
TITLE: Final = "friends"
"""What the room is called."""

_TIMEOUT_SECONDS: Final = 30.0
_MIRROR_SECONDS: Final = 1.0
"""How long a line waits for the relay's row about the line before it."""

E = TypeVar("E", bound=Event)


class Stage(Protocol):
    """Where the play is shown. `pace` is how many seconds to wait before each line."""

    pace: float

    def wrote(self, name: str, text: str) -> None:
        """Show a message or a command that `name` sends now."""

    def mirrored(self, row: str) -> None:
        """Show a row of the relay's mirror."""


@dataclass(frozen=True)
class _Person:
    """One of the three: a client, and the stream of what the play has not read yet."""

    client: Client
    events: EventStream[Event]


class Play:
    """The people at the relay. Get one by `played`."""

    def __init__(self, stage: Stage, mirrored: asyncio.Event) -> None:
        self._stage = stage
        self._mirrored = mirrored
        self._people: dict[str, _Person] = {}
        self._present: list[str] = []
        self._room = b""

    def come(self, name: str, client: Client) -> None:
        """Take part with a client that is connected."""
        self._people[name] = _Person(client, client.events())
        self._present.append(name)

    async def converse(self) -> None:
        """Do all that stands in the script. Raises `ClientError`, or `TimeoutError` if it takes too long."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await self._meet()
            for name, text in (
                ("red", "hello, both of you"),
                ("blue", "hi! can the relay read this?"),
                ("green", "it sees what stands right"),
            ):
                await self.say(name, text)
            await self._write("blue", "/leave")
            self._present.remove("blue")
            await self._people["blue"].client.leave(self._room)
            await self._next("red", events.MemberLeft)
            await self.say("green", "blue cannot read this one")

    async def say(self, name: str, text: str) -> None:
        """Have the stage show a message, send it, and check that everyone else reads just that."""
        await self._write(name, text)
        if set(await self.send(name, text)) != {text}:
            raise ClientError(f"somebody read something else than {name} wrote")

    async def send(self, name: str, text: str) -> list[str]:
        """Send `text` as `name`; return what each of the others in the room reads."""
        await self._people[name].client.send(self._room, text)
        return [(await self._next(other, events.Message)).text for other in self._present if other != name]

    def receipt(self, name: str) -> RelayView:
        """Return what the relay could learn of the last message that `name` sent."""
        return self._people[name].client.relay_view(self._room)

    def client(self, name: str) -> Client:
        """Return the client of `name`."""
        return self._people[name].client

    async def _meet(self) -> None:
        red = self._people["red"].client
        await self._write("red", f"/new {TITLE}")
        self._room = (await red.create_room(TITLE)).id
        for name in ("blue", "green"):
            await self._write("red", f"/invite {name}")
            await red.invite(self._room, name)
            await self._next(name, events.Invited)
            await self._write(name, f"/accept {TITLE}")
            await self._people[name].client.accept(self._room)
            await self._next("red", events.InvitationAccepted)

    async def _write(self, name: str, text: str) -> None:
        """Have the stage show a line, after waiting for the relay's row about the line before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MIRROR_SECONDS):
                await self._mirrored.wait()
        await asyncio.sleep(self._stage.pace)
        self._mirrored.clear()
        self._stage.wrote(name, text)

    async def _next(self, name: str, kind: type[E]) -> E:
        """Return the next event of `kind` that `name` reads."""
        async for event in self._people[name].events:
            if isinstance(event, kind):
                return event
        raise AssertionError("a client's events end only with an error")


@asynccontextmanager
async def played(stage: Stage, *, quiet: bool = False) -> AsyncIterator[Play]:
    """Run a relay and connect the three people to it, until the context ends.

    With `quiet`, what the relay's process writes to standard error is kept from the terminal. Raises
    `ClientError`.
    """
    mirrored = asyncio.Event()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clave-demo-")))
        errors = stack.enter_context((folder / "errors").open("wb")) if quiet else None
        address = await stack.enter_async_context(_relay(folder / "relay", stage, mirrored, errors))
        play = Play(stage, mirrored)
        for name in PEOPLE:
            profile = stack.enter_context(Profile(folder / "people", name))
            play.come(name, await stack.enter_async_context(Client(profile, address)))
        yield play


@asynccontextmanager
async def _relay(
    data: Path, stage: Stage, mirrored: asyncio.Event, errors: IO[bytes] | None
) -> AsyncIterator[str]:
    """Run a relay process on a free port of this machine; yield its address."""
    command = ("-m", "clave_server", "--listen", "127.0.0.1:0", "--data", str(data), "--mirror", "short")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "NO_COLOR": "1"},
    )
    output = cast(asyncio.StreamReader, process.stdout)
    mirroring = None
    try:
        address = await _address(output, None if errors is None else Path(errors.name))
        mirroring = asyncio.create_task(_mirror(output, stage, mirrored))
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if mirroring is not None:
            await mirroring


async def _address(output: asyncio.StreamReader, errors: Path | None) -> str:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        async for line in output:
            words = line.decode(errors="replace").split()
            if words[:2] == ["listening", "on"]:
                return words[2]
    said = "what it said is above" if errors is None else _last_line(errors)
    raise RelayUnreachable(f"the demo's relay did not start; {said}")


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


async def _mirror(output: asyncio.StreamReader, stage: Stage, mirrored: asyncio.Event) -> None:
    async for line in output:
        stage.mirrored(line.decode(errors="replace").rstrip())
        mirrored.set()
