"""A SOCKS5 server on loopback (RFC 1928, RFC 1929) that keeps what it was asked for. Knows no relay."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from typing import Self

NO_LOGIN, LOGIN, NOTHING_FITS = 0, 2, 0xFF


class Socks5Server:
    """Connects where it is asked to, by `names` that only it knows; `asked` has (host, port) of each request.

    With a `user` it insists on that and the `password`. With a `reply` it refuses with this code; with a
    `greeting` it says that instead of anything else, and an empty one is silence.
    """

    def __init__(
        self,
        *,
        names: Mapping[str, str] | None = None,
        user: str = "",
        password: str = "",
        reply: int = 0,
        greeting: bytes | None = None,
    ) -> None:
        self.asked: list[tuple[str, int]] = []
        self.logins: list[tuple[str, str]] = []
        self._names = names or {}
        self._login = (user, password)
        self._reply = reply
        self._greeting = greeting
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"socks5://127.0.0.1:{self.port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, count = await reader.readexactly(2)
        assert version == 5
        methods = await reader.readexactly(count)
        if self._greeting is not None:
            writer.write(self._greeting)
            if not self._greeting:
                await reader.read()
            return
        method = LOGIN if self._login[0] else NO_LOGIN
        if method not in methods:
            writer.write(bytes([5, NOTHING_FITS]))
            return
        writer.write(bytes([5, method]))
        if method == LOGIN and not await self._is_let_in(reader, writer):
            return
        host, port = await self._request(reader)
        self.asked.append((host, port))
        found = self._names.get(host, host)
        code = self._reply
        try:
            far_reader, far_writer = await asyncio.open_connection(found, port) if not code else (None, None)
        except socket.gaierror:
            code = 4
        except OSError:
            code = 5
        writer.write(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
        if code or far_reader is None or far_writer is None:
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async def _is_let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readexactly(1)
        user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        self.logins.append((user, password))
        fits = (user, password) == self._login
        writer.write(bytes([1, not fits]))
        return fits

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        return host, int.from_bytes(await reader.readexactly(2), "big")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
    finally:
        target.close()
        with contextlib.suppress(OSError):
            await target.wait_closed()
