"""People who talk at windows in this process, and subcommands beside them. Knows no story."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from clave_client.rpc.session import Session
from clave_client.store.folders import SOCKET_NAME
from clave_client.ui.chat_commands import run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from scenarios.stage import TIMEOUT, Relay, Somebody, gather_in, people_at, relay_at
from scenarios.test_bad_input import Ran
from sessionkit import ClientSession, session_on

_EACH = """
import json, os, sys, tempfile
from clave_client.cli import main
lines, results = json.load(sys.stdin), []
own = os.dup(1)
for words in lines:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        status = 0
        try:
            main(words, prog_name="clave")
        except SystemExit as ended:
            status = ended.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        results.append([status, *texts])
os.write(own, json.dumps(results).encode())
"""


async def commands(*lines: str, home: Path, name: str = "red") -> list[Ran]:
    """Run `clave LINE` for each line, one after the other in one process: starting one takes its time."""
    words = [["", *shlex.split(line)] for line in lines]
    given = json.dumps([[*each[1:2], "--name", name, *each[2:]] for each in words])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _EACH),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CLAVE_HOME": str(home)},
    )
    out, err = await asyncio.wait_for(process.communicate(given.encode()), TIMEOUT)
    assert process.returncode == 0, err.decode()
    return [Ran(*each) for each in json.loads(out)]


class Window:
    """Somebody's window, as on pipes; `lines` is what it has shown."""

    def __init__(self, session: Session) -> None:
        self.lines: list[str] = []
        self.talk = Conversation(session, lambda line: self._add(plain(line)))
        self._news = asyncio.Event()
        self._taken = 0

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def says(self, text: str) -> list[str]:
        """Type a line; return what is shown until it is done."""
        before = len(self.lines)
        await run_input(self.talk, text)
        return self.lines[before:]

    async def refuses(self, text: str) -> str:
        """Type a line that is answered by one line, which is returned."""
        (line,) = await self.says(text)
        return line

    async def shows(self, text: str) -> str:
        """Wait for a line with `text`, and return it; earlier lines are passed over."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    for place in range(self._taken, len(self.lines)):
                        if text in self.lines[place]:
                            self._taken = place + 1
                            return self.lines[place]
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError("\n".join((f"{text!r} never showed in:", *self.lines))) from None

    async def repeats(self, command: str, until: str) -> list[str]:
        """Type a command until what it shows has `until`: no line tells when that is so."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                shown = await self.says(command)
                if any(until in line for line in shown):
                    return shown
                await asyncio.sleep(0.02)


@asynccontextmanager
async def served(person: Somebody) -> AsyncIterator[Session]:
    """Serve somebody's profile to subcommands."""
    async with session_on(person.client) as session:
        assert isinstance(session, ClientSession)
        await session.server.listen(person.profile.folder / SOCKET_NAME)
        yield session


@asynccontextmanager
async def window_of(person: Somebody, room: str | None = None) -> AsyncIterator[Window]:
    """Open a window on somebody's profile, and serve it to subcommands."""
    async with served(person) as session:
        window = Window(session)
        await session.subscribe()
        await window.talk.begin(room)
        listening = asyncio.create_task(window.talk.listen())
        try:
            yield window
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


class Table:
    """Who talks, at which relay, and in which room called friends."""

    def __init__(
        self, relay: Relay, home: Path, room: bytes, people: list[Somebody], at: list[Window]
    ) -> None:
        self.relay = relay
        self.home = home
        self.room = room
        self.people = people
        self.windows = at


@asynccontextmanager
async def friends_talk(tmp_path: Path, *names: str) -> AsyncIterator[Table]:
    """Have people in a room called friends, each at a window there."""
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, *names) as people,
        AsyncExitStack() as stack,
    ):
        room = await gather_in("friends", *people)
        windows = [await stack.enter_async_context(window_of(person, "friends")) for person in people]
        yield Table(relay, home, room, people, windows)
