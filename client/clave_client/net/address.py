"""A relay's address: host and port, and with its certificate's fingerprint. Knows no network."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from clave_client.errors import UsageError
from clave_host.addresses import join_address, split_address

__all__ = ["DEFAULT_PORT", "RelayAddress", "RelayInfo"]

DEFAULT_PORT = 7878

_LABEL: Final = re.compile(r"[0-9A-Za-z_-]{1,63}")
_MOST_NAME_CHARACTERS: Final = 253


@dataclass(frozen=True)
class RelayAddress:
    """Where a relay listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> RelayAddress:
        """Parse `HOST`, `HOST:PORT`, `IPV6`, `[IPV6]` or `[IPV6]:PORT`; raises `UsageError`.

        A name with letters beyond ASCII becomes the ASCII name that is looked up (`xn--...`, RFC 3490).
        """
        try:
            host, port = split_address(text, DEFAULT_PORT)
        except ValueError:
            host, port = "", 0
        if not host or not port:
            raise UsageError(
                f"{text!r} is not an address; write HOST:PORT, as in chat.example.org:{DEFAULT_PORT}"
            )
        return cls(_checked(host), port)

    def __str__(self) -> str:
        return join_address(self.host, self.port)


def _checked(host: str) -> str:
    """Return a host as it is looked up. Raises `UsageError` if it is no address and cannot be a name."""
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise UsageError(f"{host!r} is no IPv6 address; check the relay's address") from None
        return host
    name = host
    if not host.isascii():
        try:
            name = host.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
    labels = name.removesuffix(".").split(".")
    if len(name) > _MOST_NAME_CHARACTERS + name.endswith(".") or not all(map(_LABEL.fullmatch, labels)):
        raise UsageError(
            f"{host!r} cannot be a host's name: its parts have 1 to 63 letters, digits or hyphens"
            f" each, {_MOST_NAME_CHARACTERS} in all; check the relay's address"
        )
    return name


class RelayInfo(NamedTuple):
    """A relay's address, and the fingerprint of its pinned certificate ("" before the first contact)."""

    address: str
    fingerprint: str
