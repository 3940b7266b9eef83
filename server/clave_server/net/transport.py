"""One client's network connection: bytes to messages, deadlines, back-pressure. Knows no rooms."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, cast

import structlog

from clave_server.net.proxy_protocol import Peer
from clave_server.net.send_queue import SendQueue, Tick
from clave_server.net.tls import ALPN
from clave_server.observe.counters import Counters
from clave_wire.connection import RelayConnection
from clave_wire.errors import RemoteError
from clave_wire.messages import Code, Hello, LoggedIn, ToRelay

__all__ = ["SOFTWARE", "Client", "ClientTransport", "Transports"]

SOFTWARE: Final = "clave-relay"
_LINGER_SECONDS: Final = 5.0
"""How long a closing connection may take to read what was sent last."""

_KEEPALIVE_SECONDS: Final = 10
_PROBE_SECONDS: Final = 5
_PROBES: Final = 3
"""A peer that vanished is noticed after 25 seconds."""

_FRAME_SECONDS: Final = 30.0
"""How long one frame may take to come."""

_SWEEP_SECONDS: Final = 5.0

_MAX_KEPT_BYTES: Final = 256 * 1024 * 1024
"""Bytes of unfinished frames, and of what came too fast, of all clients together."""

_MAX_KEPT_OF_ONE: Final = 16 * 1024 * 1024
"""Those of one account, or of one address before login."""

RETURNS_PER_SECOND: Final = 250
"""Clients that come back at a time, as told to them: a login over TLS costs about two milliseconds."""

_RESTART_MS: Final = 500
"""When the first client may come back after a clean stop: a relay that is restarted listens again by then."""

_log = structlog.get_logger()


class Client(Protocol):
    """What stands behind one connection."""

    def connected(self, transport: ClientTransport) -> None:
        """Take the connection; may close it at once."""

    def received(self, messages: Sequence[ToRelay], size: int) -> None:
        """Take the messages that came, in order, in `size` bytes; a `Hello` is answered already."""

    def writable(self) -> None:
        """Go on: the network keeps up again."""

    def ended(self, how: str) -> None:
        """Take note that the connection is over; nothing else is called after it."""


class Transports:
    """Every open connection; `empty` is set while there is none. Once closed, new ones are closed at once."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.empty = asyncio.Event()
        self.empty.set()
        self.kept_bytes = 0
        self._kept_of: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        self._open: dict[ClientTransport, None] = {}
        self._closed = False

    def __iter__(self) -> Iterator[ClientTransport]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, transport: ClientTransport) -> None:
        """Take note of a connection made."""
        self._open[transport] = None
        self.empty.clear()
        if self._closed:
            self._close(transport)

    def discard(self, transport: ClientTransport) -> None:
        """Take note of a connection lost."""
        self._open.pop(transport, None)
        if not self._open:
            self.empty.set()

    def hold_reading(self) -> None:
        """Take nothing more from anyone."""
        for transport in self._open:
            transport.hold_reading(hold=True)

    def close(self) -> None:
        """Tell everyone that the relay shuts down, and when to come back: evenly spread; and close."""
        self._closed = True
        self._sweeping.cancel()
        for number, transport in enumerate(tuple(self._open)):
            self._close(transport, _RESTART_MS + number * 1000 // RETURNS_PER_SECOND)

    def _close(self, transport: ClientTransport, retry_after: int = _RESTART_MS) -> None:
        transport.close(Code.SHUTDOWN, "the relay shuts down", "relay shut down", retry_after)

    @property
    def spread(self) -> int:
        """Milliseconds within which everybody here could come back one after the other."""
        return len(self._open) * 1000 // RETURNS_PER_SECOND

    def keep(self, transport: ClientTransport, owner: str, change: int) -> None:
        """Count bytes kept for a transport: too many of its owner's cost it, too many of all the largest."""
        self.kept_bytes += change
        self._kept_of[owner] += change
        if not self._kept_of[owner]:
            del self._kept_of[owner]
        if change > 0 and self._kept_of[owner] > _MAX_KEPT_OF_ONE:
            transport.drop_hoarder()
        elif self.kept_bytes > _MAX_KEPT_BYTES:
            max(self._open, key=lambda each: each.kept).drop_hoarder()

    def _sweep(self) -> None:
        """Drop who began a frame long ago and does not end it."""
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        latest = self._loop.time() - _FRAME_SECONDS
        for transport in [each for each in self._open if each.began < latest]:
            transport.drop_slow_writer()


class ClientTransport(asyncio.Protocol):
    """Runs a `RelayConnection` over an asyncio transport on behalf of a `Client`."""

    def __init__(
        self,
        client: Client,
        peer: Peer,
        certificate: bytes,
        transports: Transports,
        tick: Tick,
        login_seconds: float,
        outbox_bytes: int,
    ) -> None:
        self.connection = RelayConnection()
        self.certificate = certificate
        self.name = ""
        self.ip, port = peer
        self.address = f"[{self.ip}]:{port}" if ":" in self.ip else f"{self.ip}:{port}"
        self._client = client
        self._transports = transports
        self._tick = tick
        self._login_seconds = login_seconds
        self._outbox_bytes = outbox_bytes
        self._loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._unheard = 0
        self._partial = 0
        self._delayed = 0
        self.kept = 0
        self._owner = self.ip
        self._holds = 0
        self.began = math.inf

    # --- called by asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, once TLS stands."""
        self._transport = cast(
            asyncio.Transport, transport
        )  # create_server makes no other, uvloop by its own class
        self.send_queue = SendQueue(self._transport, self._tick, self._too_slow, self._outbox_bytes)
        _notice_half_open(transport.get_extra_info("socket"))
        self._timer = self._loop.call_later(self._login_seconds, self._too_late)
        self._client.connected(self)
        self._transports.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and not self._ended and tls.selected_alpn_protocol() != ALPN:
            self.close(Code.VERSION, f"this relay speaks {ALPN} (ALPN) only", "spoke another protocol")

    def data_received(self, data: bytes) -> None:
        """Act on what a client says."""
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
        self._unheard += len(data)
        if self._partial or self.connection.partial:
            self._note_partial(whole=bool(messages))
        if messages and not self._ended:
            size, self._unheard = self._unheard, 0
            self._client.received(messages, size)

    def _note_partial(self, *, whole: bool) -> None:
        """Keep count of the frame that is under way; it is another one if `whole` ones came."""
        self._partial = self.connection.partial
        if not self._partial or self._holds:  # while nothing is read, it is not the client's delay
            self.began = math.inf
        elif whole or self.began == math.inf:
            self.began = self._loop.time()
        self._recount()

    def keep(self, size: int) -> None:
        """Count so many bytes of messages as kept until their time comes."""
        self._delayed = size
        self._recount()

    def _recount(self) -> None:
        kept = self._partial + self._delayed
        change, self.kept = kept - self.kept, kept
        if change:
            self._transports.keep(self, self._owner, change)

    def drop_hoarder(self) -> None:
        """Close because too much is kept for it, or for all."""
        text = "too much is unfinished, or came too fast; try again"
        self._drop(Code.FULL, text, "had too much unfinished")

    def drop_slow_writer(self) -> None:
        """Close because a frame is taking too long."""
        self._drop(Code.TIMEOUT, f"a frame took more than {_FRAME_SECONDS:g} seconds", "sent half a frame")

    def eof_received(self) -> None:
        """Close when the client does."""

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the client's side that it is over."""
        self._cancel_timer()
        self._transports.discard(self)
        if not self._ended and not self.send_queue.writable and self.name:
            self._transports.counters.slow_drops += 1
            _log.warning("client dropped", name=self.name, address=self.address, reason="it stopped reading")
        self.send_queue.discard()
        self._end("connection lost")

    def pause_writing(self) -> None:
        """Take note that the network does not keep up."""
        self.send_queue.pause()

    def resume_writing(self) -> None:
        """Go on with what waited for the network."""
        self.send_queue.resume()
        if not self._ended:
            self._client.writable()

    # --- called by the client's side -----------------------------------------------------------------------

    @property
    def spread(self) -> int:
        """Milliseconds within which everybody here could come back."""
        return self._transports.spread

    def logged_in(self, message: LoggedIn) -> None:
        """Tell the client that its login holds, and lift the deadline."""
        self._cancel_timer()
        self._settle()
        self._transports.keep(self, self._owner, -self.kept)
        self.name = self._owner = message.name
        self._transports.keep(self, self._owner, self.kept)
        self.send_queue.push(self.connection.send(message))

    def say_goodbye(self) -> None:
        """Close because the client asked to."""
        if not self._ended:
            self.send_queue.flush()
            self.send_queue.discard()
            self._transport.close()
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
            self._end("left")

    def hold_reading(self, hold: bool) -> None:
        """Stop to read from the network, or continue once everyone who had it stopped lets go."""
        self._holds += 1 if hold else -1
        if self._partial:
            self.began = math.inf if self._holds else self._loop.time()
        if not self._transport.is_closing() and self._holds == hold:
            (self._transport.pause_reading if hold else self._transport.resume_reading)()

    def close(self, code: Code, text: str, how: str, retry_after: int = 0) -> None:
        """Say why, close, and end; a client that does not read it is cut off after a while."""
        if not self._ended:
            self._cancel_timer()
            self.send_queue.close(self.connection.closing(code, text, retry_after))
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
            self._end(how)

    def give_way(self) -> None:
        """Close in favour of others: there was time to log in."""
        if hasattr(self, "_transport"):
            self.close(Code.TIMEOUT, "no login in time, and others are waiting", "did not log in")

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._settle()
            self._partial, self._delayed, self.began = 0, 0, math.inf
            self._recount()
            self._client.ended(how)

    def _too_late(self) -> None:
        self.close(Code.TIMEOUT, f"no login within {self._login_seconds:g} seconds", "did not log in")

    def _too_slow(self) -> None:
        self._transports.counters.slow_drops += 1
        self._drop(Code.SLOW, "this connection takes in less than it is sent", "too slow")

    def _drop(self, code: Code, text: str, how: str) -> None:
        if self.name and not self._ended:
            _log.warning("client dropped", name=self.name, address=self.address, reason=how)
        self.close(code, text, how)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _notice_half_open(peer: socket.socket) -> None:
    """Have the kernel find out about a peer that vanished without a word."""
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", _KEEPALIVE_SECONDS),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", _KEEPALIVE_SECONDS),  # macOS calls it so
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _PROBE_SECONDS),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", (_KEEPALIVE_SECONDS + _PROBES * _PROBE_SECONDS) * 1000),
    ]
    for level, option, value in options:
        with contextlib.suppress(OSError):
            if hasattr(socket, option):
                peer.setsockopt(level, getattr(socket, option), value)
