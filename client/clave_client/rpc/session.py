"""A window's end of the RPC: attaches to the owner of a profile, or becomes it; and stays attached.

When the owner ends, the session attaches to the next one or becomes it, and repeats what was not answered;
changes have keys, so none is done twice. Events go on after the last one seen. Knows no window's commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import msgspec

from clave_client.client import Client
from clave_client.errors import (
    ClientError,
    OwnerOutdated,
    PassphraseNeeded,
    ProfileLocked,
    ProfileOfOther,
    UsageError,
    WrongPassphrase,
)
from clave_client.formats.json_values import BadValue, dump, load, load_event
from clave_client.rpc import MAX_ANSWER_BYTES
from clave_client.rpc import methods as m
from clave_client.rpc.event_buffer import EventBuffer, SessionEvent
from clave_client.rpc.jsonrpc import MAX_REQUEST_BYTES, LineSplitter, encode_request, error_from
from clave_client.rpc.owner import Owner
from clave_client.rpc.values import OwnerInfo
from clave_client.store.folders import SOCKET_NAME
from clave_client.store.profile import Profile
from clave_client.store.schema import MIGRATIONS
from clave_host.local_sockets import connect_to, peer_of
from clave_host.version import VERSION

__all__ = ["STALL_SECONDS", "Session"]

STALL_SECONDS: Final = 2.0
"""How long an owner may take to answer a ping before it is named."""

_POLL_SECONDS: Final = 0.05
"""Between two attempts to attach or to become the owner."""

_HANDOVER_SECONDS: Final = 1.0
"""How long a session that would have to ask for a passphrase leaves the profile to others."""

_TICKS: Final = 4
"""How often an owner that owes an answer is looked at within that time."""

_MOST_OWNERS: Final = 5
"""How many owners may crash before they answer a request: perhaps it is what ends them."""

_READ_BYTES: Final = 256 * 1024

T = TypeVar("T")


@dataclass
class _Pending:
    name: str
    params: dict[str, Any] = field(repr=False)
    answer: asyncio.Future[Any]
    asked_at: float
    owners: int = 1
    """How many owners were asked, except those that said that they end."""


class Session:
    """A window's connection to the profile's owner. Use it as an async context manager.

    `make_client` returns the client to own the profile with. `ask` asks the user for the passphrase when the
    owner has ended and this session has no key; a wrong one is asked for again, `tries` times in all. With
    `patient` a stopped owner is waited for, and `on_stall` is called with its process number, then with 0
    when it or another one answers; otherwise requests raise `ProfileLocked` then. `on_attached` is called at
    each new owner.
    """

    def __init__(
        self,
        profile: Profile,
        make_client: Callable[[Profile], Client],
        *,
        ask: Callable[[], Awaitable[str]] | None = None,
        tries: int = 1,
        patient: bool = False,
        on_stall: Callable[[int], None] = lambda _: None,
        on_attached: Callable[[], None] = lambda: None,
    ) -> None:
        self._profile = profile
        self._make_client = make_client
        self._ask = ask
        self._tries = tries
        self._patient = patient
        self._on_stall = on_stall
        self._stalled = 0
        self._on_attached = on_attached
        self._owner: Owner | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._pending: dict[str, _Pending] = {}
        self._events = EventBuffer()
        self._subscription: m.Subscribe | None = None
        self._ended: ClientError | None = None
        self._is_closing = False
        self._heard_at = 0.0
        self._last_id = 0
        self.info = OwnerInfo(m.RPC_VERSION, 0, "", 0, "")

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Attach to the owner, or become it.

        Raises `ProfileLocked` when the owner does not answer within 2 s, `OwnerOutdated` when it is of
        another version, and what starting a client raises.
        """
        try:
            reader = await self._connect(first=True)
        except BaseException:
            await self.close()  # it may own the profile already
            raise
        self._reading = asyncio.create_task(self._read(reader))
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Detach; if this process owns the profile, stop serving it, and others take over."""
        for task in (self._watching, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._detach()
        owner, self._owner = self._owner, None
        if owner is not None:
            await owner.stop()
        self._fail(ClientError("this window was closed"))

    @property
    def is_owner(self) -> bool:
        """Whether this process owns the profile."""
        return self._owner is not None

    @property
    def serving_failed(self) -> str:
        """Why other programs cannot attach to this owner, or nothing."""
        return "" if self._owner is None else self._owner.serving_failed

    # --- requests and events ---

    async def ask(self, method: m.Method[T]) -> T:
        """Have the owner execute a method and return its result; a change gets a key if it has none.

        If the owner ends before it answers, the next one is asked. Cancelling it has the owner stop waiting.
        Raises the `ClientError` that the owner answers with.
        """
        raw = await self.call(method.NAME, dump(method))
        try:
            result: T = load(type(method).RESULT or type(None), raw)
        except BadValue as error:
            raise OwnerOutdated(f"the profile's owner answers {method.NAME} differently: {error}") from None
        return result

    async def call(self, name: str, params: dict[str, Any]) -> Any:
        """Have the owner execute a method by its name; `params` and the result are JSON values. See `ask`."""
        if self._ended is not None:
            raise self._ended
        kind = m.METHODS.get(name)
        if kind is not None and issubclass(kind, m.Change) and not params.get("key"):
            params = {**params, "key": secrets.token_hex(16)}
        self._last_id += 1
        id_ = str(self._last_id)
        try:
            line = encode_request(name, params, id_)
        except UnicodeEncodeError:
            raise UsageError("what was given is not UTF-8 text") from None
        if len(line) > MAX_REQUEST_BYTES:
            raise UsageError(f"what was given has more than {MAX_REQUEST_BYTES} bytes")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._pending[id_] = _Pending(name, params, answer, loop.time())
        self._write(line)
        try:
            return await answer
        except asyncio.CancelledError:
            self._write(encode_request(m.Cancel.NAME, {"id": id_}))
            raise
        finally:
            self._pending.pop(id_, None)

    async def subscribe(self, *, after: int | None = None, consumer: str = "", live: bool = True) -> int:
        """Begin `events`; return the number of the last stored event. See `methods.Subscribe`."""
        head = await self.ask(m.Subscribe(after=after, consumer=consumer, live=live))
        start = head if after is None and not consumer else after
        self._subscription = m.Subscribe(after=start, consumer=consumer, live=live)
        return head

    async def next_event(self) -> SessionEvent:
        """Return the next event of the subscription. Raises the `ClientError` that ended the owner."""
        if self._events.is_cut and self._subscription is not None:
            await self.ask(self._subscription_from_here(self._subscription))
        return await self._events.get()

    # --- the connection ---

    def _detach(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def _write(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)

    async def _connect(self, *, first: bool) -> asyncio.StreamReader:
        """Attach to the owner or become it, and return what it sends."""
        loop = asyncio.get_running_loop()
        began = held_since = loop.time()
        holder = 0
        while True:
            try:
                reader = await self._try_connect(first=first, since=loop.time() - began)
            except ProfileLocked as error:
                if first or not self._patient:
                    raise
                self._note_stall(error.process)
                reader = None
            if reader is not None:
                return reader
            if self._profile.last_holder != holder:  # another one took over, and has its own time
                holder, held_since = self._profile.last_holder, loop.time()
            if loop.time() - held_since > STALL_SECONDS and (first or not self._patient):
                raise self._profile.locked_error()
            await asyncio.sleep(_POLL_SECONDS)

    async def _try_connect(self, *, first: bool, since: float) -> asyncio.StreamReader | None:
        """Try once to attach or to become the owner. Raises `ProfileLocked` when the owner does not greet."""
        connection = await self._attach()
        if connection is None:
            connection = await self._own(first=first, since=since)
        if connection is None:
            return None
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_READ_BYTES)
        try:
            await self._greet(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()  # the owner ended just now
            return None
        except BaseException:
            writer.transport.abort()
            raise
        self._writer = writer
        return reader

    async def _attach(self) -> socket.socket | None:
        """Connect to the owner's socket; return None when nobody listens there."""
        path = self._profile.folder / SOCKET_NAME
        try:
            connection = connect_to(path, STALL_SECONDS)
        except TimeoutError:
            raise self._profile.locked_error() from None
        except OSError:
            return None
        peer = peer_of(connection)
        if peer is not None and peer.user != os.geteuid():
            connection.close()
            raise ProfileOfOther(f"another user, {peer.user}, listens at {path}; nothing was asked of it")
        connection.setblocking(False)
        return connection

    async def _own(self, *, first: bool, since: float) -> socket.socket | None:
        """Become the owner; return None when another process holds the lock."""
        if self._profile.is_held:
            return None
        if not first and self._profile.has_passphrase and self._ask is not None:
            if since < _HANDOVER_SECONDS:
                return None
            self._profile.give_passphrase(await self._ask())
        owner = Owner(self._profile, self._make_client)
        try:
            server = await owner.start()
        except ProfileLocked:
            return None
        except PassphraseNeeded:
            if first or since > _HANDOVER_SECONDS:
                raise
            return None  # another window may have the key
        except WrongPassphrase:
            self._tries -= 1
            if not self._tries:
                raise
            return await self._own(first=first, since=_HANDOVER_SECONDS)
        self._owner = owner
        return await server.connect()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Exchange versions. Raises `ProfileLocked` without an answer, `OwnerOutdated` for other versions."""
        hello = m.Hello(rpc=m.RPC_VERSION, software=f"clave {VERSION}")
        writer.write(encode_request(hello.NAME, dump(hello), "hello"))
        try:
            async with asyncio.timeout(STALL_SECONDS):
                line = await reader.readuntil(b"\n")
        except TimeoutError:
            raise self._profile.locked_error() from None
        except asyncio.LimitOverrunError:
            raise OwnerOutdated(_outdated("another version", 0)) from None
        try:
            raw = msgspec.json.decode(line)
            if "error" in raw:
                raise error_from(raw["error"])
            found = {name: raw["result"][name] for name in OwnerInfo.__struct_fields__}
            self.info = load(OwnerInfo, found)
        except (ValueError, KeyError, TypeError):
            raise OwnerOutdated(_outdated("another version", 0)) from None
        if self.info.rpc != m.RPC_VERSION or self.info.store < len(MIGRATIONS):
            raise OwnerOutdated(_outdated(self.info.software, self.info.process))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            await self._read_owners(reader)
        except ClientError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  (of the system or a defect: nobody may wait for ever)
            self._fail(ClientError(f"this window cannot go on: {error or type(error).__name__}"))

    async def _read_owners(self, reader: asyncio.StreamReader) -> None:
        """Take what the owner sends; when it ends, go on with the next one."""
        while True:
            lines = LineSplitter(MAX_ANSWER_BYTES)
            with contextlib.suppress(OSError):
                while data := await reader.read(_READ_BYTES):
                    self._heard()
                    for line in lines.feed(data):
                        if line is None:
                            raise OwnerOutdated(
                                f"the profile's owner sent more than {MAX_ANSWER_BYTES} bytes"
                            )
                        self._take(line)
            if self._ended is not None:
                return
            self._detach()
            await asyncio.sleep(_POLL_SECONDS)
            reader = await self._connect(first=False)
            self._go_on()

    def _go_on(self) -> None:
        """Repeat at a new owner what was not answered, and go on with the events."""
        self._heard()
        self._note_stall(0)
        if self._subscription is not None:
            again = self._subscription_from_here(self._subscription)
            self._write(encode_request(again.NAME, dump(again), "subscribe"))
        was_closing, self._is_closing = self._is_closing, False
        for id_, pending in self._pending.items():
            pending.owners += not was_closing
            if pending.owners > _MOST_OWNERS and not pending.answer.done():
                text = "every process that took over the profile ended before it answered; start clave again"
                pending.answer.set_exception(ClientError(text))
                continue
            self._write(encode_request(pending.name, self._params_now(pending), id_))
        self._on_attached()

    def _subscription_from_here(self, subscription: m.Subscribe) -> m.Subscribe:
        """Return what asks for the events after the last one that came."""
        if not self._events.last:
            return subscription
        after = max(subscription.after or 0, self._events.last)
        return msgspec.structs.replace(subscription, after=after, consumer="")

    def _params_now(self, pending: _Pending) -> dict[str, Any]:
        """Return a request's parameters, with what is left of the time that it may wait."""
        wait = pending.params.get("wait")
        if not isinstance(wait, int | float):
            return pending.params
        waited = asyncio.get_running_loop().time() - pending.asked_at
        return {**pending.params, "wait": max(0.0, wait - waited)}

    def _take(self, line: bytes) -> None:
        message = msgspec.json.decode(line)
        match message.get("method"):
            case "event":
                params = message["params"]
                with contextlib.suppress(BadValue):  # an event of a newer version
                    self._events.put(SessionEvent(params["number"], load_event(params["event"])))
            case "gap":
                self._events.put(SessionEvent(message["params"]["first"] - 1, None))
            case "closing":
                self._is_closing = True
            case "end":
                self._fail(error_from(message["params"]["error"]))
            case _:
                pending = self._pending.get(message.get("id"))
                if pending is not None and not pending.answer.done():
                    if "error" in message:
                        pending.answer.set_exception(error_from(message["error"]))
                    else:
                        if pending.name == m.Subscribe.NAME:
                            self._events.restart(pending.params.get("after") or 0)
                        pending.answer.set_result(message.get("result"))

    def _fail(self, error: ClientError) -> None:
        """End the session: whatever waits raises `error`."""
        if self._ended is None:
            self._ended = error
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(error)
        self._events.end(error)

    # --- an owner that does not answer ---

    def _heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    def _note_stall(self, process: int) -> None:
        """Report which process does not answer, or with 0 that one does; nothing if that is known."""
        if process != self._stalled:
            self._stalled = process
            self._on_stall(process)

    async def _watch(self) -> None:
        """Ping an owner that owes an answer, and name it when nothing came for 2 s after a ping."""
        loop = asyncio.get_running_loop()
        pinged_at, ticks = 0.0, 0
        while True:
            await asyncio.sleep(STALL_SECONDS / _TICKS)
            if self._heard_at >= pinged_at:
                ticks = 0
                if self._writer is not None:
                    self._note_stall(0)
            if self._owner is not None or self._writer is None:
                continue
            if ticks:
                ticks += 1  # turns of this loop, so that a machine that slept is not the owner's fault
            elif self._pending:
                pinged_at, ticks = loop.time(), 1
                self._write(encode_request(m.Ping.NAME, {}, "ping"))
            if ticks > _TICKS:
                if self._patient:
                    self._note_stall(self.info.process)
                else:
                    self._fail(ProfileLocked(self._profile.name, self.info.process))


def _outdated(software: str, process: int) -> str:
    which = f"process {process}, {software}," if process else software
    return f"this profile is held by {which} which speaks another version; end that one, then start again"
