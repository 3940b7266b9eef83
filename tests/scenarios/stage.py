"""The stage of the stories: a real relay process, and people with real profiles. Knows no story."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from clave_client import events
from clave_client.client import Client
from clave_client.errors import ClientError
from clave_client.events import Event
from clave_client.net.transport import Connect, RelayTransport
from clave_client.store.profile import Profile

E = TypeVar("E", bound=Event)

TIMEOUT = 30.0


class Relay:
    """A relay process that can be killed and started again at the same address."""

    def __init__(self, data: Path, *options: str, program: Sequence[str] = ("-m", "clave_server")) -> None:
        self.data = data
        self.options = options
        self.program = program
        self.address = "127.0.0.1:0"
        self.fingerprint = ""
        self.mirror: list[str] = []
        self.log: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        command = (*self.program, "--listen", self.address, "--data", str(self.data), *self.options)
        environment = {**os.environ, "NO_COLOR": "1"}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=2**20,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [asyncio.create_task(self._collect(self._process.stderr, self.log))]
        first = (await asyncio.wait_for(self._process.stdout.readline(), TIMEOUT)).decode()
        if first.startswith("{"):
            told = json.loads(first)
            self.address, self.fingerprint = told["address"], told["fingerprint"]
        else:
            words = first.split()
            assert words[:2] == ["listening", "on"], (first, self.log)
            self.address, self.fingerprint = words[2], " ".join(words[4:])
        self._readers.append(asyncio.create_task(self._collect(self._process.stdout, self.mirror)))

    async def _collect(self, output: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in output:
            async with self._news:
                lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()

    async def shows(self, fits: Callable[[list[str]], bool]) -> None:
        """Wait until the lines of the mirror fit."""
        async with asyncio.timeout(TIMEOUT), self._news:
            await self._news.wait_for(lambda: fits(self.mirror))

    async def kill(self) -> None:
        """End it as a power failure would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to stop; return its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        status = await asyncio.wait_for(self._process.wait(), TIMEOUT)
        await asyncio.gather(*self._readers)
        return status


class Somebody:
    """A person at a client: what happens to them is kept, and can be waited for.

    `connector` returns how the client of a name makes its connections.
    """

    connector: Callable[[str], Connect] = staticmethod(lambda _: RelayTransport.connect)

    def __init__(self, home: Path, name: str, relay: Relay) -> None:
        self.home = home
        self.name = name
        self.relay = relay
        self.happened: list[Event] = []
        self.ended_by: ClientError | None = None
        self.news = asyncio.Condition()
        self._taken = 0
        self._listening: asyncio.Task[None] | None = None

    async def come(self, clock: Callable[[], float] = time.time) -> None:
        """Open the profile and connect."""
        self.profile = Profile(self.home, self.name).open()
        self.client = Client(
            self.profile, self.relay.address, clock=clock, connect=Somebody.connector(self.name)
        )
        await self.client.connect()
        self.stream = self.client.events()
        self._listening = asyncio.create_task(self._listen())

    async def go(self) -> None:
        """Say goodbye and close."""
        await self.client.close()
        await self.stop_listening()
        self.profile.close()

    async def crash(self) -> None:
        """End as `kill -9` would: nothing more is said or written."""
        session = self.client.sync
        for task in (*session.tasks, session.connection.task):
            if task is not None:
                task.cancel()
        if session.connection.transport is not None:
            session.connection.transport.on_messages = lambda _: None
            session.connection.transport.abort()
            await session.connection.transport.closed
        await self.stop_listening()
        self.client.sync.store.close()
        self.profile.close()

    async def stop_listening(self) -> None:
        """Read no more of `stream`."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            async for event in self.stream:
                async with self.news:
                    self.happened.append(event)
                    self.news.notify_all()
        except ClientError as error:
            async with self.news:
                self.ended_by = error
                self.news.notify_all()

    async def sees(self, kind: type[E], fits: Callable[[E], bool] = lambda _: True) -> E:
        """Return the next event of `kind` that `fits`, waiting for it; earlier events are passed over."""

        def find() -> E | None:
            for index in range(self._taken, len(self.happened)):
                event = self.happened[index]
                if isinstance(event, kind) and fits(event):
                    self._taken = index + 1
                    return event
            return None

        found: E | None = None
        async with asyncio.timeout(TIMEOUT), self.news:
            while (found := find()) is None:
                if self.ended_by is not None:
                    raise AssertionError(f"{self.name} was ended by: {self.ended_by}")
                await self.news.wait()
        return found

    async def reads(self, text: str) -> events.Message:
        """Wait for a message that says `text`."""
        return await self.sees(events.Message, lambda message: message.text == text)

    def texts(self, room: bytes) -> list[str]:
        """Return all this person's profile has of a room, in order."""
        return [line.text for line in self.client.history(room)]

    def shown(self) -> list[str]:
        """Return every text that came as an event, in order."""
        return [event.text for event in self.happened if isinstance(event, events.Message)]

    def authenticator(self, room: bytes) -> tuple[int, bytes]:
        """Return the epoch and its authenticator."""
        group = self.client.sync.rooms[room].group
        return group.epoch, group.epoch_authenticator


@asynccontextmanager
async def relay_at(
    data: Path, *options: str, program: Sequence[str] = ("-m", "clave_server")
) -> AsyncIterator[Relay]:
    relay = Relay(data, *options, program=program)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


@asynccontextmanager
async def people_at(relay: Relay, home: Path, *names: str) -> AsyncIterator[list[Somebody]]:
    people = [Somebody(home, name, relay) for name in names]
    try:
        for person in people:
            await person.come()
        yield people
    finally:
        for person in people:
            with contextlib.suppress(Exception):
                await person.go()


async def gather_in(title: str, host: Somebody, *guests: Somebody) -> bytes:
    """Have `host` open a room and everyone in it; return its id once all agree on the epoch."""
    room = (await host.client.create_room(title)).id
    for guest in guests:
        await host.client.invite(room, guest.name)
        await guest.sees(events.Invited)
        await guest.client.accept(room)
        await host.sees(events.InvitationAccepted)
    await agree(room, host, *guests)
    return room


async def agree(room: bytes, *people: Somebody) -> None:
    """Wait until everyone is in the same epoch of the same group."""
    async with asyncio.timeout(TIMEOUT):
        while len({person.authenticator(room) for person in people}) != 1:
            behind = min(people, key=lambda person: person.authenticator(room)[0])
            epoch = behind.authenticator(room)[0]
            session = behind.client.sync
            await session.wait_for(lambda: session.rooms[room].group.epoch != epoch)  # noqa: B023 (awaited at once)
