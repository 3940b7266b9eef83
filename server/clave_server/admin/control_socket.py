"""The control socket of a running relay: one request in, one answer out, each a line of JSON.

Knows no request's meaning. The socket is in the data folder, which only the relay's user and root can open;
so every client of it is the operator.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from clave_host.local_sockets import bind_private, connect_to, peer_of
from clave_server.admin.requests import AdminRequest, AdminRequests
from clave_server.errors import AdminError, NotRunning, ServerError, StartError
from clave_wire.text import sanitize

__all__ = ["REQUEST_SECONDS", "ControlSocket", "listener_of", "send_request"]

_MAX_REQUEST_BYTES: Final = 64 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
REQUEST_SECONDS: Final = 10.0
"""How long a client may take to send its request."""

_BACKLOG: Final = 100
_ACCEPT_PAUSE_SECONDS: Final = 1.0
"""Before accepting again after an error; most likely no descriptors are left."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class _Answer(msgspec.Struct, frozen=True):
    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class ControlSocket:
    """The listening socket. Made by `open` on the running loop; ended by `close`."""

    def __init__(
        self, path: Path, listening: socket.socket, handle: Callable[[AdminRequest[Any]], Awaitable[object]]
    ) -> None:
        self._path = path
        self._listening = listening
        self._handle = handle
        self._decoder = msgspec.json.Decoder(AdminRequests)
        self._loop = asyncio.get_running_loop()
        self._clients: dict[asyncio.Task[None], socket.socket] = {}
        self._failing = False
        self._resume()

    @classmethod
    async def open(
        cls, path: Path, handle: Callable[[AdminRequest[Any]], Awaitable[object]]
    ) -> ControlSocket:
        """Listen at `path`, in a data folder that this process holds. Raises `StartError`."""
        try:
            return cls(path, bind_private(path, _BACKLOG), handle)
        except OSError as error:
            raise StartError(f"cannot make the control socket {path}: {error.strerror or error}") from None

    async def close(self) -> None:
        """Stop listening, then end all clients; requests being handled are not answered."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        self._path.unlink(missing_ok=True)
        clients, self._clients = self._clients, {}
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for connection in clients.values():
            connection.close()  # of a task that was cancelled before it began; else it is closed already

    def _resume(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        """Accept one client and serve it in a task that `close` knows from now on."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if not self._failing:
                _log.warning("control connection not accepted, tried again", reason=str(error))
            self._failing = True
            self._loop.remove_reader(self._listening)
            self._loop.call_later(_ACCEPT_PAUSE_SECONDS, self._resume)
            return
        self._failing = False
        connection.setblocking(False)
        client = self._loop.create_task(self._serve(connection))
        self._clients[client] = connection
        client.add_done_callback(lambda task: self._clients.pop(task, None))

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_MAX_REQUEST_BYTES)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            if line:
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # it closed, sent nothing in time, or too much
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> _Answer:
        try:
            request = self._decoder.decode(line)
        except (ValueError, RecursionError) as error:
            return _Answer(error=f"the running relay does not understand this order: {error}; restart it")
        try:
            return _Answer(msgspec.Raw(msgspec.json.encode(await self._handle(request))))
        except ServerError as error:
            return _Answer(error=sanitize(str(error)))
        except Exception:  # noqa: BLE001  (a defect: reported, and the socket goes on)
            _log.exception("request of the operator failed", request=type(request).__name__)
            return _Answer(error="the relay made a mistake; its log says more")


def send_request(path: Path, request: AdminRequest[_T]) -> _T:
    """Send a request to the relay that listens at `path`; return its answer.

    Raises `NotRunning` if none listens, `AdminError` if it does not answer or refuses, or if the folder or
    the listening process belongs to another user: a request may hold a secret, and its answer is trusted.
    """
    try:
        owner = path.parent.stat().st_uid
        if os.geteuid() not in (owner, 0):
            raise AdminError(f"the data folder {path.parent} belongs to another user; run this as that user")
        with connect_to(path, request.TIMEOUT) as connection:
            if listener_of(connection, path) != owner:
                raise AdminError(f"who listens at {path} is not the data folder's owner; nothing was ordered")
            connection.sendall(msgspec.json.encode(request) + b"\n")
            line = _read_line(connection)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(
            f"no relay runs on the data folder {path.parent}; start it, or name its --data"
        ) from None
    except OSError as error:
        raise AdminError(f"the relay does not answer at {path}: {error.strerror or error}") from None
    try:
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.error:
            raise AdminError(answer.error)
        result: _T = msgspec.json.decode(answer.answer, type=request.ANSWER)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AdminError(f"the relay at {path} stopped or is of another version; try again") from None
    return result


def listener_of(connection: socket.socket, path: Path) -> int:
    """Return the user id of the listening process; where it is not known, of the socket's owner."""
    peer = peer_of(connection)
    return path.lstat().st_uid if peer is None else peer.user


def _read_line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) < _MAX_ANSWER_BYTES:
        more = connection.recv(1 << 16)
        if not more:
            break
        received += more
    return bytes(received)
