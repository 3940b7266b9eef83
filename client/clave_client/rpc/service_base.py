"""What the methods of the RPC stand on: changes that are made once per key, and rooms by their names.

A change with a key is noted before it is begun. What is this device's alone is done in one transaction with
its outcome. What needs the relay is begun again when its key comes again without an outcome, and then takes
what is done already for done: a room under the same id, a member who is in, a title that is set.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from clave_client.client import Client
from clave_client.formats.json_values import dump
from clave_client.rpc import methods as m
from clave_client.store import settings
from clave_client.store.request_log import RequestLog

__all__ = ["Attempt", "ServiceBase", "within"]

T = TypeVar("T")

_MAY_DIFFER = ("key", "wait", "told", "typed")
_SINCE_ADDED = ("reply_to", "expires")
"""Parameters that may differ when a request is repeated, and those that earlier versions did not have."""


class Attempt(NamedTuple):
    """The room of a change, whether its key came before, and the outcome that was noted for it, if any."""

    room: bytes
    again: bool = False
    outcome: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Attempt again={self.again!r}>"


@dataclass
class _Running:
    """A change that is being made, and how many requests wait for it."""

    task: asyncio.Future[Any]
    waiting: int = 0


class ServiceBase:
    """The methods of the RPC on a client that was started; parts add theirs to the three tables."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.sync.store
        self._journal = client.sync.journal
        self._requests = RequestLog(self._store)
        self._running: dict[str, _Running] = {}
        self._queries: dict[type, Callable[[Any], Any]] = {}
        self._waits: dict[type, Callable[[Any], Awaitable[Any]]] = {}
        self._changes: dict[type, Callable[[Any, Attempt], Awaitable[Any]]] = {}

    async def execute(self, request: m.Method[T]) -> T:
        """Execute a request and return its result, with nothing in it that is due to disappear.

        Raises `ClientError`.
        """
        self._client.sync.expiry.check()
        kind = type(request)
        result: T
        if isinstance(request, m.Change):
            result = await self._change(request)
        elif kind in self._queries:
            result = self._queries[kind](request)
        else:
            result = await self._waits[kind](request)
        return result

    def is_immediate(self, request: m.Method[Any]) -> bool:
        """Return whether a request is answered without waiting for anything."""
        return type(request) in self._queries

    def _note_told(self, room: bytes, number: int) -> None:
        """Note that the user was told what happened up to an event, in a room or (b"") in all."""
        if number > (settings.told(self._store, room) or 0):
            settings.set_told(self._store, room, min(number, self._journal.head))

    # --- changes, once per key ---

    async def _change(self, request: m.Change[T]) -> T:
        """Execute a change; with a key that came before, wait for it or go on from what was noted."""
        change, key = self._changes[type(request)], request.key
        result: T
        if not key:
            result = await change(request, Attempt(self._room_of(request)))
            return result
        again, room = self._requests.begin(key, _content(request), lambda: self._room_of(request))
        running = self._running.get(key)
        if running is None:
            attempt = Attempt(room, again, self._requests.outcome(key))
            running = self._running[key] = _Running(asyncio.ensure_future(change(request, attempt)))
        running.waiting += 1
        try:
            result = await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and self._running.get(key) is running:
                del self._running[key]
                running.task.cancel()  # if it was cancelled in all that waited
        return result

    def _room_of(self, request: m.Change[Any]) -> bytes:
        """Return the id of the room that a change names, or nothing for one that names none."""
        invited = isinstance(request, m.Accept | m.Decline)
        return self._room(request.room, invited=invited) if hasattr(request, "room") else b""

    def _once(self, request: m.Change[Any], attempt: Attempt, work: Callable[[], Any]) -> Any:
        """Return the noted outcome of `work`; else do it and note the outcome, in one transaction."""
        if attempt.outcome is not None:
            return attempt.outcome["done"]
        try:
            with self._store.transaction():
                done = dump(work())
                if request.key:
                    self._requests.finish(request.key, {"done": done})
        except BaseException:
            here = self._client.sync.rooms.get(attempt.room)
            if here is not None:
                here.reload()  # what it changed in memory is not on disk
            raise
        return done

    def _changing(
        self, change: Callable[[bytes, Any], Awaitable[bool]]
    ) -> Callable[[Any, Attempt], Awaitable[bool]]:
        """Return what carries out a change of a room for all, once, and says whether it counts already."""

        async def carry_out(request: m.Change[bool], attempt: Attempt) -> bool:
            if attempt.outcome is not None:
                return bool(attempt.outcome["done"])
            await self._client.wait_settled()
            counts = await change(attempt.room, request)
            return self._finish(request, counts)

        return carry_out

    def _finish(self, request: m.Change[T], result: T) -> T:
        """Note the outcome of a change that needed the relay, and return it."""
        if request.key:
            self._requests.finish(request.key, {"done": dump(result)})
        return result

    # --- rooms ---

    def _room(self, words: str, *, invited: bool = False) -> bytes:
        return self._client.find_room(words, invited=invited)

    def _maybe_room(self, words: str) -> bytes:
        return self._room(words) if words else b""


async def within(seconds: float, waiting: Awaitable[Any]) -> bool:
    """Return whether `waiting` ends within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True


def _content(request: m.Change[Any]) -> bytes:
    """Return what a key stands for: the request without what may differ when it is repeated."""
    fields = {
        name: value
        for name, value in dump(request).items()
        if name not in _MAY_DIFFER and (value or name not in _SINCE_ADDED)
    }
    return hashlib.sha256(msgspec.json.encode([request.NAME, fields])).digest()
