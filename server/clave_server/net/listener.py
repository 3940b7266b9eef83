"""Accepts connections, finds each one's true address, and starts TLS when a login slot is free.

Knows sockets and TLS, no messages. A connection has a login slot from its TLS handshake until it is logged in
or closed. When 10,000 clients reconnect at once, networks take turns for the slots, and a connection that has
had its slot for 3 seconds is closed in favour of those that wait.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import resource
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog

from clave_host.addresses import network_of
from clave_server.errors import ProxyError, Refusal, StartError
from clave_server.net import proxy_protocol
from clave_server.net.login_slots import LoginSlots
from clave_server.net.proxy_protocol import Peer
from clave_server.net.tls import Credentials
from clave_server.net.transport import ClientTransport

__all__ = ["KEPT_DESCRIPTORS", "MAX_WAITING", "SLOT_SECONDS", "Listener", "ListeningSocket", "open_sockets"]

MAX_WAITING: Final = 4096
"""Connections accepted and not yet logged in, with a login slot or without."""

SLOT_SECONDS: Final = 3.0
"""How long a connection may keep its login slot while others wait for one."""

_ACCEPTS: Final = 8
"""Connections accepted in one turn of the loop; a handshake takes a millisecond of it."""

_BACKLOG: Final = 4096

KEPT_DESCRIPTORS: Final = 32
"""File descriptors that connections of clients leave for the operator's, for metrics and for files."""

_ACCEPT_PAUSE_SECONDS: Final = 1.0
"""Between two tries to accept while the system gives no connections."""

_SHORTAGE_SECONDS: Final = 60.0
"""A shortage has ended when there was none for so long: in a flood it comes and goes."""

_NO_CLIENTS: Final = frozenset(
    {
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    }
)
"""OpenSSL's names of what port scans and browsers cause; a client of a relay never does."""

_ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""Errors of an address or a family of addresses that a machine does not have."""

_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors of a process, or of a machine, that has as many files open as it may."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_log = structlog.get_logger()


@dataclass(frozen=True)
class ListeningSocket:
    """A socket that listens, and whether its connections use TLS."""

    raw: socket.socket
    encrypted: bool

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as (host, port)."""
        host, port = self.raw.getsockname()[:2]
        return host, port


class Listener:
    """Accepts connections until it is closed.

    `admit` takes an IP address and raises `Refusal` if it may not connect now; `make_transport` makes the
    transport of one that may.
    """

    def __init__(
        self,
        sockets: Sequence[ListeningSocket],
        credentials: Callable[[], Credentials],
        *,
        proxies: frozenset[str],
        admit: Callable[[str], None],
        make_transport: Callable[[Peer, Credentials], ClientTransport],
        login_seconds: float,
    ) -> None:
        self.sockets = tuple(sockets)
        self._credentials = credentials
        self._proxies = proxies
        self._admit = admit
        self._make_transport = make_transport
        self._login_seconds = login_seconds
        self._loop = asyncio.get_running_loop()
        self._slots = LoginSlots()
        self._waiting: set[asyncio.Task[None]] = set()
        self._logging_in: dict[asyncio.Task[None], float] = {}
        self._reclaiming = False
        self._paused = False
        self._short_until = 0.0
        self._closed = False
        self._resume()

    def close(self) -> None:
        """Stop accepting; drop connections that are not logged in."""
        if self._closed:
            return
        self._closed = True
        for each in self.sockets:
            self._loop.remove_reader(each.raw)
            each.raw.close()
        for task in self._waiting:
            task.cancel()

    @property
    def waiting(self) -> int:
        """How many connections are accepted and not logged in."""
        return len(self._waiting)

    def _resume(self) -> None:
        self._paused = False
        for each in self.sockets:
            self._loop.add_reader(each.raw, self._accept, each)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for each in self.sockets:
                self._loop.remove_reader(each.raw)

    def _accept(self, listening: ListeningSocket) -> None:
        if _is_short_of_descriptors(listening.raw.fileno()):
            self._wait(OSError(errno.EMFILE, "too many open files"))
            return
        for _ in range(_ACCEPTS):
            if len(self._waiting) >= MAX_WAITING:
                self._slots.drop_queued()
            try:
                connection, name = listening.raw.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                self._wait(error)
                return
            connection.setblocking(False)
            peer = (_plain_ip(name[0]), name[1])
            if peer[0] in self._proxies or self._is_admitted(peer[0], connection):
                task = self._loop.create_task(self._log_in(listening, connection, peer))
                self._waiting.add(task)
                task.add_done_callback(self._settled)

        if self._short_until and self._loop.time() > self._short_until:
            self._short_until = 0.0
            _log.info("connections accepted again")

    def _wait(self, error: OSError) -> None:
        """Leave connections in the system's queue for a second; say so once in a shortage."""
        reason = error.strerror or str(error)
        if self._short_until:
            pass
        elif error.errno in _OUT_OF_DESCRIPTORS:
            _log.warning(
                "connections wait to be accepted: raise the limit on open files, or lower --max-clients",
                reason=reason,
                limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
        else:
            _log.warning(
                "connections wait to be accepted: this machine does not let them in; tried again each second",
                reason=reason,
            )
        self._short_until = self._loop.time() + _SHORTAGE_SECONDS
        self._pause()
        self._loop.call_later(_ACCEPT_PAUSE_SECONDS, self._retry)

    def _reclaim_slots(self) -> None:
        """Close connections that have had their login slot for long enough, while others wait."""
        self._reclaiming = False
        if not self._slots.has_shortage or not self._logging_in:
            return
        oldest, since = next(iter(self._logging_in.items()))
        rest = since + SLOT_SECONDS - self._loop.time()
        if rest <= 0:
            del self._logging_in[oldest]
            oldest.cancel()
        self._reclaiming = True
        self._loop.call_later(max(0.0, rest), self._reclaim_slots)

    def _retry(self) -> None:
        if self._paused and not self._closed:
            self._resume()

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a defect", "exception": error})
        self._retry()

    def _is_admitted(self, ip: str, connection: socket.socket) -> bool:
        try:
            self._admit(ip)
        except Refusal:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()
            return False
        return True

    async def _log_in(self, listening: ListeningSocket, connection: socket.socket, peer: Peer) -> None:
        """Take one connection through its handshake and login; return once it is logged in or closed."""
        try:
            if peer[0] in self._proxies:
                async with asyncio.timeout(self._login_seconds):
                    peer = await self._read_proxied_peer(connection) or peer
                if not self._is_admitted(peer[0], connection):
                    return
        except (OSError, ProxyError) as error:
            connection.close()
            log = _log.debug if isinstance(error, ConnectionError) else _log.info
            log("connection failed", address=peer[0], reason=str(error) or "no header in time")
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        network = network_of(peer[0])
        if not self._slots.may_queue(network):
            connection.close()
            return
        turn = self._slots.acquire(network)
        if self._slots.has_shortage and not self._reclaiming:
            self._reclaim_slots()
        try:
            await self._wait_for(turn, connection)
            await self._run_login(listening, connection, peer)
        finally:
            self._slots.release(network, turn)

    async def _wait_for(self, turn: asyncio.Future[None], connection: socket.socket) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            connection.close()
            raise

    async def _run_login(self, listening: ListeningSocket, connection: socket.socket, peer: Peer) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._logging_in[task] = self._loop.time()
        credentials = self._credentials()
        client = self._make_transport(peer, credentials)
        try:
            async with asyncio.timeout(self._login_seconds):
                await self._loop.connect_accepted_socket(
                    lambda: client, connection, ssl=credentials.context if listening.encrypted else None
                )
            await client.settled
        except OSError as error:  # the network's doing, or a failed TLS handshake
            late = isinstance(error, TimeoutError)
            reason = "no handshake in time" if late else str(error) or "the other end gave the handshake up"
            log = _log.debug if _is_first_contact(error) else _log.info
            log("connection failed", address=peer[0], reason=reason)
        except asyncio.CancelledError:
            client.yield_slot()
            raise
        finally:
            self._logging_in.pop(task, None)

    async def _read_proxied_peer(self, connection: socket.socket) -> Peer | None:
        fixed = await self._read(connection, proxy_protocol.FIXED_BYTES)
        return proxy_protocol.read_peer(
            fixed, await self._read(connection, proxy_protocol.rest_length(fixed))
        )

    async def _read(self, connection: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self._loop.sock_recv(connection, count - len(data))
            if not more and not data:
                raise ConnectionAbortedError(
                    "a proxy's connection ended before its PROXY header"
                )  # its check
            if not more:
                raise ProxyError("a proxy's connection ended within its PROXY header")
            data += more
        return data


def _is_first_contact(error: OSError) -> bool:
    """Return whether the other end only looked: hung up, did not take the certificate, or spoke no TLS."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or error.reason in _NO_CLIENTS
    return isinstance(error, ConnectionError)


def open_sockets(host: str | None, port: int) -> list[socket.socket]:
    """Listen on every address of `host` that this machine has (None: all there are). Raises `StartError`."""
    where = f"{host or 'any address'}, port {port}"
    sockets: list[socket.socket] = []
    missing = "this machine has no such address"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sockets.append(_listen(family, kind, protocol, address))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                missing = error.strerror or missing  # as of `::1` where IPv6 is off
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise StartError(f"cannot listen on {where}: {error.strerror}") from None
    if not sockets:
        raise StartError(f"cannot listen on {where}: {missing}")
    return sockets


def _listen(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _is_short_of_descriptors(some: int) -> bool:
    """Return whether only those to be kept are left: the system gives the lowest descriptor that is free.

    `some` is one that is open. Of a small limit a quarter is kept.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        probe = os.dup(some)
    except OSError as error:
        return error.errno in _OUT_OF_DESCRIPTORS
    os.close(probe)
    return limit != resource.RLIM_INFINITY and limit - probe < min(KEPT_DESCRIPTORS, limit // 4)


def _plain_ip(ip: str) -> str:
    """Write an IPv4-mapped IPv6 address as IPv4, and drop an interface's name."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
