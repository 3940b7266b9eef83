"""Handles an operator's requests to a running relay. Knows no socket that they come from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import apsw
import msgspec
import structlog

from clave_host.addresses import join_address
from clave_host.clock import now_ms
from clave_host.version import VERSION
from clave_server.accounts.directory import count_accounts, freed_text
from clave_server.admin.gauges import read_gauges
from clave_server.admin.requests import (
    AddBan,
    AdminRequest,
    CertificateRequest,
    Deleted,
    FreeAccount,
    Freed,
    GetStatus,
    LiftBan,
    Prune,
    check_clock,
    check_policy,
)
from clave_server.admin.status import DiskUse, Status, Totals
from clave_server.errors import AdminError, Refusal, ServerError
from clave_server.limits.bans import Ban
from clave_server.relay.relay import Relay
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy
from clave_server.storage.data_dir import DataDir
from clave_wire.login import fingerprint_text
from clave_wire.messages import Code

__all__ = ["AdminHandler"]

_STORAGE_SECONDS: Final = 3.0
"""How long storage may take to answer a readiness check."""

_REQUEST_ERRORS: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError)

_T = TypeVar("_T")

_log = structlog.get_logger()


class AdminHandler:
    """Handles requests to one relay."""

    def __init__(self, relay: Relay, folder: DataDir) -> None:
        self._relay = relay
        self._folder = folder
        self._started_at = now_ms()
        self._started = time.monotonic()

    async def handle(self, request: AdminRequest[Any]) -> object:
        """Carry out `request`, log it if it is a change, and return its answer. Raises `ServerError`."""
        answer = await self._carry_out(request)
        if request.EVENT:
            _log.info(request.EVENT, by="operator", **request.facts(answer))
        return answer

    async def _carry_out(self, request: AdminRequest[Any]) -> object:
        if isinstance(request, GetStatus):
            return await self.status()
        if isinstance(request, CertificateRequest):
            told = request.apply(self._relay.certificates)
            self._relay.announce()
            return told
        if isinstance(request, Prune):
            return await self._prune(request)
        if isinstance(request, FreeAccount):
            return await self._free(request)
        answer = await self._write(request.step)
        if isinstance(request, AddBan):
            self._relay.context.limits.bans.add(request.ban)
            return self._close_banned(request.ban)
        if isinstance(request, LiftBan):
            self._relay.context.limits.bans.lift(request.ban)
        return answer

    async def status(self) -> Status:
        """Return the relay's status. Raises `StorageError`."""
        accounts, rooms = await self._relay.reader.run(_count_rows)
        relay, context = self._relay, self._relay.context
        return Status(
            version=VERSION,
            started_at=self._started_at,
            uptime=int(time.monotonic() - self._started),
            listening=[join_address(host, port) for host, port in relay.addresses],
            fingerprint=fingerprint_text(relay.certificate),
            registration=context.registration.mode,
            online=sorted({session.name for session in context.sessions.values()}),
            accounts=accounts,
            rooms=rooms,
            gauges=read_gauges(relay),
            disk=DiskUse(*self._folder.disk_use()),
            totals=msgspec.convert(context.counters, Totals, from_attributes=True),
        )

    async def readiness_fault(self) -> str:
        """Return why the relay cannot serve, "" if it can."""
        try:
            async with asyncio.timeout(_STORAGE_SECONDS):
                if self._relay.context.sequencer.failing:
                    await self._relay.context.sequencer.run(_rewrite_version)
                await self._relay.reader.run(_read_version)
        except ServerError as error:
            return f"storage fails: {error}"
        except TimeoutError:
            return "storage does not answer"
        return ""

    async def _prune(self, request: Prune) -> Deleted:
        retention_task = self._relay.retention_task
        policy = RetentionPolicy(request.days, request.room_bytes)
        if policy == KEEP_ALL:
            policy = retention_task.policy
        if request.confirm_clock:
            await retention_task.confirm_clock()
            if policy == KEEP_ALL:
                return Deleted(0, 0)
        check_policy(policy)
        check_clock(await retention_task.look_at_clock())
        pruned = await retention_task.prune(policy)
        return Deleted(pruned.entries, pruned.size)

    def _close_banned(self, ban: Ban) -> int:
        """Close the connections that a ban is about; return how many there were."""
        closed = 0
        for transport in tuple(self._relay.transports):
            try:
                self._relay.context.limits.bans.check(transport.ip, transport.name)
            except Refusal as refusal:
                transport.close(refusal.code, str(refusal), "banned")
                closed += 1
        return closed

    async def _free(self, request: FreeAccount) -> Freed:
        freed, released = await self._write(lambda connection, _: request.free(connection))
        context = self._relay.context
        context.freed.add(freed.account)
        context.quotas.release(released)
        sessions = [each for each in context.sessions.values() if each.usage.account == freed.account]
        for session in sessions:
            session.close(Code.BAD_LOGIN, freed_text(freed.name), "name freed")
        return msgspec.structs.replace(freed, closed=len(sessions))

    async def _write(self, work: Callable[[apsw.Connection, int], _T]) -> _T:
        """Run `work` in a write batch, with the time in ms since 1970."""
        now = now_ms()

        def step(connection: apsw.Connection) -> _T | Exception:
            """Fail alone, not with the write batch that has other accounts' entries."""
            try:
                with connection:  # a savepoint
                    answer = work(connection, now)
            except _REQUEST_ERRORS as error:
                return AdminError(f"the database does not take this order: {error}")
            except apsw.Error:  # of the disk, so of the whole batch
                raise
            except Exception as error:  # noqa: BLE001  (raised where the result is awaited)
                return error
            else:
                return answer

        return await self._relay.context.sequencer.run(step)


def _count_rows(connection: apsw.Connection) -> tuple[int, int]:
    rooms: int = connection.execute("SELECT count(*) FROM rooms").get
    return count_accounts(connection), rooms


def _read_version(connection: apsw.Connection) -> object:
    return connection.pragma("user_version")


def _rewrite_version(connection: apsw.Connection) -> None:
    """Write the value that is there: the write has to reach the disk all the same."""
    connection.pragma("user_version", connection.pragma("user_version"))
