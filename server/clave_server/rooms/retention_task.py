"""Prunes a running relay's rooms, one after the other, beside its other work. Knows no SQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import apsw
import structlog

from clave_server.errors import RelayError
from clave_server.limits.quotas import Usages
from clave_server.observe.counters import Tally
from clave_server.rooms import retention
from clave_server.rooms.retention import Keeping, Pruned
from clave_server.rooms.sequencer import Sequencer
from clave_server.storage.db_thread import Worker

__all__ = ["Pruner"]

_PAUSE_SECONDS: Final = 3600.0
"""Between one time through all rooms and the next."""

_T = TypeVar("_T")

_log = structlog.get_logger()


class Pruner:
    """Applies what is to be kept: every hour by itself, and when asked."""

    def __init__(
        self, keeping: Keeping, reader: Worker, sequencer: Sequencer, usages: Usages, tally: Tally
    ) -> None:
        self.keeping = keeping
        self._reader = reader
        self._sequencer = sequencer
        self._usages = usages
        self._tally = tally
        self._task: asyncio.Task[None] | None = None
        if keeping != retention.FOREVER:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Prune no more by itself."""
        if self._task is not None:
            self._task.cancel()

    async def prune(self, keeping: Keeping | None = None) -> Pruned:
        """Go through all rooms once, by `keeping` or else by the settings. Raises `RelayError`."""
        keeping = keeping or self.keeping
        now, after, pruned = time.time_ns() // 1_000_000, b"", Pruned()
        while rooms := await self._read(partial(retention.rooms_after, after=after)):
            for room in rooms:
                await self._prune_room(room, keeping, now, pruned)
            after = rooms[-1]
        self._usages.release(await self._write(partial(retention.forget_stale, keeping=keeping, now=now)))
        return pruned

    async def _run(self) -> None:
        while True:
            try:
                pruned = await self.prune()
                if pruned.entries:
                    _log.info("old entries deleted", entries=pruned.entries, bytes=pruned.size)
            except RelayError as error:
                _log.error("old entries cannot be deleted", reason=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _prune_room(self, room: bytes, keeping: Keeping, now: int, pruned: Pruned) -> None:
        if self._sequencer.save(room):
            await self._write(lambda _: None)  # lands with the flush that writes the room's own rows
        until = await self._read(partial(retention.find_cut, room=room, keeping=keeping, now=now))
        while until:
            step = await self._write(partial(retention.cut, room=room, until=until))
            if not step.entries:
                break
            pruned.add(step)
            self._tally.pruned_entries += step.entries
            self._tally.pruned_bytes += step.size
            self._sequencer.forget_before(step.kept_from)
            self._usages.release(step.released)

    async def _read(self, work: Callable[[apsw.Connection], _T]) -> _T:
        return await self._do(lambda done: self._reader.do(work, done))

    async def _write(self, step: Callable[[apsw.Connection], _T]) -> _T:
        return await self._do(lambda done: self._sequencer.write(step, done))

    async def _do(self, begin: Callable[[Callable[[_T | RelayError], None]], None]) -> _T:
        outcome: asyncio.Future[_T | RelayError] = asyncio.get_running_loop().create_future()
        begin(lambda result: None if outcome.done() else outcome.set_result(result))
        result = await outcome
        if isinstance(result, RelayError):
            raise result
        return result
