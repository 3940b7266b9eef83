"""One client's connection: received bytes to messages, deadlines, pausing of reading. Knows no rooms."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, cast

import structlog

from clave_host.addresses import join_address
from clave_host.keepalive import enable_keepalive
from clave_server.net.proxy_protocol import Peer
from clave_server.net.send_queue import SendQueue, Tick
from clave_wire.connection import ALPN, RelayConnection
from clave_wire.errors import RemoteError
from clave_wire.messages import Code, Hello, LoggedIn, ToRelay

__all__ = [
    "FRAME_SECONDS",
    "LOST",
    "MAX_BUFFERED_BYTES",
    "RETURNS_PER_SECOND",
    "SOFTWARE",
    "SWEEP_SECONDS",
    "ClientTransport",
    "ConnectionHandler",
    "Transports",
]

SOFTWARE: Final = "clave-relay"

LOST: Final = "connection lost"
"""How a connection ended that the other end or the network closed."""

_LINGER_SECONDS: Final = 5.0
"""How long a client may take to read the last bytes before its connection is aborted."""

FRAME_SECONDS: Final = 30.0
"""How long a client may take to send one frame."""

SWEEP_SECONDS: Final = 5.0
"""Between two searches for frames that take too long."""

MAX_BUFFERED_BYTES: Final = 256 * 1024 * 1024
"""Bytes of unfinished frames and of messages over the rate limit, of all clients together."""

_MAX_BUFFERED_OF_OWNER: Final = 16 * 1024 * 1024
"""Those of one account, or before login of one address."""

RETURNS_PER_SECOND: Final = 250
"""Logins that the relay asks its clients to spread their return over: one over TLS takes about 2 ms."""

_RESTART_MS: Final = 500
"""When the first client may come back after a clean stop: a restarted relay listens by then."""

_log = structlog.get_logger()


class ConnectionHandler(Protocol):
    """Handles one connection's messages."""

    def connected(self, transport: ClientTransport) -> None:
        """Handle a new connection; may close it at once."""

    def received(self, messages: Sequence[ToRelay], size: int) -> None:
        """Handle messages of `size` bytes together, in order; a `Hello` is answered already."""

    def writable(self) -> None:
        """Continue sending: the network takes more."""

    def ended(self, how: str) -> None:
        """Clean up: the connection is over, for the reason `how`. This is the last call."""


class Transports:
    """All open connections; `empty` is set while there are none. Once closed, new ones are closed at once.

    `count_slow_drop` is called for each client that is dropped because it does not read.
    """

    def __init__(self, count_slow_drop: Callable[[], None]) -> None:
        self.count_slow_drop = count_slow_drop
        self.empty = asyncio.Event()
        self.empty.set()
        self.buffered_bytes = 0
        self._buffered_of: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._open: dict[ClientTransport, None] = {}
        self._closed = False

    def __iter__(self) -> Iterator[ClientTransport]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, transport: ClientTransport) -> None:
        """Add a connection that was made."""
        self._open[transport] = None
        self.empty.clear()
        if self._closed:
            self._close(transport)

    def discard(self, transport: ClientTransport) -> None:
        """Remove a connection that was lost."""
        self._open.pop(transport, None)
        if not self._open:
            self.empty.set()

    def hold_reading(self) -> None:
        """Stop reading from all connections."""
        for transport in self._open:
            transport.hold_reading(hold=True)

    def close(self) -> None:
        """Close all connections with `SHUTDOWN` and a time to come back, evenly spread."""
        self._closed = True
        self._sweeping.cancel()
        for number, transport in enumerate(tuple(self._open)):
            self._close(transport, _RESTART_MS + number * 1000 // RETURNS_PER_SECOND)

    def _close(self, transport: ClientTransport, retry_after: int = _RESTART_MS) -> None:
        transport.close(Code.SHUTDOWN, "the relay shuts down", "relay shut down", retry_after)

    @property
    def spread(self) -> int:
        """Milliseconds over which all clients should spread their return."""
        return len(self._open) * 1000 // RETURNS_PER_SECOND

    def count_buffered(self, transport: ClientTransport, owner: str, change: int) -> None:
        """Count bytes buffered for a transport.

        Over the owner's cap drop this client; over the global cap drop the largest.
        """
        self.buffered_bytes += change
        self._buffered_of[owner] += change
        if not self._buffered_of[owner]:
            del self._buffered_of[owner]
        if change > 0 and self._buffered_of[owner] > _MAX_BUFFERED_OF_OWNER:
            transport.drop_over_buffer_cap()
        elif self.buffered_bytes > MAX_BUFFERED_BYTES:
            max(self._open, key=lambda each: each.buffered).drop_over_buffer_cap()

    def _sweep(self) -> None:
        """Drop clients whose frame has been unfinished for too long."""
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        latest = self._loop.time() - FRAME_SECONDS
        for transport in [each for each in self._open if each.frame_began < latest]:
            transport.drop_slow_writer()


class ClientTransport(asyncio.Protocol):
    """Runs a `RelayConnection` over an asyncio transport and passes its messages to a `ConnectionHandler`."""

    def __init__(
        self,
        handler: ConnectionHandler,
        peer: Peer,
        certificate: bytes,
        transports: Transports,
        tick: Tick,
        login_seconds: float,
        send_queue_bytes: int,
    ) -> None:
        self.connection = RelayConnection()
        self.certificate = certificate
        self.name = ""
        self.ip, port = peer
        self.address = join_address(self.ip, port)
        self._handler = handler
        self._transports = transports
        self._tick = tick
        self._login_seconds = login_seconds
        self._send_queue_bytes = send_queue_bytes
        self._loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[None] = self._loop.create_future()
        """Done once the connection has logged in or ended."""
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._undelivered_bytes = 0
        self._partial = 0
        self._delayed = 0
        self.buffered = 0
        self._owner = self.ip
        self._holds = 0
        self.frame_began = math.inf

    # --- called by asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, once the TLS handshake is done."""
        self._transport = cast(
            asyncio.Transport, transport
        )  # create_server makes no other, uvloop by its own class
        self.send_queue = SendQueue(self._transport, self._tick, self._overflowed, self._send_queue_bytes)
        peer = transport.get_extra_info("socket")
        enable_keepalive(peer)
        with contextlib.suppress(OSError):  # not every loop does so for every kind of socket
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timer = self._loop.call_later(self._login_seconds, self._login_timed_out)
        self._handler.connected(self)
        self._transports.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and not self._ended and tls.selected_alpn_protocol() != ALPN:
            self.close(Code.VERSION, f"this relay speaks {ALPN} (ALPN) only", "spoke another protocol")

    def data_received(self, data: bytes) -> None:
        """Decode what the client sent and pass its messages on."""
        if self._ended:
            return
        try:
            messages = self.connection.receive_data(data)
        except RemoteError as error:
            self._drop(error.code, str(error), f"protocol error: {error}")
            return
        if not self.name:
            for message in messages:
                if isinstance(message, Hello):
                    self.send_queue.push(self.connection.greet(os.urandom(32), SOFTWARE))
        self._undelivered_bytes += len(data)
        if self._partial or self.connection.partial:
            self._count_partial(whole=bool(messages))
        if messages and not self._ended:
            size, self._undelivered_bytes = self._undelivered_bytes, 0
            self._handler.received(messages, size)

    def _count_partial(self, *, whole: bool) -> None:
        """Count the bytes of the unfinished frame; a new one has begun if `whole` messages came."""
        self._partial = self.connection.partial
        if not self._partial or self._holds:  # while nothing is read, the delay is not the client's
            self.frame_began = math.inf
        elif whole or self.frame_began == math.inf:
            self.frame_began = self._loop.time()
        self._recount()

    def count_delayed(self, size: int) -> None:
        """Count `size` bytes of messages that wait for the rate limit as buffered; 0 for none."""
        self._delayed = size
        self._recount()

    def _recount(self) -> None:
        buffered = self._partial + self._delayed
        change, self.buffered = buffered - self.buffered, buffered
        if change:
            self._transports.count_buffered(self, self._owner, change)

    def drop_over_buffer_cap(self) -> None:
        """Close because too many bytes are buffered for this client's owner, or for all."""
        text = "too much is unfinished, or came too fast; try again"
        self._drop(Code.FULL, text, "had too much unfinished")

    def drop_slow_writer(self) -> None:
        """Close because a frame took too long to arrive."""
        self._drop(Code.TIMEOUT, f"a frame took more than {FRAME_SECONDS:g} seconds", "sent half a frame")

    def eof_received(self) -> None:
        """Let asyncio close the transport."""

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the handler that the connection is over."""
        self._cancel_timer()
        self._transports.discard(self)
        if not self._ended and not self.send_queue.writable and self.name:
            self._transports.count_slow_drop()
            _log.warning("client dropped", name=self.name, address=self.address, reason="it stopped reading")
        self.send_queue.discard()
        self._end(LOST)

    def pause_writing(self) -> None:
        """Stop writing: asyncio's buffer is full."""
        self.send_queue.pause()

    def resume_writing(self) -> None:
        """Write again: asyncio's buffer has drained."""
        self.send_queue.resume()
        if not self._ended:
            self._handler.writable()

    # --- called by the handler ---------------------------------------------------------------------------

    @property
    def spread(self) -> int:
        """Milliseconds over which all clients should spread their return."""
        return self._transports.spread

    def logged_in(self, message: LoggedIn) -> None:
        """Send `LoggedIn`, end the login deadline, and count buffered bytes to the account."""
        self._cancel_timer()
        self._settle()
        self._transports.count_buffered(self, self._owner, -self.buffered)
        self.name = self._owner = message.name
        self._transports.count_buffered(self, self._owner, self.buffered)
        self.send_queue.push(self.connection.send(message))

    def close_on_goodbye(self) -> None:
        """Close because the client said `Goodbye`."""
        if not self._ended:
            self.send_queue.flush()
            self.send_queue.discard()
            self._transport.close()
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
            self._end("left")

    def hold_reading(self, hold: bool) -> None:
        """Pause reading, or resume it once every caller that paused it has resumed it."""
        self._holds += 1 if hold else -1
        if self._partial:
            self.frame_began = math.inf if self._holds else self._loop.time()
        if not self._transport.is_closing() and self._holds == hold:
            (self._transport.pause_reading if hold else self._transport.resume_reading)()

    def close(self, code: Code, text: str, how: str, retry_after: int = 0) -> None:
        """Send `Closing` and close; abort after 5 seconds if the client does not read it."""
        if not self._ended:
            self._cancel_timer()
            self.send_queue.close(self.connection.closing(code, text, retry_after))
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
            self._end(how)

    def yield_slot(self) -> None:
        """Close to free a login slot."""
        if hasattr(self, "_transport"):
            self.close(Code.TIMEOUT, "no login in time, and others are waiting", "did not log in")

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._settle()
            self._partial, self._delayed, self.frame_began = 0, 0, math.inf
            self._recount()
            self._handler.ended(how)

    def _login_timed_out(self) -> None:
        self.close(Code.TIMEOUT, f"no login within {self._login_seconds:g} seconds", "did not log in")

    def _overflowed(self) -> None:
        self._transports.count_slow_drop()
        self._drop(Code.SLOW, "this connection takes in less than it is sent", "too slow")

    def _drop(self, code: Code, text: str, how: str) -> None:
        if self.name and not self._ended:
            _log.warning("client dropped", name=self.name, address=self.address, reason=how)
        self.close(code, text, how)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
