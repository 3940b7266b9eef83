"""systemd's protocol for services: take passed sockets, report readiness. Knows no relay.

Without a service manager no sockets are passed and reports go nowhere.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from clave_server.errors import StartError

__all__ = ["notify", "passed_sockets"]

_FIRST: Final = 3
"""The first descriptor passed, after the standard streams (sd_listen_fds(3))."""

_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets passed to this process, if any; a second call returns none.

    Raises `StartError` when what was passed does not listen for TCP.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_adopt(descriptor) for descriptor in range(_FIRST, _FIRST + int(count))]


def notify(state: str) -> None:
    """Send `state` to the service manager, e.g. `READY=1` or `STOPPING=1` (sd_notify(3)), if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:  # the manager has ended
            return


def _adopt(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        passed = socket.socket(fileno=descriptor)
        listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(
            f"descriptor {descriptor} passed with LISTEN_FDS is of no use: {error.strerror}"
        ) from None
    if not listening or passed.type is not socket.SOCK_STREAM or passed.family not in _FAMILIES:
        raise StartError(f"descriptor {descriptor} passed with LISTEN_FDS is no listening TCP socket")
    passed.setblocking(False)
    return passed
