"""Has tests log clients in at either relay: the one in memory and the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from clave_client.testing import MemoryRelay, memory_relay
from clave_client.testing.memory_transport import connect_pair
from clave_wire.connection import ClientConnection
from linkkit import Join
from relaykit import Participant, RawClient, running_relay


async def log_in(relay: MemoryRelay, who: Participant | str, *versions: int) -> RawClient:
    """Log in at a relay in memory, with all versions unless some are given."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    end = connect_pair(protocol, memory_relay._Session(relay), memory_relay._CERTIFICATE)
    client = RawClient(reader, asyncio.StreamWriter(end, protocol, reader, asyncio.get_running_loop()))
    if versions:
        client.connection = ClientConnection(versions)
    return await client.log_in(Participant(who) if isinstance(who, str) else who)


@asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[Join]:
    clients: list[RawClient] = []
    async with MemoryRelay() as relay:

        async def join(who: Participant | str, *versions: int) -> RawClient:
            clients.append(await log_in(relay, who, *versions))
            return clients[-1]

        yield join
        for client in clients:
            await client.close()


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Join]:
    async with running_relay(folder) as relay:

        async def join(who: Participant | str, *versions: int) -> RawClient:
            client = await relay.connect()
            if versions:
                client.connection = ClientConnection(versions)
            return await client.log_in(Participant(who) if isinstance(who, str) else who)

        yield join


@pytest.fixture(params=[in_memory, real])
async def join(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Join]:
    """Yield what logs somebody in, at either relay."""
    relay: Callable[[Path], AbstractAsyncContextManager[Join]] = request.param
    async with relay(tmp_path) as log_in_there:
        yield log_in_there
