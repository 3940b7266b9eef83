"""Unix sockets in a folder of one user: paths of any length, and which user and process is at the other end.

Knows no protocol.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Peer", "bind_private", "connect_to", "peer_of"]

_MAX_PATH_BYTES: Final = 100
"""Bytes of a path that fit into a socket's address, which has 104 to 108 by system."""

_CREDENTIALS: Final = struct.Struct("=iII")
"""Linux's `ucred`: process, user, group."""

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
"""macOS's options of a local socket, which Python does not name."""

_XUCRED: Final = struct.Struct("=IIh16I")
"""macOS's `xucred`: version, user, number of groups, groups."""


class Peer(NamedTuple):
    """The process at the other end of a socket, as its kernel says; for a listener, who made it listen.

    `process` is 0 where it is not known.
    """

    user: int
    process: int


def bind_private(path: Path, backlog: int) -> socket.socket:
    """Listen at `path` with mode 0600, not blocking; replaces what a killed process left there.

    The caller holds the folder's lock. Raises `OSError`.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _reachable(path) as reached:
            listening.bind(reached)
        path.chmod(0o600)
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def connect_to(path: Path, timeout: float) -> socket.socket:
    """Connect to the socket at `path`; `timeout`, in seconds, is set for all that is done with it.

    Raises `OSError`; of that `FileNotFoundError` or `ConnectionRefusedError` when nobody listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with _reachable(path) as reached:
            connection.connect(reached)
    except OSError:
        connection.close()
        raise
    return connection


def peer_of(connection: socket.socket) -> Peer | None:
    """Return who is at the other end, None on a system that does not say. Raises `OSError`."""
    peer: Peer | None = None
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        process, user, _ = _CREDENTIALS.unpack(credentials)
        peer = Peer(user, process)
    elif sys.platform == "darwin":
        _, user, *_ = _XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
        (process,) = struct.unpack("=i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
        peer = Peer(user, process)
    return peer


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Yield a path of the socket that fits into an address, by its folder's descriptor if need be."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
