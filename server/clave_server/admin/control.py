"""The control socket of a running relay: an operator's order in, its answer out, one line of JSON each.

Knows no order's work. The socket lies in the data folder, which only the relay's user and root can open:
whoever reaches it is the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from clave_server.admin.requests import AdminRequest, AdminRequests
from clave_server.errors import AdminError, NotRunning, ServerError, StartError
from clave_wire.text import sanitize

__all__ = ["ControlSocket", "ask"]

_MAX_ORDER_BYTES: Final = 64 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_ORDER_SECONDS: Final = 10.0
"""How long somebody who connected may take to say what for."""

_MAX_PATH_BYTES: Final = 100
"""A socket's address holds 104 to 108 bytes, by system."""

_CREDENTIALS: Final = struct.Struct("=iII")
"""Linux' `ucred`: process, user, group."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class _Answer(msgspec.Struct, frozen=True):
    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class ControlSocket:
    """The listening socket. Made by `open`, on the running loop; `close` ends it."""

    def __init__(self, path: Path, carry_out: Callable[[AdminRequest[Any]], Awaitable[object]]) -> None:
        self._path = path
        self._carry_out = carry_out
        self._decoder = msgspec.json.Decoder(AdminRequests)
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @classmethod
    async def open(
        cls, path: Path, carry_out: Callable[[AdminRequest[Any]], Awaitable[object]]
    ) -> ControlSocket:
        """Listen at `path`, in a data folder that is held. Raises `StartError`."""
        control = cls(path, carry_out)
        try:
            listening = _bind(path)
        except OSError as error:
            raise StartError(f"cannot make the control socket {path}: {error.strerror or error}") from None
        control._server = await asyncio.start_unix_server(
            control._talk, sock=listening, limit=_MAX_ORDER_BYTES
        )
        return control

    async def close(self) -> None:
        """Take no more orders; one in work is left unanswered."""
        self._server.close()
        self._path.unlink(missing_ok=True)
        for _ in range(3):  # turns of the loop in which whoever was accepted last begins to talk
            await asyncio.sleep(0)
        for talk in tuple(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  (start_unix_server makes one for each connection)
        self._talks.add(task)
        try:
            async with asyncio.timeout(_ORDER_SECONDS):
                line = await reader.readline()
            if line:
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # gone, silent, or an order longer than any
            pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> _Answer:
        try:
            order = self._decoder.decode(line)
        except (ValueError, RecursionError) as error:
            return _Answer(error=f"the running relay does not understand this order: {error}; restart it")
        try:
            return _Answer(msgspec.Raw(msgspec.json.encode(await self._carry_out(order))))
        except ServerError as error:
            return _Answer(error=sanitize(str(error)))
        except Exception:  # noqa: BLE001  (a defect: reported, and the socket goes on)
            _log.exception("an operator's order failed", order=type(order).__name__)
            return _Answer(error="the relay made a mistake; its log says more")


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a relay that was killed: the folder is ours
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _reachable(path) as reached:
            listening.bind(reached)
        path.chmod(0o600)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def ask(path: Path, order: AdminRequest[_T]) -> _T:
    """Have the relay that listens at `path` carry out an order, and wait for its answer.

    Raises `NotRunning` when none listens, `AdminError` when it does not answer or refuses, or when the folder
    or who listens there is somebody else's: an order may hold a secret, and an answer is believed.
    """
    try:
        owner = path.parent.stat().st_uid
        if os.geteuid() not in (owner, 0):
            raise AdminError(f"the data folder {path.parent} belongs to another user; run this as that user")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(order.TIMEOUT)
            with _reachable(path) as reached:
                connection.connect(reached)
            if _listener_of(connection, path) != owner:
                raise AdminError(f"who listens at {path} is not the data folder's owner; nothing was ordered")
            connection.sendall(msgspec.json.encode(order) + b"\n")
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
        result: _T = msgspec.json.decode(answer.answer, type=order.ANSWER)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AdminError(f"the relay at {path} stopped or is of another version; try again") from None
    return result


def _listener_of(connection: socket.socket, path: Path) -> int:
    """Return the user that listens at the other end; where systems do not tell, whose the socket is."""
    if sys.platform != "linux":
        return path.lstat().st_uid
    _, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(user)


def _read_line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) < _MAX_ANSWER_BYTES:
        more = connection.recv(1 << 16)
        if not more:
            break
        received += more
    return bytes(received)


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Name a socket so that the name fits into an address, through its folder's descriptor if need be."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
