"""Sends one message through the owner of a profile by a blocking socket: little is imported, so it is fast.

Whatever is more than "sent" is left to a `Session`, with the same key: so nothing is sent twice.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from clave_client.errors import ProfileLocked
from clave_client.rpc import MAX_ANSWER_BYTES, RPC_VERSION
from clave_client.store.folders import SOCKET_NAME
from clave_host.local_sockets import connect_to, peer_of

__all__ = ["BlockingSend", "send_by_owner"]

_ANSWER_SECONDS: Final = 2.0


class BlockingSend(NamedTuple):
    """What became of a message: JSON values as `methods.FindRoom` and `methods.Send` answer."""

    room: dict[str, Any]
    result: dict[str, Any]

    def __repr__(self) -> str:
        return "<BlockingSend>"


def send_by_owner(folder: Path, *, room: str, text: str, wait: float, key: str) -> BlockingSend | None:
    """Send a message by the process that owns the profile in `folder`; `wait` as in `methods.Send`.

    Returns None when there is none, when it refuses, and when there is something to tell first: then ask by a
    `Session`. Raises `ProfileLocked` when it does not answer within 2 s.
    """
    try:
        with connect_to(folder / SOCKET_NAME, _ANSWER_SECONDS) as connection:
            peer = peer_of(connection)
            if peer is not None and peer.user != os.geteuid():
                return None
            calls = _Calls(connection)
            try:
                owner = calls.call("hello", rpc=RPC_VERSION)
            except TimeoutError:
                raise ProfileLocked(folder.name, 0 if peer is None else peer.process) from None
            if owner["rpc"] != RPC_VERSION:
                return None
            found = calls.call("rooms.find", room=room)
            connection.settimeout(wait + _ANSWER_SECONDS)
            ends_at = time.monotonic() + wait
            news = calls.call("room.catch_up", room=found["id"], wait=wait)
            if news["notices"] or news["changes"]:
                return None
            wait = max(0.0, ends_at - time.monotonic())
            told = news["number"]
            result = calls.call("message.send", room=found["id"], text=text, wait=wait, told=told, key=key)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return BlockingSend(found, result)


class _Calls:
    """Calls methods one after the other on a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._last_id = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and return its result. Raises `OSError`, or `KeyError` for an error."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        result: dict[str, Any] = json.loads(self._read_line())["result"]
        return result

    def _read_line(self) -> bytes:
        while b"\n" not in self._received:
            more = self._connection.recv(1 << 16)
            if not more or len(self._received) > MAX_ANSWER_BYTES:
                raise ConnectionError
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return line
