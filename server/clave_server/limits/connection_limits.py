"""Limits on connections: how often one network connects, how many are open, and who is banned.

Knows no sockets. A network is an IPv4 address or a /64 of IPv6 (`network_of`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clave_host.addresses import network_of
from clave_server.errors import Refusal
from clave_server.limits.bans import Bans
from clave_server.limits.token_buckets import TokenBuckets
from clave_wire.messages import Code

__all__ = ["ConnectionCaps", "ConnectionLimits"]

_BURST_SECONDS: Final = 10
"""A network may make this many seconds' worth of connections at once."""

_MAX_NETWORKS: Final = 100_000
"""Networks whose rate is remembered at a time."""


@dataclass(frozen=True)
class ConnectionCaps:
    """Connections open in all, of one network, and new ones of one network per second (0 for no limit)."""

    in_all: int
    of_network: int
    per_second: int = 0


class ConnectionLimits:
    """Counts connections and refuses those above a cap or banned.

    `count_rate_refusal` is called for each connection that comes too soon after others of its network.
    """

    def __init__(self, caps: ConnectionCaps, bans: Bans, count_rate_refusal: Callable[[], None]) -> None:
        self.bans = bans
        self._caps = caps
        self._count_rate_refusal = count_rate_refusal
        rate = caps.per_second
        self._rates = TokenBuckets[str](rate, rate * _BURST_SECONDS, _MAX_NETWORKS) if rate else None
        self._open_of: Counter[str] = Counter()
        self._open = 0

    def check_rate(self, ip: str) -> None:
        """Raise `Refusal` if this address's network connects too often; asked before a TLS handshake."""
        if self._rates is not None and self._rates.take(network_of(ip), time.monotonic()):
            self._count_rate_refusal()
            raise Refusal(Code.FULL, "too many connections from this address")

    def add(self, ip: str) -> None:
        """Count a connection as open. Raises `Refusal` with `Code.FULL` or `Code.BANNED`."""
        self.bans.check_address(ip)
        if self._open >= self._caps.in_all:
            raise Refusal(Code.FULL, f"this relay is full: it takes {self._caps.in_all} connections")
        network = network_of(ip)
        if self._open_of[network] >= self._caps.of_network:
            raise Refusal(Code.FULL, f"this relay takes {self._caps.of_network} connections from one address")
        self._open += 1
        self._open_of[network] += 1

    def remove(self, ip: str) -> None:
        """Count a connection that was added as closed."""
        self._open -= 1
        network = network_of(ip)
        self._open_of[network] -= 1
        if not self._open_of[network]:
            del self._open_of[network]
