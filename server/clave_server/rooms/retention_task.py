"""Prunes a running relay's rooms, one after the other, beside its other work. Knows no SQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import apsw
import structlog

from clave_server.errors import ServerError
from clave_server.limits.quotas import QuotaTracker
from clave_server.observe.counters import Counters
from clave_server.rooms import retention
from clave_server.rooms.retention import Pruned, RetentionPolicy
from clave_server.rooms.sequencer import Sequencer
from clave_server.storage.db_thread import DbThread

__all__ = ["RetentionTask"]

_PAUSE_SECONDS: Final = 3600.0
"""Between one time through all rooms and the next."""

_T = TypeVar("_T")

_log = structlog.get_logger()


class RetentionTask:
    """Applies what is to be kept: every hour by itself, and when asked."""

    def __init__(
        self,
        policy: RetentionPolicy,
        reader: DbThread,
        sequencer: Sequencer,
        quotas: QuotaTracker,
        counters: Counters,
    ) -> None:
        self.policy = policy
        self._reader = reader
        self._sequencer = sequencer
        self._quotas = quotas
        self._counters = counters
        self._task: asyncio.Task[None] | None = None
        if policy != retention.KEEP_ALL:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Prune no more by itself."""
        if self._task is not None:
            self._task.cancel()

    async def prune(self, policy: RetentionPolicy | None = None) -> Pruned:
        """Go through all rooms once, by `policy` or else by the settings. Raises `ServerError`."""
        policy = policy or self.policy
        now, after, pruned = time.time_ns() // 1_000_000, b"", Pruned()
        while rooms := await self._read(partial(retention.rooms_after, after=after)):
            for room in rooms:
                await self._prune_room(room, policy, now, pruned)
            after = rooms[-1]
        self._quotas.release(await self._write(partial(retention.forget_stale, policy=policy, now=now)))
        return pruned

    async def _run(self) -> None:
        while True:
            try:
                pruned = await self.prune()
                if pruned.entries:
                    _log.info("old entries deleted", entries=pruned.entries, bytes=pruned.size)
            except ServerError as error:
                _log.error("old entries cannot be deleted", reason=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _prune_room(self, room: bytes, policy: RetentionPolicy, now: int, pruned: Pruned) -> None:
        if self._sequencer.save(room):
            await self._write(lambda _: None)  # lands with the flush that writes the room's own rows
        until = await self._read(partial(retention.find_cut, room=room, policy=policy, now=now))
        while until:
            step = await self._write(partial(retention.cut, room=room, until=until))
            if not step.entries:
                break
            pruned.add(step)
            self._counters.pruned_entries += step.entries
            self._counters.pruned_bytes += step.size
            self._sequencer.forget_before(step.kept_from)
            self._quotas.release(step.released)

    async def _read(self, work: Callable[[apsw.Connection], _T]) -> _T:
        return await self._do(lambda done: self._reader.do(work, done))

    async def _write(self, step: Callable[[apsw.Connection], _T]) -> _T:
        return await self._do(lambda done: self._sequencer.write(step, done))

    async def _do(self, begin: Callable[[Callable[[_T | ServerError], None]], None]) -> _T:
        outcome: asyncio.Future[_T | ServerError] = asyncio.get_running_loop().create_future()
        begin(lambda result: None if outcome.done() else outcome.set_result(result))
        result = await outcome
        if isinstance(result, ServerError):
            raise result
        return result
