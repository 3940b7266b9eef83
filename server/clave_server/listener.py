"""Accepts connections: no faster than they log in, none that is too many, each with its true address.

Knows sockets and TLS, nothing of what is said. A connection waits here from its acceptance until it is
settled: logged in, or over. Only `MAX_WAITING` wait at a time; further ones stay in the kernel's queue, so a
crowd that comes back at once is let in one after the other, and whoever says nothing gives way to them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from clave_server import proxy
from clave_server.errors import ProxyError, Refusal, StartError
from clave_server.proxy import Peer
from clave_server.tls import Credentials
from clave_server.transport import ClientTransport

__all__ = ["MAX_WAITING", "Entrance", "Listener", "open_sockets"]

MAX_WAITING: Final = 256
"""Connections accepted and not yet logged in."""

_GIVE_WAY_SECONDS: Final = 3.0
"""How long one of them may take when others are waiting outside."""

_ACCEPTS: Final = 8
"""Connections taken at a time; those inside are served between, as a handshake takes a millisecond."""

_BACKLOG: Final = 4096
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_log = structlog.get_logger()


@dataclass(frozen=True)
class Entrance:
    """A socket that listens, and whether TLS is spoken there."""

    listening: socket.socket
    encrypted: bool

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as (host, port)."""
        host, port = self.listening.getsockname()[:2]
        return host, port


class Listener:
    """Takes connections in until it is closed.

    `admit` raises `Refusal` for a peer that may not even begin; `make` makes the protocol of one that may.
    """

    def __init__(
        self,
        entrances: Sequence[Entrance],
        credentials: Callable[[], Credentials],
        *,
        proxies: frozenset[str],
        admit: Callable[[str], None],
        make: Callable[[Peer, Credentials], ClientTransport],
        login_seconds: float,
    ) -> None:
        self.entrances = tuple(entrances)
        self._credentials = credentials
        self._proxies = proxies
        self._admit = admit
        self._make = make
        self._login_seconds = login_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Task[None], float] = {}
        self._paused = False
        self._closed = False
        self._resume()

    def close(self) -> None:
        """Accept nothing more; what is on its way in is dropped."""
        if self._closed:
            return
        self._closed = True
        for entrance in self.entrances:
            self._loop.remove_reader(entrance.listening)
            entrance.listening.close()
        for task in self._waiting:
            task.cancel()

    @property
    def waiting(self) -> int:
        """How many are accepted and not logged in."""
        return len(self._waiting)

    def _resume(self) -> None:
        self._paused = False
        for entrance in self.entrances:
            self._loop.add_reader(entrance.listening, self._accept, entrance)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for entrance in self.entrances:
                self._loop.remove_reader(entrance.listening)

    def _accept(self, entrance: Entrance) -> None:
        for _ in range(_ACCEPTS):
            if len(self._waiting) >= MAX_WAITING and not self._make_way():
                return
            try:
                connection, name = entrance.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("a connection cannot be accepted", reason=str(error))
                self._pause()  # out of descriptors, most likely: wait for some to come back
                self._loop.call_later(1.0, self._retry)
                return
            connection.setblocking(False)
            peer = (_plain_ip(name[0]), name[1])
            if peer[0] in self._proxies or self._may_enter(peer[0], connection):
                task = self._loop.create_task(self._bring_in(entrance, connection, peer))
                self._waiting[task] = self._loop.time()
                task.add_done_callback(self._settled)

    def _make_way(self) -> bool:
        """Drop the one that has waited longest if it had its time; else accept nothing for now."""
        oldest, since = next(iter(self._waiting.items()))
        rest = since + _GIVE_WAY_SECONDS - self._loop.time()
        if rest > 0:
            self._pause()
            self._loop.call_later(rest, self._retry)
            return False
        oldest.cancel()
        del self._waiting[oldest]
        return True

    def _retry(self) -> None:
        if self._paused and not self._closed:
            self._resume()

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._waiting.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a defect", "exception": error})
        self._retry()

    def _may_enter(self, ip: str, connection: socket.socket) -> bool:
        try:
            self._admit(ip)
        except Refusal:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()
            return False
        return True

    async def _bring_in(self, entrance: Entrance, connection: socket.socket, peer: Peer) -> None:
        """See one connection through its handshake and login; ends when it is settled."""
        client: ClientTransport | None = None
        try:
            async with asyncio.timeout(self._login_seconds):
                if peer[0] in self._proxies:
                    peer = await self._peer_behind(connection) or peer
                    if not self._may_enter(peer[0], connection):
                        return
                credentials = self._credentials()
                client = self._make(peer, credentials)
                made = client
                await self._loop.connect_accepted_socket(
                    lambda: made, connection, ssl=credentials.context if entrance.encrypted else None
                )
            await client.settled
        except (OSError, ProxyError) as error:  # what networks do; a failed TLS handshake is an OSError too
            connection.close()
            late = isinstance(error, TimeoutError)
            reason = "no handshake in time" if late else str(error) or "the other end gave the handshake up"
            _log.info("a connection failed", address=peer[0], reason=reason)
        except asyncio.CancelledError:
            if client is None:
                connection.close()
            else:
                client.give_way()
            raise

    async def _peer_behind(self, connection: socket.socket) -> Peer | None:
        fixed = await self._read(connection, proxy.FIXED_BYTES)
        return proxy.read_peer(fixed, await self._read(connection, proxy.rest_length(fixed)))

    async def _read(self, connection: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self._loop.sock_recv(connection, count - len(data))
            if not more:
                raise ProxyError("a proxy's connection ended before its PROXY header")
            data += more
        return data


def open_sockets(host: str | None, port: int) -> list[socket.socket]:
    """Listen on every address of `host` (None: all there are). Raises `StartError`."""
    where = f"{host or 'any address'}, port {port}"
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                listening = socket.socket(family, kind, protocol)
            except OSError:
                continue  # an address family this machine does not have
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise StartError(f"cannot listen on {where}: {error.strerror}") from None
    if not sockets:
        raise StartError(f"cannot listen on {where}: this machine has no such address")
    return sockets


def _plain_ip(ip: str) -> str:
    """Write an IPv4 address that came through an IPv6 socket as what it is, and drop an interface's name."""
    return ip.partition("%")[0].removeprefix("::ffff:")
