"""A relay's address: host and port. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass

from clave_client.errors import UsageError

__all__ = ["DEFAULT_PORT", "RelayAddress"]

DEFAULT_PORT = 7878


@dataclass(frozen=True)
class RelayAddress:
    """Where a relay listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> RelayAddress:
        """Parse `HOST`, `HOST:PORT`, `IPV6`, `[IPV6]` or `[IPV6]:PORT`; raises `UsageError`."""
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
            host, port = text, str(DEFAULT_PORT)
        host = host.removeprefix("[").removesuffix("]")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise UsageError(
                f"{text!r} is not an address; write HOST:PORT, as in chat.example.org:{DEFAULT_PORT}"
            )
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
