"""Network addresses as people write them, and the network that one party is taken to control."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["join_address", "network_of", "split_address"]

_IPV6_PREFIX: Final = 64
"""Bits: the smallest network that one IPv6 customer gets."""


def split_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT` into host and port (0 to 65535); the host may be empty.

    With `default_port` the port may be left out, also of a bare `IPV6`. Raises `ValueError`.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not an address")
        port = rest[1:] if rest else None
    elif text.count(":") > 1:
        host, port = text, None
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
    if "[" in host or "]" in host:
        raise ValueError(f"{text!r} is not an address")
    if port is None and default_port is not None:
        return host, default_port
    if port is None or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r} has no port")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Write an address as `split_address` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network_of(ip: str) -> str:
    """Return an IPv4 address itself, and of an IPv6 address its /64 network, e.g. `2001:db8::/64`.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. Raises `ValueError` for anything
    that is no address.
    """
    if ":" not in ip:
        return str(ipaddress.IPv4Address(ip))
    address = ipaddress.IPv6Address(ip.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
