"""How soon client and relay notice a silent peer: TCP keepalive, 25 seconds."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

__all__ = ["enable_keepalive"]

_IDLE_SECONDS: Final = 10
_PROBE_SECONDS: Final = 5
_PROBES: Final = 3

_OPTIONS: Final = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", _IDLE_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPALIVE", _IDLE_SECONDS),  # macOS's name of TCP_KEEPIDLE
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _PROBE_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", (_IDLE_SECONDS + _PROBES * _PROBE_SECONDS) * 1000),
)


def enable_keepalive(connection: socket.socket) -> None:
    """Have the kernel close `connection` when its peer has not answered for 25 seconds.

    Options that this system does not have are left out.
    """
    for level, option, value in _OPTIONS:
        with contextlib.suppress(OSError):
            if hasattr(socket, option):
                connection.setsockopt(level, getattr(socket, option), value)
