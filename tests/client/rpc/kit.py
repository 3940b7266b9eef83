"""Profiles at a relay in memory, and sessions that attach to their owners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clave_client import events
from clave_client.client import Client
from clave_client.rpc import methods as m
from clave_client.rpc.event_buffer import SessionEvent
from clave_client.rpc.session import Session
from clave_client.store.folders import SOCKET_NAME
from clave_client.store.profile import Profile
from clave_client.testing import MemoryRelay

TIMEOUT = 20.0


class Home:
    """The profiles of people at one relay in memory."""

    def __init__(self, folder: Path, relay: MemoryRelay) -> None:
        self.folder = folder
        self.relay = relay
        self.open: list[Session] = []

    def client(self, profile: Profile) -> Client:
        return Client(profile, self.relay.address, connect=self.relay.connect)

    def profile(self, name: str) -> Profile:
        return Profile(self.folder, name)

    async def session(self, name: str, **options: Any) -> Session:
        session = Session(self.profile(name), self.client, **options)
        await session.open()
        self.open.append(session)
        return session

    def socket(self, name: str) -> Path:
        return self.profile(name).folder / SOCKET_NAME

    async def friends(self, *names: str) -> list[Session]:
        """Return the sessions of people who are all in a room called friends; the first one made it."""
        sessions = [await self.session(name) for name in names]
        await sessions[0].ask(m.CreateRoom(title="friends"))
        for name, session in zip(names[1:], sessions[1:], strict=True):
            await session.subscribe()
            await sessions[0].ask(m.Invite(room="friends", name=name))
            await next_of(session, events.Invited)
            await session.ask(m.Accept(room="friends"))
        return sessions


async def next_of(session: Session, kind: type[events.Event]) -> SessionEvent:
    """Return the next event of a kind."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            happened = await session.next_event()
            if isinstance(happened.event, kind):
                return happened


@asynccontextmanager
async def home_at(folder: Path) -> AsyncIterator[Home]:
    """Enter a relay in memory and a home at it; the sessions opened are closed at the end."""
    async with MemoryRelay() as relay:
        home = Home(folder / "home", relay)
        try:
            yield home
        finally:
            for session in home.open:
                await session.close()


class RawWindow:
    """A connection to an owner's socket that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def at(cls, path: Path, *, greet: bool = True) -> RawWindow:
        window = cls(*await asyncio.open_unix_connection(str(path), limit=2**24))
        if greet:
            await window.call("hello", rpc=1)
        return window

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": "one", "method": method, "params": params}
        self.writer.write(json.dumps(request).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            line = await self.reader.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def crash(session: Session) -> None:
    """End the owner's process as `kill -9` would: nothing more is said or written."""
    owner, session._owner = session._owner, None
    assert owner is not None
    assert owner._client is not None
    assert owner.server is not None
    client, server = owner._client, owner.server
    for task in (session._reading, session._watching, *client.sync.tasks, client.sync.connection.task):
        if task is not None:
            task.cancel()
    transport = client.sync.connection.transport
    if transport is not None:
        transport.on_messages = lambda _: None
        transport.abort()
    client.sync.store.close()
    owner._profile.close()
    for window in tuple(server._windows):
        window.close()
    if server._listening is not None:
        server._listening.close()
