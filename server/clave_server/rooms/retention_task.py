"""Prunes a running relay's rooms, every hour and on request, one room at a time. Knows no SQL."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from clave_host.clock import now_ms
from clave_server.errors import ServerError
from clave_server.limits.quotas import QuotaTracker
from clave_server.observe.counters import Counters
from clave_server.rooms import retention
from clave_server.rooms.retention import Pruned, RetentionPolicy
from clave_server.rooms.sequencer import Sequencer
from clave_server.storage.db_thread import DbThread

__all__ = ["RetentionTask"]

_PAUSE_SECONDS: Final = 3600.0
"""Between two passes over all rooms."""

_log = structlog.get_logger()


class RetentionTask:
    """Deletes what a policy does not keep: every hour, and when `prune` is called."""

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
        """Stop the hourly passes."""
        if self._task is not None:
            self._task.cancel()

    async def prune(self, policy: RetentionPolicy | None = None) -> Pruned:
        """Prune all rooms once, by `policy` or else by the settings. Raises `ServerError`."""
        policy = policy or self.policy
        now, after, pruned = now_ms(), b"", Pruned()
        while rooms := await self._reader.run(partial(retention.rooms_after, after=after)):
            for room in rooms:
                await self._prune_room(room, policy, now, pruned)
            after = rooms[-1]
        self._quotas.release(
            await self._sequencer.run(partial(retention.delete_stale, policy=policy, now=now))
        )
        return pruned

    async def _run(self) -> None:
        while True:
            try:
                pruned = await self.prune()
                if pruned.entries:
                    _log.info("entries pruned", entries=pruned.entries, bytes=pruned.size)
            except ServerError as error:
                _log.error("pruning failed", reason=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _prune_room(self, room: bytes, policy: RetentionPolicy, now: int, pruned: Pruned) -> None:
        if self._sequencer.save(room):
            await self._sequencer.run(lambda _: None)  # in the flush that writes the room's own rows
        until = await self._reader.run(
            partial(retention.find_last_deletable, room=room, policy=policy, now=now)
        )
        while until:
            step = await self._sequencer.run(partial(retention.delete_until, room=room, until=until))
            if not step.entries:
                break
            pruned.add(step)
            self._counters.pruned_entries += step.entries
            self._counters.pruned_bytes += step.size
            self._sequencer.note_pruned(step.kept_from)
            self._quotas.release(step.released)
