"""The demo: a real relay process and three clients; prints the chat beside what the relay sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from clave_client import events
from clave_client.client import Client
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.events import Event
from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.store.profile import Profile
from clave_client.sync.event_stream import EventStream
from clave_client.ui.input_lines import read_byte_lines

__all__ = ["run_demo"]

_TIMEOUT_SECONDS = 30.0
_CHAT_WIDTH = 36

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class _Person:
    """One of the three people: a client, and the stream of what it has not read yet."""

    client: Client
    events: EventStream[Event]


class _Screen:
    """Prints two columns: the chat, and what the relay shows its operator."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()
        self.pace = 0.7 if self._on_terminal else 0.0
        self.mirrored = asyncio.Event()

    def chat(self, name: str, text: str) -> None:
        self._row(f"{name:>6}  {text}", "")

    def mirror(self, line: str) -> None:
        self._row("", line)
        self.mirrored.set()

    def _row(self, left: str, right: str) -> None:
        row = f"{left:<{_CHAT_WIDTH}} | {right}".rstrip()
        if self._on_terminal:
            row = row[: shutil.get_terminal_size().columns]
        print(row, flush=True)  # noqa: T201 (printing is its purpose)


async def run_demo() -> None:
    """Run the scripted conversation; on a terminal, let the user type afterwards."""
    screen = _Screen()
    screen.chat("", "what people say")
    with tempfile.TemporaryDirectory(prefix="clave-demo-") as folder:
        async with AsyncExitStack() as stack:
            address = await stack.enter_async_context(_relay(Path(folder) / "relay", screen))
            people = {}
            for name in ("red", "blue", "green"):
                profile = stack.enter_context(Profile(Path(folder) / "people", name))
                client = await stack.enter_async_context(Client(profile, address))
                people[name] = _Person(client, client.events())
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                room = await _converse(people, screen)
            if sys.stdin.isatty() and sys.stdout.isatty():
                await _type_along(people, room, screen)


async def _converse(people: dict[str, _Person], screen: _Screen) -> bytes:
    red = people["red"]
    await _print_line(screen, "red", "/new friends")
    room = (await red.client.create_room("friends")).id
    for name in ("blue", "green"):
        await _print_line(screen, "red", f"/invite {name}")
        await red.client.invite(room, name)
        await _next(people[name], events.Invited)
        await _print_line(screen, name, "/accept friends")
        await people[name].client.accept(room)
        await _next(red, events.InvitationAccepted)
    for name, text in (
        ("red", "hello, both of you"),
        ("blue", "hi! can the relay read this?"),
        ("green", "it sees what stands right"),
    ):
        await _send(people, room, name, text, screen)
    await _print_line(screen, "blue", "/leave")
    await people["blue"].client.leave(room)
    await _next(red, events.MemberLeft)
    await _send({"red": red, "green": people["green"]}, room, "green", "blue cannot read this one", screen)
    return room


async def _send(people: dict[str, _Person], room: bytes, name: str, text: str, screen: _Screen) -> None:
    """Send `text` as `name`, and check that everyone else reads just that."""
    await _print_line(screen, name, text)
    await people[name].client.send(room, text)
    for other, person in people.items():
        if other != name and (await _next(person, events.Message)).text != text:
            raise ClientError(f"{other} read something else than {name} wrote")


async def _print_line(screen: _Screen, name: str, text: str) -> None:
    """Print a line of the chat, after waiting up to 1 s for the relay's output on the line before."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await screen.mirrored.wait()
    await asyncio.sleep(screen.pace)
    screen.mirrored.clear()
    screen.chat(name, text)


async def _next(person: _Person, kind: type[E]) -> E:
    """Return the person's next event of `kind`."""
    async for event in person.events:
        if isinstance(event, kind):
            return event
    raise AssertionError("a client's events end only with an error")


async def _type_along(people: dict[str, _Person], room: bytes, screen: _Screen) -> None:
    screen.chat("", "you are red now; exit ends")
    async for line in read_byte_lines(sys.stdin.fileno(), MAX_BODY_BYTES):
        text = (line or b"").decode(errors="replace")
        if text.strip() == "exit":
            return
        if text.strip():
            await people["red"].client.send(room, text)
            heard = await _next(people["green"], events.Message)
            screen.chat("green", f"reads: {heard.text}")


@asynccontextmanager
async def _relay(data: Path, screen: _Screen) -> AsyncIterator[str]:
    """Run a relay process on a free port of this machine; yield its address."""
    command = ("-m", "clave_server", "--listen", "127.0.0.1:0", "--data", str(data), "--mirror", "short")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}
    )
    output = cast(asyncio.StreamReader, process.stdout)
    mirroring = None
    try:
        address = await _address(output)
        mirroring = asyncio.create_task(_mirror(output, screen))
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if mirroring is not None:
            await mirroring


async def _address(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        async for line in output:
            words = line.decode(errors="replace").split()
            if words[:2] == ["listening", "on"]:
                return words[2]
    raise RelayUnreachable("the demo's relay did not start; what it said is above")


async def _mirror(output: asyncio.StreamReader, screen: _Screen) -> None:
    async for line in output:
        screen.mirror(line.decode(errors="replace").rstrip())
