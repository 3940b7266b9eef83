"""A relay's address: host and port, and with its certificate's fingerprint. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clave_client.errors import UsageError
from clave_host.addresses import join_address, split_address

__all__ = ["DEFAULT_PORT", "RelayAddress", "RelayInfo"]

DEFAULT_PORT = 7878


@dataclass(frozen=True)
class RelayAddress:
    """Where a relay listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> RelayAddress:
        """Parse `HOST`, `HOST:PORT`, `IPV6`, `[IPV6]` or `[IPV6]:PORT`; raises `UsageError`."""
        try:
            host, port = split_address(text, DEFAULT_PORT)
        except ValueError:
            host, port = "", 0
        if not host or not port:
            raise UsageError(
                f"{text!r} is not an address; write HOST:PORT, as in chat.example.org:{DEFAULT_PORT}"
            )
        return cls(host, port)

    def __str__(self) -> str:
        return join_address(self.host, self.port)


class RelayInfo(NamedTuple):
    """A relay's address, and the fingerprint of its pinned certificate ("" before the first contact)."""

    address: str
    fingerprint: str
