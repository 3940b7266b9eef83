"""Prunes a running relay's rooms, every hour and on request, one room at a time. Knows no SQL.

Not while the clock is doubted, by which entries would be too old (`storage.run_clock`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import apsw
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
from clave_server.storage.run_clock import Jump, RunClock, RunTime

__all__ = ["RetentionTask"]

_PAUSE_SECONDS: Final = 3600.0
"""Between two passes over all rooms."""

_log = structlog.get_logger()


class RetentionTask:
    """Deletes what a policy does not keep: every hour, and when `prune` is called; keeps the time of the run.

    `clock` is kept up to date with what each look at the clock finds.
    """

    def __init__(
        self,
        policy: RetentionPolicy,
        reader: DbThread,
        sequencer: Sequencer,
        quotas: QuotaTracker,
        counters: Counters,
        clock: RunClock,
    ) -> None:
        self.policy = policy
        self._reader = reader
        self._sequencer = sequencer
        self._quotas = quotas
        self._counters = counters
        self._clock = clock
        self._looking = asyncio.Lock()
        self._tell(None, clock.jump)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Stop the hourly passes."""
        self._task.cancel()

    async def confirm_clock(self) -> None:
        """Believe the clock, as the operator says. Raises `ServerError`."""
        await self._look(_confirm)

    async def look_at_clock(self) -> Jump | None:
        """Return why the clock is doubted now, None if it is not. Raises `ServerError`."""
        return await self._look(run_clock.note_time)

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
            try:
                await self.look_at_clock()
            except ServerError as error:
                _log.error("time of the run not kept", reason=str(error))

    async def _pass(self) -> None:
        if self._clock.is_doubted(now_ms()) or self.policy == retention.KEEP_ALL:
            return
        try:
            pruned = await self.prune()
        except ServerError as error:
            _log.error("pruning failed", reason=str(error))
            return
        if pruned.entries:
            _log.info("entries pruned", entries=pruned.entries, bytes=pruned.size)

    async def _look(self, work: Callable[[apsw.Connection, int, RunTime], Jump | None]) -> Jump | None:
        async with self._looking:
            now, passed = now_ms(), self._clock.passed()
            jump = await self._sequencer.run(lambda connection: work(connection, now, passed))
            former = self._clock.jump
            self._clock.note(jump, now, passed)
        self._tell(former, jump)
        return jump

    def _tell(self, former: Jump | None, jump: Jump | None) -> None:
        if jump is not None and former is None:
            _log.warning("clock doubted", reason=jump.text)
        elif jump is None and former is not None:
            _log.info("clock believed again")

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


def _confirm(connection: apsw.Connection, now: int, _passed: RunTime) -> None:
    run_clock.confirm_clock(connection, now)
