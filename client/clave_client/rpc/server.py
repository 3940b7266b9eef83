"""The owner's end of the RPC: accepts windows at a local socket and answers their requests.

Every window has its own bounds: the length of a line, the requests it waits for, and what it does not read. A
window of another user is refused. Knows no method's meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from pathlib import Path
from typing import Any, Final, Self

from clave_client.client import Client
from clave_client.errors import ClientError, UsageError
from clave_client.events import Event, Notice
from clave_client.formats.json_values import BadValue, dump, load
from clave_client.rpc import methods as m
from clave_client.rpc.jsonrpc import (
    MAX_REQUEST_BYTES,
    ErrorCode,
    LineSplitter,
    Request,
    RpcError,
    dump_error,
    encode_answer,
    encode_error,
    encode_request,
    parse_request,
)
from clave_client.rpc.service import Service
from clave_client.store.journal import Journal, is_stored
from clave_client.sync.event_stream import EventStream
from clave_host.local_sockets import bind_private, peer_of

__all__ = ["MAX_WINDOWS", "RpcServer"]

MAX_WINDOWS: Final = 500
"""Most windows attached at once."""

_MAX_RUNNING: Final = 64
"""Most requests of one window that are executed at once; then its next ones wait."""

_MOST_UNSENT: Final = 1000
"""Most events that wait for a window that does not read."""

_READ_BYTES: Final = 64 * 1024
_BACKLOG: Final = 256
_PAGE: Final = 100


class RpcServer:
    """The windows of one profile, answered by a `Service` on `client`, which was started."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._service = Service(client)
        self._windows: set[_Window] = set()
        self._listening: asyncio.Server | None = None
        self._path: Path | None = None
        self._is_closing = False

    async def listen(self, path: Path) -> None:
        """Accept windows at `path`, in a folder whose lock this process holds. Raises `OSError`."""
        listening = bind_private(path, _BACKLOG)
        self._path = path
        self._listening = await asyncio.start_unix_server(
            self._accept, sock=listening, limit=_READ_BYTES, backlog=_BACKLOG
        )

    async def connect(self) -> socket.socket:
        """Return a connected socket of a window in this process."""
        own, other = socket.socketpair()
        other.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=other, limit=_READ_BYTES)
        self._add(reader, writer, is_own=True)
        return own

    @property
    def others(self) -> int:
        """How many windows of other processes are attached."""
        return sum(not window.is_own and not window.is_gone for window in self._windows)

    async def close(self) -> None:
        """Accept no more windows and disconnect all; what they wait for is not answered."""
        self._is_closing = True
        if self._listening is not None:
            self._listening.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        windows = tuple(self._windows)
        for window in windows:
            window.say_closing()
            window.close()
        await asyncio.gather(*(window.ended for window in windows), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closing:
            writer.transport.abort()
            return
        connection = writer.get_extra_info("socket")
        peer = peer_of(connection)
        refusal = None
        if peer is not None and peer.user != os.geteuid():
            refusal = f"this profile belongs to another user than {peer.user}"
        elif len(self._windows) >= MAX_WINDOWS:  # also those whose changes go on without them
            refusal = f"{MAX_WINDOWS} windows are attached to this profile already; close some"
        if refusal is not None:
            writer.write(encode_error(None, UsageError(refusal)))
            writer.close()
            return
        await self._add(reader, writer, is_own=False).ended

    def _add(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_own: bool) -> _Window:
        window = _Window(self._client, self._service, reader, writer, is_own=is_own)
        self._windows.add(window)
        window.ended.add_done_callback(lambda _: self._windows.discard(window))
        return window


class _Window:
    """One attached window, of this process if `is_own`. `ended` is the task that serves it."""

    def __init__(
        self,
        client: Client,
        service: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_own: bool,
    ) -> None:
        self.is_own = is_own
        self.is_gone = False
        self._closed = asyncio.Event()
        self._client = client
        self._service = service
        self._reader = reader
        self._writer = writer
        self._free = asyncio.Semaphore(_MAX_RUNNING)
        self._running: dict[str | int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pushing: asyncio.Task[None] | None = None
        self._greeted = False
        self.ended = asyncio.ensure_future(self._serve())

    def say_closing(self) -> None:
        """Say that the owner ends as it should, if the window reads."""
        if not self._writer.is_closing():
            self._writer.write(encode_request("closing", {}))

    def close(self) -> None:
        """Disconnect, and stop what is being done for this window."""
        self.is_gone = True
        self._closed.set()
        self._writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()

    async def _serve(self) -> None:
        lines = LineSplitter(MAX_REQUEST_BYTES)
        try:
            while data := await self._reader.read(_READ_BYTES):
                for line in lines.feed(data):
                    await self._take(line)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.is_gone = True
            self._writer.close()
            for task in tuple(self._tasks):
                if self._closed.is_set() or task.get_name() != _CHANGE:  # a change goes on without its window
                    task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, line: bytes | None) -> None:
        """Begin what a line asks for; wait while too much of this window is being executed."""
        if self._closed.is_set():
            return
        if line is None:
            text = f"a request has at most {MAX_REQUEST_BYTES} bytes; this one was dropped"
            await self._write(encode_error(None, RpcError(ErrorCode.INVALID_REQUEST, text)))
            return
        if not line.strip():
            return
        try:
            request = parse_request(line)
        except RpcError as error:
            await self._write(encode_error(None, error))
            return
        try:
            method = self._method(request)
        except (RpcError, ClientError) as error:
            if request.id is not None:
                await self._write(encode_error(request.id, error))
            return
        if isinstance(method, m.Cancel | m.Subscribe) or self._service.is_immediate(method):
            await self._execute(request.id, method)  # which waits while the window does not read
            await asyncio.sleep(0)  # the other windows have their turns
            return
        await self._free.acquire()
        if self._closed.is_set():
            return
        name = _CHANGE if isinstance(method, m.Change) else _QUERY
        task = asyncio.create_task(self._execute(request.id, method), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if request.id is not None:
            self._running[request.id] = task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
        self._running = {key: each for key, each in self._running.items() if each is not task}

    def _method(self, request: Request) -> m.Method[Any]:
        """Return the method that a request calls. Raises `RpcError`, or `ClientError` before a greeting."""
        kind = m.METHODS.get(request.method)
        if kind is None:
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"there is no method {request.method[:100]!r}")
        try:
            method = load(kind, request.params)
        except BadValue as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"{request.method}: {error}") from None
        except Exception as error:  # noqa: BLE001  (a defect: reported, and the window goes on)
            raise self._defect(request.method, error) from None
        if isinstance(method, m.Hello):
            self._greeted = True
        elif not self._greeted:
            raise UsageError(f'begin with "hello" and the version of this RPC, {m.RPC_VERSION}')
        return method

    async def _execute(self, id_: str | int | None, method: m.Method[Any]) -> None:
        try:
            answer = await self._answer(id_, method)
        except (ClientError, RpcError) as error:
            answer = encode_error(id_, error)
        except asyncio.CancelledError:
            answer = encode_error(id_, RpcError(ErrorCode.CANCELLED, "cancelled"))
            if self._writer.is_closing():
                raise
        except Exception as error:  # noqa: BLE001  (a defect: reported, and the others go on)
            answer = encode_error(id_, self._defect(method.NAME, error))
        if id_ is not None:
            with contextlib.suppress(OSError):  # the window is gone
                await self._write(answer)

    def _defect(self, method: str, error: Exception) -> RpcError:
        text = f"clave made a mistake in {method}: {type(error).__name__}"
        self._client.sync.emit(Notice(b"", text))
        return RpcError(ErrorCode.INTERNAL_ERROR, text)

    async def _answer(self, id_: str | int | None, method: m.Method[Any]) -> bytes:
        result: Any
        match method:
            case m.Subscribe():
                result = await self._subscribe(method)
            case m.Cancel():
                await asyncio.sleep(0)  # what came with it has begun, and answers that it was cancelled
                running = self._running.get(method.id)
                if running is not None:
                    running.cancel()
                result = None
            case _:
                result = await self._service.execute(method)
        return b"" if id_ is None else encode_answer(id_, dump(result))

    # --- events ---

    async def _subscribe(self, request: m.Subscribe) -> int:
        journal = self._client.sync.journal
        after = request.after
        if after is None:
            after = journal.consumer(request.consumer) if request.consumer else journal.head
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.wait([self._pushing])  # so that nothing of it comes after the answer
        unsent = _Unsent(self._client.events(), live=request.live)
        task = asyncio.create_task(self._push(journal, unsent, after), name=_QUERY)
        self._pushing = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: unsent.close())
        return journal.head

    async def _push(self, journal: Journal, unsent: _Unsent, after: int) -> None:
        """Send stored events after a number, then everything that happens."""
        try:
            after = await self._push_stored(journal, after)
            async for event in unsent:
                if event is None:
                    after = await self._push_stored(journal, after)
                else:
                    await self._notify("event", {"number": 0, "event": dump(event)})
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001  (a defect is reported, too: the window has to know)
            ended = error if isinstance(error, ClientError) else self._defect(m.Subscribe.NAME, error)
            with contextlib.suppress(OSError):
                await self._notify("end", {"error": dump_error(ended)})

    async def _push_stored(self, journal: Journal, after: int) -> int:
        """Send the stored events after a number; return that of the last one."""
        while after < journal.head:
            page = journal.read(after, _PAGE)
            if page.gap:
                await self._notify("gap", {"first": page.gap})
            for number, event in page.events:
                await self._notify("event", {"number": number, "event": event})
            if not page.events:
                break
            after = page.events[-1].number
        return after

    async def _notify(self, method: str, params: dict[str, Any]) -> None:
        await self._write(encode_request(method, params))

    async def _write(self, line: bytes) -> None:
        """Send a line; wait while the window does not read."""
        if self._writer.is_closing():
            raise BrokenPipeError
        self._writer.write(line)
        await self._writer.drain()


class _Unsent:
    """What happened that a window was not sent yet: an asynchronous iterator over at most 1,000 events.

    None is in place of stored events, which are read from the journal when the window takes them: so a window
    that does not read costs the owner no messages. Of others the oldest are dropped.
    """

    def __init__(self, stream: EventStream[Event], *, live: bool) -> None:
        self._stream = stream
        self._live = live
        self._waiting: deque[Event | None] = deque()
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._has_ended = False
        self._collecting = asyncio.create_task(self._collect())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | None:
        """Return the next event. Raises what ended the stream."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._has_ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Collect no more."""
        self._collecting.cancel()
        self._stream.close()

    async def _collect(self) -> None:
        try:
            async for event in self._stream:
                self._put(event)
        except Exception as error:  # noqa: BLE001  (raised in whoever reads)
            self._error = error
        finally:
            self._has_ended = True
            self._changed.set()

    def _put(self, event: Event) -> None:
        if is_stored(event):
            if not self._waiting or self._waiting[-1] is not None:
                self._waiting.append(None)
        elif self._live:
            self._waiting.append(event)
        if len(self._waiting) > _MOST_UNSENT:
            del self._waiting[1 if self._waiting[0] is None else 0]  # not what stands for stored ones
        self._changed.set()


_CHANGE, _QUERY = "change", "query"
