"""Prunes a running relay's rooms, every hour and on request, one room at a time. Knows no SQL.

Not while the clock is doubted, by which entries would be too old (`storage.run_clock`).
"""

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
from clave_server.storage import run_clock
from clave_server.storage.db_thread import DbThread
from clave_server.storage.run_clock import Jump

__all__ = ["RetentionTask"]

_PAUSE_SECONDS: Final = 3600.0
"""Between two passes over all rooms."""

_log = structlog.get_logger()


class RetentionTask:
    """Deletes what a policy does not keep: every hour, and when `prune` is called; keeps the time of the run.

    `jump` is why the clock is doubted at the start.
    """

    def __init__(
        self,
        policy: RetentionPolicy,
        reader: DbThread,
        sequencer: Sequencer,
        quotas: QuotaTracker,
        counters: Counters,
        jump: Jump | None,
    ) -> None:
        self.policy = policy
        self._reader = reader
        self._sequencer = sequencer
        self._quotas = quotas
        self._counters = counters
        self._jump: Jump | None = None
        self._note_jump(jump)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Stop the hourly passes."""
        self._task.cancel()

    async def confirm_clock(self) -> None:
        """Believe the clock, as the operator does who prunes by it. Raises `ServerError`."""
        await self._sequencer.run(partial(run_clock.confirm_clock, now=now_ms()))
        self._note_jump(None)

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
            await self._pass()
            await asyncio.sleep(_PAUSE_SECONDS)
            await self._look_at_clock()

    async def _pass(self) -> None:
        if self._jump is not None or self.policy == retention.KEEP_ALL:
            return
        try:
            pruned = await self.prune()
        except ServerError as error:
            _log.error("pruning failed", reason=str(error))
            return
        if pruned.entries:
            _log.info("entries pruned", entries=pruned.entries, bytes=pruned.size)

    async def _look_at_clock(self) -> None:
        try:
            self._note_jump(await self._sequencer.run(partial(run_clock.note_time, now=now_ms())))
        except ServerError as error:
            _log.error("time of the run not kept", reason=str(error))

    def _note_jump(self, jump: Jump | None) -> None:
        if jump is not None and self._jump is None:
            _log.warning("clock doubted", reason=jump.text)
        elif jump is None and self._jump is not None:
            _log.info("clock believed again")
        self._jump = jump

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
