"""What runs without a screen: `clave daemon` keeps a profile open, `clave rpc` bridges its RPC to pipes.

Knows no options.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

from clave_client import events
from clave_client.errors import ClientError
from clave_client.formats.json_values import BadValue, dump, load
from clave_client.rpc import methods as m
from clave_client.rpc.jsonrpc import (
    MAX_REQUEST_BYTES,
    ErrorCode,
    Request,
    RpcError,
    dump_error,
    encode_answer,
    encode_error,
    encode_request,
    parse_request,
)
from clave_client.rpc.session import Session
from clave_client.ui.input_lines import read_byte_lines
from clave_client.ui.output import Output
from clave_client.ui.warnings import print_warning

__all__ = ["run_bridge", "run_daemon"]

_MOST_RUNNING = 64
"""Most requests of the bridge that are not answered; then reading pauses."""


async def run_daemon(make_session: Callable[[], Session]) -> None:
    """Keep the profile open until the relay refuses it for good, which raises, or this is cancelled."""
    async with make_session() as session:
        if session.serving_failed:
            print_warning(f"other programs cannot use this profile now: {session.serving_failed}")
        await session.subscribe()
        offline = False
        while True:
            event = (await session.next_event()).event
            if isinstance(event, events.Disconnected) and not offline:
                print_warning(f"offline: {event.reason}")
            elif isinstance(event, events.Connected) and offline:
                print_warning("online again")
            if isinstance(event, events.Connected | events.Disconnected):
                offline = isinstance(event, events.Disconnected)


async def run_bridge(make_session: Callable[[], Session]) -> None:
    """Answer the requests on standard input until it ends and all are answered."""
    async with make_session() as session:
        bridge = _Bridge(session)
        try:
            async for line in read_byte_lines(sys.stdin.fileno(), MAX_REQUEST_BYTES):
                if line is None:
                    text = f"a request has at most {MAX_REQUEST_BYTES} bytes; this one was dropped"
                    await bridge.output.write(encode_error(None, RpcError(ErrorCode.INVALID_REQUEST, text)))
                elif line.strip():
                    await bridge.take(line)
            await bridge.finish()
        finally:
            bridge.stop()


class _Bridge:
    """The requests of one program on a session, which repeats them when the owner ends."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.output = Output(sys.stdout.fileno())
        self._free = asyncio.Semaphore(_MOST_RUNNING)
        self._running: dict[str | int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pushing: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None

    async def take(self, line: bytes) -> None:
        """Begin what a line asks for. Raises `OSError` when an answer could not be written."""
        self._check()
        try:
            request = parse_request(line)
        except RpcError as error:
            await self.output.write(encode_error(None, error))
            return
        if request.method == m.Cancel.NAME:
            await self._execute(request)
            return
        await self._free.acquire()
        task = asyncio.create_task(self._execute(request))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if request.id is not None:
            self._running[request.id] = task

    async def finish(self) -> None:
        """Wait until all requests are answered."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._check()

    def _check(self) -> None:
        """Raise the error that writing ended with, if any."""
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Send no more events."""
        if self._pushing is not None:
            self._pushing.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
        self._running = {key: each for key, each in self._running.items() if each is not task}
        if not task.cancelled() and isinstance(task.exception(), OSError):
            self._failed = task.exception()

    async def _execute(self, request: Request) -> None:
        try:
            result = await self._answer(request)
        except (ClientError, RpcError) as error:
            answer = encode_error(request.id, error)
        except BadValue as error:
            text = f"{request.method}: {error}"
            answer = encode_error(request.id, RpcError(ErrorCode.INVALID_PARAMS, text))
        except asyncio.CancelledError:
            answer = encode_error(request.id, RpcError(ErrorCode.CANCELLED, "cancelled"))
        else:
            answer = encode_answer(request.id, result) if request.id is not None else b""
        if request.id is not None:
            await self.output.write(answer)

    async def _answer(self, request: Request) -> object:
        match request.method:
            case m.Hello.NAME:
                load(m.Hello, request.params)
                return dump(self._session.info)
            case m.Cancel.NAME:
                await asyncio.sleep(0)  # what came with it has begun, and answers that it was cancelled
                running = self._running.get(load(m.Cancel, request.params).id)
                if running is not None:
                    running.cancel()
                return None
            case m.Subscribe.NAME:
                wanted = load(m.Subscribe, request.params)
                head = await self._session.subscribe(
                    after=wanted.after, consumer=wanted.consumer, live=wanted.live
                )
                if self._pushing is None:
                    self._pushing = asyncio.create_task(self._push())
                return head
            case name:
                return await self._session.call(name, request.params)

    async def _push(self) -> None:
        try:
            while True:
                number, event = await self._session.next_event()
                if event is None:
                    await self.output.write(encode_request("gap", {"first": number + 1}))
                else:
                    await self.output.write(encode_request("event", {"number": number, "event": dump(event)}))
        except ClientError as error:
            with contextlib.suppress(OSError):
                await self.output.write(encode_request("end", {"error": dump_error(error)}))
        except OSError as error:
            self._failed = error
