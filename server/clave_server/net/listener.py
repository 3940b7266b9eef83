"""Accepts connections: no faster than they log in, none that is too many, each with its true address.

Knows sockets and TLS, nothing of what is said. A connection has one of the `places` from its handshake until
it is settled: logged in, or over. A crowd that comes back at once is let in one after the other, network by
network, and whoever is let in and says nothing gives way to those that wait.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import structlog

from clave_server.errors import ProxyError, Refusal, StartError
from clave_server.limits.token_buckets import network_of
from clave_server.net import proxy_protocol
from clave_server.net.login_slots import LoginSlots
from clave_server.net.proxy_protocol import Peer
from clave_server.net.tls import Credentials
from clave_server.net.transport import ClientTransport

__all__ = ["MAX_WAITING", "Listener", "ListeningSocket", "open_sockets"]

MAX_WAITING: Final = 4096
"""Connections accepted and not yet logged in, with a place or without."""

_GIVE_WAY_SECONDS: Final = 3.0
"""How long a connection may keep its place when others wait for one."""

_ACCEPTS: Final = 8
"""Connections taken at a time; those inside are served between, as a handshake takes a millisecond."""

_BACKLOG: Final = 4096
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_log = structlog.get_logger()


@dataclass(frozen=True)
class ListeningSocket:
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
        entrances: Sequence[ListeningSocket],
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
        self._places = LoginSlots()
        self._waiting: set[asyncio.Task[None]] = set()
        self._inside: dict[asyncio.Task[None], float] = {}
        self._making_way = False
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

    def _accept(self, entrance: ListeningSocket) -> None:
        for _ in range(_ACCEPTS):
            if len(self._waiting) >= MAX_WAITING:
                self._places.shorten()
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
                self._waiting.add(task)
                task.add_done_callback(self._settled)

    def _make_way(self) -> None:
        """Send those away that had their time, as long as others wait for a place."""
        self._making_way = False
        if not self._places.shortage or not self._inside:
            return
        oldest, since = next(iter(self._inside.items()))
        rest = since + _GIVE_WAY_SECONDS - self._loop.time()
        if rest <= 0:
            del self._inside[oldest]
            oldest.cancel()
        self._making_way = True
        self._loop.call_later(max(0.0, rest), self._make_way)

    def _retry(self) -> None:
        if self._paused and not self._closed:
            self._resume()

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
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

    async def _bring_in(self, entrance: ListeningSocket, connection: socket.socket, peer: Peer) -> None:
        """See one connection through its handshake and login; ends when it is settled."""
        try:
            if peer[0] in self._proxies:
                async with asyncio.timeout(self._login_seconds):
                    peer = await self._peer_behind(connection) or peer
                if not self._may_enter(peer[0], connection):
                    return
        except (OSError, ProxyError) as error:
            connection.close()
            _log.info("a connection failed", address=peer[0], reason=str(error) or "no header in time")
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        network = network_of(peer[0])
        if not self._places.has_room(network):
            connection.close()
            return
        turn = self._places.ask(network)
        if self._places.shortage and not self._making_way:
            self._make_way()
        try:
            await self._wait_for(turn, connection)
            await self._let_in(entrance, connection, peer)
        finally:
            self._places.leave(network, turn)

    async def _wait_for(self, turn: asyncio.Future[None], connection: socket.socket) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            connection.close()
            raise

    async def _let_in(self, entrance: ListeningSocket, connection: socket.socket, peer: Peer) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._inside[task] = self._loop.time()
        credentials = self._credentials()
        client = self._make(peer, credentials)
        try:
            async with asyncio.timeout(self._login_seconds):
                await self._loop.connect_accepted_socket(
                    lambda: client, connection, ssl=credentials.context if entrance.encrypted else None
                )
            await client.settled
        except OSError as error:  # what networks do; a failed TLS handshake is one too
            late = isinstance(error, TimeoutError)
            reason = "no handshake in time" if late else str(error) or "the other end gave the handshake up"
            _log.info("a connection failed", address=peer[0], reason=reason)
        except asyncio.CancelledError:
            client.give_way()
            raise
        finally:
            self._inside.pop(task, None)

    async def _peer_behind(self, connection: socket.socket) -> Peer | None:
        fixed = await self._read(connection, proxy_protocol.FIXED_BYTES)
        return proxy_protocol.read_peer(
            fixed, await self._read(connection, proxy_protocol.rest_length(fixed))
        )

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
    address = ipaddress.ip_address(ip.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
