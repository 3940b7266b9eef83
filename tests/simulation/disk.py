"""The relay's two threads on virtual time, and a client's store that can crash at any step. Knows no rooms.

A `SimWorker` does its work on the loop, in order, each piece at a moment later; what it committed before the
relay crashes stays, though nobody heard of it. A `SimStore` counts the points at which a client's crash
matters: before and after each COMMIT. `device` counts those before and after a send or a show, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import apsw

from clave_client.formats.composing import Outgoing
from clave_client.formats.content import ContentKind
from clave_client.rooms.join_record import JoinRecord
from clave_client.store.database import RoomRecord, Store
from clave_client.store.message_tables import HistoryLine
from clave_client.values import Phase
from clave_crypto.keys import Secret
from clave_server.errors import ServerError, StorageError
from clave_server.storage.db_thread import DbThread

if TYPE_CHECKING:
    from simulation.device import Device

__all__ = ["Crash", "SimStore", "SimWorker"]


class Crash(BaseException):
    """The process ends here. Not an `Exception`, so that no code of its own takes it for an error."""


class _Later:
    """The loop as a worker's thread sees it: what it hands over gets there a while later, in order."""

    def __init__(self, worker: SimWorker) -> None:
        self._worker = worker

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self._worker.tell(callback, *args)


class SimWorker(DbThread):
    """A `DbThread` whose work is done on the loop, each piece after a delay."""

    def __init__(  # the thread of `DbThread` is not wanted
        self, connection: apsw.Connection, dice: Random, slowest: float
    ) -> None:
        self._connection = connection
        self._loop = _Later(self)  # type: ignore[assignment]  # all that `submit` needs of a loop
        self._real_loop = asyncio.get_running_loop()
        self._dice = dice
        self._slowest = slowest
        self._tasks: deque[Callable[[apsw.Connection], None]] = deque()
        self._told: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._busy = False
        self._dead = False
        self._work = self  # type: ignore[assignment]  # `submit` puts its task here
        self.failing = False

    @property
    def waiting(self) -> int:
        return len(self._tasks)

    def submit(self, work: Callable[[apsw.Connection], Any], done: Callable[[Any], None]) -> None:
        if self.failing:
            outcome: ServerError = StorageError("disk full")
            self.put(lambda _: self.tell(done, outcome))
        else:
            super().submit(work, done)

    def put(self, task: Callable[[apsw.Connection], None]) -> None:
        """Take a piece of work, as the queue of a thread does."""
        self._tasks.append(task)
        self._go_on()

    def _go_on(self) -> None:
        if self._tasks and not self._busy and not self._dead:
            self._busy = True
            self._real_loop.call_later(self._dice.uniform(0, self._slowest), self._run_one)

    def _run_one(self) -> None:
        if self._dead:
            return
        self._busy = False
        self._tasks.popleft()(self._connection)
        self._go_on()

    def tell(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back a while later, unless the relay is gone by then."""
        self._told.append((callback, args))
        self._real_loop.call_later(self._dice.uniform(0, self._slowest), self._tell)

    def _tell(self) -> None:
        if not self._dead:
            callback, args = self._told.popleft()
            callback(*args)

    def stop(self) -> None:
        while self._tasks:
            self._tasks.popleft()(self._connection)
        self.crash()

    def crash(self) -> None:
        """End at once: what was not begun never happens."""
        self._dead = True
        self._connection.close()


class SimStore(Store):
    """A client's store that tells its device what it does, and ends it where that is wanted."""

    device: Device

    def __init__(self, path: Path, key: Secret) -> None:
        self.dead = False
        self.device = Device_of[path]
        if self.device.store is not None:
            self.device.store.crash()  # its process ended before there was a client to end it
        self.device.store = self
        self._path = path
        super().__init__(path, key)
        # What a crash loses is decided here, not by the kernel, and nobody reads these files.
        for name, value in (("synchronous", "off"), ("secure_delete", "off"), ("locking_mode", "exclusive")):
            self.connection.pragma(name, value)

    def run(self, sql: str, *values: apsw.SQLiteValue) -> None:
        if sql != "COMMIT":
            super().run(sql, *values)
            return
        self.device.point("commit")
        super().run(sql)
        self.device.committed()
        self.device.point("committed")

    def rows(self, sql: str, *values: apsw.SQLiteValue) -> list[tuple[apsw.SQLiteValue, ...]]:
        if self.dead:
            raise Crash
        return super().rows(sql, *values)

    def roll_back(self) -> None:
        if not self.dead:
            self.device.rolled_back()
            super().roll_back()

    def copy(self) -> list[tuple[Path, bytes]]:
        """Return the database's files as they are now."""
        return [(path, path.read_bytes()) for path in sorted(self._path.parent.glob(self._path.name + "*"))]

    def crash(self) -> None:
        """End at once: an open transaction is lost."""
        self.dead = self.is_closed = True
        self.connection.close()

    def close(self) -> None:
        if not self.dead:
            self.crash()

    def enqueue(self, room: bytes, item: Outgoing, sent_at: int) -> None:
        super().enqueue(room, item, sent_at)
        if item.kind is ContentKind.TEXT:
            self.device.enqueued(room, item.id, item.text)

    def put_room(self, record: RoomRecord) -> None:
        super().put_room(record)
        if record.phase is Phase.INVITED:
            self.device.let_in(record.id, record.cursor)

    def put_part(self, room: bytes, part: str, data: bytes | None) -> None:
        super().put_part(room, part, data)
        record = self.room(room) if part == "joining" and data is not None else None
        if record is not None and data is not None and not JoinRecord.decode(data).let_in:
            self.device.let_in(room, record.began)

    def put_ciphertext(self, position: int, payload: bytes | None, head: bytes | None) -> None:
        super().put_ciphertext(position, payload, head)
        if payload is not None:
            self.device.sealed(payload)

    def add_message(self, room: bytes, line: HistoryLine) -> bool:
        added = super().add_message(room, line)
        if added:
            self.device.kept(room, line)
        return added


Device_of: dict[Path, Device] = {}
"""Whose store lies where: `Client` makes a `Store` by its path alone."""
