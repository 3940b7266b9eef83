"""PROXY protocol version 2: the header in which a trusted proxy names the client of a connection.

Knows the header's bytes only. Source: HAProxy's `proxy-protocol.txt`, section 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from clave_server.errors import ProxyError

__all__ = ["FIXED_BYTES", "Peer", "read_peer", "rest_length"]

FIXED_BYTES: Final = 16
"""Bytes of the header's first part: signature, version and command, family, length of the rest."""

Peer = tuple[str, int]
"""An IP address and a port."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXIED = 0x20, 0x21
_FORMATS: Final = {0x11: struct.Struct(">4s4sHH"), 0x21: struct.Struct(">16s16sHH")}
"""TCP over IPv4 and over IPv6: source and destination addresses, then ports."""

_MAX_REST: Final = 536
"""Bytes read after the fixed part; the specification says that every header fits."""


def rest_length(fixed: bytes) -> int:
    """Return how many bytes follow the fixed part (`FIXED_BYTES` bytes). Raises `ProxyError`."""
    if fixed[:12] != _SIGNATURE or fixed[12] not in (_LOCAL, _PROXIED):
        raise ProxyError("a proxy's connection does not begin with a PROXY header of version 2; set it there")
    length = int.from_bytes(fixed[14:16], "big")
    if length > _MAX_REST:
        raise ProxyError(f"a PROXY header of {length} bytes; at most {_MAX_REST} are read")
    return length


def read_peer(fixed: bytes, rest: bytes) -> Peer | None:
    """Return the client's address; None for the proxy itself (a health check). Raises `ProxyError`."""
    if fixed[12] == _LOCAL:
        return None
    form = _FORMATS.get(fixed[13])
    if form is None or len(rest) < form.size:
        raise ProxyError("a PROXY header names no TCP peer")
    source, _, port, _ = form.unpack_from(rest)
    return str(ipaddress.ip_address(source)), port
