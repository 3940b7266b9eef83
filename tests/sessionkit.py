"""Sessions of tests: on a client that the test holds, in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clave_client.client import Client
from clave_client.rpc.server import RpcServer
from clave_client.rpc.session import Session


class ClientSession(Session):
    """A session on a client that was connected or started; it can lose its connection, and gets a new one."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._profile, lambda _: client)
        self.server = RpcServer(client)

    async def _connect(self, *, first: bool) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_unix_connection(sock=await self.server.connect())
        await self._greet(reader, writer)
        self._writer = writer
        return reader


@asynccontextmanager
async def session_on(client: Client) -> AsyncIterator[Session]:
    """Open a session on a client."""
    session = ClientSession(client)
    try:
        async with session:
            yield session
    finally:
        await session.server.close()
