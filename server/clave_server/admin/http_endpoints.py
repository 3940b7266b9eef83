"""HTTP endpoints for monitoring: /metrics, /healthz, /readyz. Knows no metric.

Meant for a private network: no TLS, no login, 16 connections at a time, one request each.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from clave_server.errors import StartError
from clave_server.net.listener import open_sockets

__all__ = ["CONNECTION_SECONDS", "REUSE_SECONDS", "HttpEndpoints"]

_MAX_REQUEST_BYTES: Final = 8 * 1024
_MAX_CONNECTIONS: Final = 16
CONNECTION_SECONDS: Final = 5.0
"""For one connection as a whole."""

REUSE_SECONDS: Final = 1.0
"""How long rendered metrics are reused, as rendering takes milliseconds of the relay's core."""

_TEXT: Final = "text/plain; charset=utf-8"

_Page = tuple[HTTPStatus, str, bytes]


class HttpEndpoints:
    """The HTTP server. Made by `open` on the running loop; ended by `close`.

    `metrics` returns the body of /metrics; `readiness_fault` why the relay cannot serve, "" if it can.
    """

    def __init__(self, metrics: Callable[[], bytes], readiness_fault: Callable[[], Awaitable[str]]) -> None:
        self._metrics = metrics
        self._readiness_fault = readiness_fault
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}  # the oldest first
        self._rendered = b""
        self._rendered_at = -math.inf
        self._servers: list[asyncio.Server] = []

    @classmethod
    async def open(
        cls, host: str, port: int, metrics: Callable[[], bytes], readiness_fault: Callable[[], Awaitable[str]]
    ) -> HttpEndpoints:
        """Listen at `host` and `port`. Raises `StartError`."""
        endpoints = cls(metrics, readiness_fault)
        try:
            sockets = open_sockets(host, port)
        except StartError as error:
            raise StartError(f"metrics: {error}") from None
        for listening in sockets:
            server = await asyncio.start_server(endpoints._serve, sock=listening, limit=_MAX_REQUEST_BYTES)
            endpoints._servers.append(server)
        return endpoints

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, as (host, port)."""
        return [listening.getsockname()[:2] for server in self._servers for listening in server.sockets]

    async def close(self) -> None:
        """Stop listening and drop requests that are not answered."""
        for server in self._servers:
            server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  (start_server makes one for each connection)
        if len(self._clients) >= _MAX_CONNECTIONS and not self._drop_silent():
            writer.close()
            return
        self._clients.add(task)
        self._silent[writer] = None
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                del self._silent[writer]
                page = await self._page(head.partition(b"\r\n")[0])
                writer.write(_response(*page))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it closed, was too slow, or sent no request
        finally:
            self._clients.discard(task)
            self._silent.pop(writer, None)
            writer.close()

    def _drop_silent(self) -> bool:
        """Close the connection that has been silent for longest; return whether there was one."""
        silent = next(iter(self._silent), None)
        if silent is None:
            return False
        del self._silent[silent]
        silent.close()
        return True

    def _rendered_metrics(self) -> bytes:
        now = time.monotonic()
        if now - self._rendered_at >= REUSE_SECONDS:
            self._rendered, self._rendered_at = self._metrics(), now
        return self._rendered

    async def _page(self, line: bytes) -> _Page:
        method, _, rest = line.partition(b" ")
        path, _, version = rest.rpartition(b" ")
        if not version.startswith(b"HTTP/1."):
            return HTTPStatus.BAD_REQUEST, _TEXT, b"not HTTP/1\n"
        if method != b"GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET\n"
        match path.partition(b"?")[0]:
            case b"/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._rendered_metrics()
            case b"/healthz":
                return HTTPStatus.OK, _TEXT, b"ok\n"
            case b"/readyz":
                fault = await self._readiness_fault()
                status = HTTPStatus.SERVICE_UNAVAILABLE if fault else HTTPStatus.OK
                return status, _TEXT, (fault or "ready").encode() + b"\n"
        return HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics, /healthz and /readyz\n"


def _response(status: HTTPStatus, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    )
    return f"{head}Connection: close\r\n\r\n".encode() + body
