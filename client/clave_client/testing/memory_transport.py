"""A pair of connected asyncio transports in memory. Knows no frames."""

from __future__ import annotations

import asyncio
from typing import Any

from clave_wire.connection import ALPN

__all__ = ["MemoryTransport", "connect_pair"]


class MemoryTransport(asyncio.Transport):
    """One end of a connection: bytes written here arrive at the other end's protocol, in order.

    `certificate` (DER) is what the end finds where TLS would have it.
    """

    def __init__(self, protocol: asyncio.Protocol, certificate: bytes) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._tls = _ShownCertificate(certificate)
        self._is_closing = False
        self._is_lost = False
        self._is_paused = False
        self._held: list[bytes] = []
        self.other: MemoryTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the TLS object that shows the certificate, a socket without options, or the default."""
        return {"ssl_object": self._tls, "socket": _NoSocket()}.get(name, default)

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called here, or the other end has closed."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes to the other end; drop them once this end is closing."""
        if not self._is_closing:
            self._loop.call_soon(self.other.receive, bytes(data))

    def pause_reading(self) -> None:
        """Keep what arrives until `resume_reading`."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Pass on what was kept, and what arrives from now on."""
        self._is_paused = False
        self._loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        held = b"".join(self._held)
        if held and not self._is_paused:
            self._held = []
            self.receive(held)

    def close(self) -> None:
        """Close both ends, after what was written has arrived."""
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self.lose, None)
            self._loop.call_soon(self.other.lose, None)

    def abort(self) -> None:
        """Close both ends as a broken connection does; what is on its way to this end is lost."""
        self._is_closing = True
        self._loop.call_soon(self.lose, None)
        self._loop.call_soon(self.other.lose, ConnectionResetError("the connection was reset"))

    # --- called by the other end ---

    def receive(self, data: bytes) -> None:
        """Pass bytes to the protocol, unless this end is closing."""
        if self._is_paused or self._held:
            self._held.append(data)
        elif not self._is_closing:
            self._protocol.data_received(data)

    def lose(self, error: Exception | None) -> None:
        """Tell the protocol, once, that the connection is over."""
        self._is_closing = True
        if not self._is_lost:
            self._is_lost = True
            self._protocol.connection_lost(error)


class _ShownCertificate:
    """What a client asks of its TLS connection."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def selected_alpn_protocol(self) -> str:
        return ALPN

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return self._certificate


class _NoSocket:
    """Takes socket options and ignores them."""

    def setsockopt(self, *_: object) -> None:
        """Do nothing: there is no kernel to tell."""


def connect_pair(client: asyncio.Protocol, relay: asyncio.Protocol, certificate: bytes) -> MemoryTransport:
    """Connect two protocols; return the client's end."""
    ends = MemoryTransport(client, certificate), MemoryTransport(relay, certificate)
    ends[0].other, ends[1].other = ends[1], ends[0]
    relay.connection_made(ends[1])
    client.connection_made(ends[0])
    return ends[0]
