"""A window on a terminal in which somebody hostile speaks: `python hostile_window.py FOLDER SEED`.

Relay and people are in this process, the terminal is real. All that a peer can say goes through the library
of the receiver; what a sender's library would refuse is written past it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clave_client.client import Client
from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store.profile import Profile
from clave_client.testing import MemoryRelay
from clave_client.tui.app import ClaveApp
from clave_client.tui.screens.main import MainScreen

END: Final = "that is all of it"
"""What is said last."""

PIECES: Final = (
    *("\x1b]52;c;aGFja2Vk\x07", "\x1b[2J", "\x1b[31mred", "\x1bc", "\x1b]0;title\x07", "\x1b[?1049l"),
    *("\x1b[6n", "\x9b2J", "\x9d52;c;eA==\x9c", "\x90q\x9c", "\x07", "\x08\x08\x08", "\r", "\x0b\x0c"),
    *("\x7f", "\x00", "\u202eevil\u202c", "\u2066x\u2069", "\u200f", "\ufeff", "\u2028", "\u2029"),
    *("\U000e0041", "\ue000", "[bold]", "[/]", "[@click=app.quit]x[/]", "[link=https://x]y[/link]", "\\["),
    *("[", "$text", "&amp;", "# h\n", "```\ncode\n```", "```", "> q\n", "| a | b |\n|---|---|\n", "[a](b)"),
    *("![x](y)", "[" * 40, "*" * 40, "<script>", "\U0001f468\u200d\U0001f469", "e\u0301" * 3),
    *("z" + "\u0300" * 50, "\u4e2d\u6587", "\u05d0\u05d1 \u0627\u0644", "\t", "\n\n\n", "x" * 300, "@red"),
    *("https://example.org/" + "a" * 200, "--- new ---"),
)
"""What could steer a terminal, be taken for markup, or break a line where it must not."""


def hostile(source: random.Random) -> str:
    """Return a text of a few pieces."""
    return "".join(source.choice(PIECES) for _ in range(source.randint(1, 6))) or "x"


async def _speak(relay: MemoryRelay, blue: Client, red: Session, source: random.Random) -> None:
    room = (await blue.create_room("friends")).id
    await blue.invite(room, "red")
    while not await red.ask(m.ListRooms()):  # noqa: ASYNC110 (no event says it to this session)
        await asyncio.sleep(0.01)
    await red.ask(m.Accept(room=room.hex()))
    for _ in range(25):
        with _refused():
            await blue.room(room).send(hostile(source))
        with _refused():
            await red.ask(m.Post(room=room.hex(), text=hostile(source)))
        own = [line.id for line in blue.history(room) if line.text]
        with _refused():
            blue.react(room, source.choice(own), hostile(source)[:8])
        with _refused():
            await blue.room(room).send("answer", reply_to=source.choice(own))
        with _refused():
            await blue.set_title(room, hostile(source)[:40])
        with _refused():
            await blue.set_topic(room, hostile(source)[:40])
    await blue.wait_flushed()
    await blue.room(room).send(END)
    del relay


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Go on when the sender's own library refuses something."""
    with contextlib.suppress(ClientError, IndexError, ValueError):
        yield


async def _run(folder: Path, seed: int) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:

        def client(profile: Profile) -> Client:
            return Client(profile, relay.address, clock=relay.clock, connect=relay.connect)

        async with Session(Profile(folder, "red"), client) as session:
            app = ClaveApp(session, None, rings=False)
            running = asyncio.create_task(app.run_async())
            await _speak(relay, blue, session, random.Random(seed))  # noqa: S311 (no secret)
            room = next(iter(blue.rooms))
            while not isinstance(app.screen, MainScreen):  # noqa: ASYNC110 (an app has no event for it)
                await asyncio.sleep(0.01)
            app.screen.choose_room(room)
            await running
            if app.failure is not None:
                raise app.failure


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2])))
