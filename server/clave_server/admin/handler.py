"""Where a running relay carries out its operator's orders. Knows no socket they come through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from importlib.metadata import version
from typing import Any, Final, Generic, TypeVar

import apsw

from clave_server.admin.gauges import read_gauges
from clave_server.admin.requests import (
    AddBan,
    AdminRequest,
    CertificateRequest,
    Deleted,
    GetStatus,
    LiftBan,
    Prune,
    check_policy,
)
from clave_server.admin.status import DiskUse, Status
from clave_server.cli.config import write_address
from clave_server.errors import AdminError, Refusal, ServerError
from clave_server.limits.bans import Ban
from clave_server.relay.relay import Relay
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy
from clave_server.storage.data_dir import DataDir
from clave_wire.login import fingerprint_text

__all__ = ["AdminHandler"]

_PATIENCE_SECONDS: Final = 3.0
"""How long storage may take to show that it works."""

_ORDERS_OWN: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError)

_T = TypeVar("_T")


class AdminHandler:
    """The operator's way to one relay."""

    def __init__(self, relay: Relay, folder: DataDir) -> None:
        self._relay = relay
        self._folder = folder
        self._started_at = _now()
        self._started = time.monotonic()

    async def carry_out(self, order: AdminRequest[Any]) -> object:
        """Do what `order` says and return its answer. Raises `ServerError`."""
        if isinstance(order, GetStatus):
            return await self.status()
        if isinstance(order, CertificateRequest):
            told = order.act(self._relay.certificates)
            self._relay.announce()
            return told
        if isinstance(order, Prune):
            return await self._prune(RetentionPolicy(order.days, order.room_bytes))
        answer = await self._write(order)
        if isinstance(order, AddBan):
            self._relay.context.limits.bans.add(order.ban)
            return self._show_out(order.ban)
        if isinstance(order, LiftBan):
            self._relay.context.limits.bans.lift(order.ban)
        return answer

    async def status(self) -> Status:
        """Ask the relay how it does. Raises `StorageError`."""
        accounts, rooms = await self._read(_count_rows)
        relay, context = self._relay, self._relay.context
        return Status(
            version=version("clave"),
            started_at=self._started_at,
            uptime=int(time.monotonic() - self._started),
            listening=[write_address(host, port) for host, port in relay.addresses],
            fingerprint=fingerprint_text(relay.certificate),
            registration=context.admission.registration,
            online=sorted({session.name for session in context.sessions.values()}),
            accounts=accounts,
            rooms=rooms,
            gauges=read_gauges(relay),
            disk=DiskUse(*self._folder.disk_use()),
        )

    async def trouble(self) -> str:
        """Return what keeps the relay from serving, nothing if it serves."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if self._relay.context.sequencer.failing:
                    await self._try_to_write()
                await self._read(_touch)
        except ServerError as error:
            return f"storage fails: {error}"
        except TimeoutError:
            return "storage does not answer"
        return ""

    async def _prune(self, policy: RetentionPolicy) -> Deleted:
        retention_task = self._relay.retention_task
        if policy == KEEP_ALL:
            policy = check_policy(retention_task.policy)
        pruned = await retention_task.prune(policy)
        return Deleted(pruned.entries, pruned.size)

    def _show_out(self, ban: Ban) -> int:
        """Close every connection that a ban is about; return how many there were."""
        closed = 0
        for transport in tuple(self._relay.transports):
            try:
                self._relay.context.limits.bans.judge(transport.ip, transport.name)
            except Refusal as refusal:
                transport.close(refusal.code, str(refusal), "banned")
                closed += 1
        return closed

    async def _write(self, order: AdminRequest[_T]) -> _T:
        outcome = _Outcome[_T]()
        now = _now()

        def step(connection: apsw.Connection) -> _T | Exception:
            """Fail alone, not with the flush that other people's entries are in."""
            try:
                with connection:  # a savepoint
                    answer = order.step(connection, now)
            except _ORDERS_OWN as error:
                return AdminError(f"the database does not take this order: {error}")
            except apsw.Error:  # the disk's, so the flush's
                raise
            except Exception as error:  # noqa: BLE001  (told to whoever awaits the outcome)
                return error
            else:
                return answer

        self._relay.context.sequencer.write(step, outcome.settle)
        return await outcome

    async def _try_to_write(self) -> None:
        outcome = _Outcome[None]()
        self._relay.context.sequencer.write(_touch_again, outcome.settle)
        await outcome

    async def _read(self, work: Callable[[apsw.Connection], _T]) -> _T:
        outcome = _Outcome[_T]()
        self._relay.reader.do(work, outcome.settle)
        return await outcome


class _Outcome(Generic[_T]):
    """What a thread will have found out; whoever awaits it may have gone meanwhile."""

    def __init__(self) -> None:
        self._future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: _T | Exception) -> None:
        if self._future.done():
            return
        if isinstance(outcome, Exception):
            self._future.set_exception(outcome)
        else:
            self._future.set_result(outcome)

    def __await__(self) -> Generator[Any, None, _T]:
        return self._future.__await__()


def _count_rows(connection: apsw.Connection) -> tuple[int, int]:
    accounts: int = connection.execute("SELECT count(*) FROM accounts").get
    rooms: int = connection.execute("SELECT count(*) FROM rooms").get
    return accounts, rooms


def _touch(connection: apsw.Connection) -> object:
    return connection.pragma("user_version")


def _touch_again(connection: apsw.Connection) -> None:
    """Write what is there already: it has to reach the disk all the same."""
    connection.pragma("user_version", connection.pragma("user_version"))


def _now() -> int:
    return time.time_ns() // 1_000_000
