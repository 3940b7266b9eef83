"""A thread with a database connection of its own, to which the event loop hands work. Knows no SQL."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import apsw

from clave_server.errors import DamageError, ServerError, StorageError

__all__ = ["DbThread", "call_async", "in_transaction"]

_T = TypeVar("_T")


class DbThread:
    """Runs work in the order given and reports each outcome on the loop."""

    def __init__(self, name: str, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection = connection
        self._work: queue.SimpleQueue[Callable[[apsw.Connection], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pieces of work given and not begun."""
        return self._work.qsize()

    async def run(self, work: Callable[[apsw.Connection], _T]) -> _T:
        """Run `work` on the thread and return its result. Raises its `ServerError`.

        After `stop` it never returns.
        """
        return await call_async(lambda done: self.submit(work, done))

    def submit(self, work: Callable[[apsw.Connection], _T], done: Callable[[_T | ServerError], None]) -> None:
        """Run `work` on the thread, then call `done` on the loop with its result or its `ServerError`.

        The callback form of `run`, without a future, for work done for every message.
        """

        def task(connection: apsw.Connection) -> None:
            outcome: _T | ServerError
            try:
                outcome = work(connection)
            except ServerError as error:
                outcome = error
            except (apsw.Error, OSError) as error:
                outcome = StorageError(str(error))
            except UnicodeDecodeError:
                outcome = DamageError("a text in the database is damaged on disk")
            except Exception as error:  # noqa: BLE001  (a defect: reported, and the thread goes on)
                self._loop.call_soon_threadsafe(
                    self._loop.call_exception_handler, {"message": "a defect", "exception": error}
                )
                outcome = StorageError("the relay made a mistake; its log says more")
            self._loop.call_soon_threadsafe(done, outcome)

        self._work.put(task)

    def stop(self) -> None:
        """Finish the work given, close the connection and end the thread."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._work.get()) is not None:
            task(self._connection)
        with contextlib.suppress(apsw.Error):  # if the disk fails now, the WAL has what was committed
            self._connection.close()


async def call_async(submit: Callable[[Callable[[_T | Exception], None]], None]) -> _T:
    """Call `submit` with a callback, wait until it is called, and return or raise what it is called with."""
    future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

    def settle(outcome: _T | Exception) -> None:
        if future.done():  # the caller was cancelled meanwhile
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    submit(settle)
    return await future


def in_transaction(connection: apsw.Connection, work: Callable[[apsw.Connection], _T]) -> _T:
    """Run `work` in one transaction; it is on disk when this returns, and rolled back when it raises."""
    connection.execute("BEGIN IMMEDIATE")
    worked = False
    try:
        result = work(connection)
        worked = True
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if worked:
            _overwrite_failed_frames(connection)
        raise
    return result


def _overwrite_failed_frames(connection: apsw.Connection) -> None:
    """Overwrite failed WAL frames with a no-op commit so that recovery cannot replay them.

    A COMMIT whose sync fails leaves its frames in the write-ahead log.
    """
    with contextlib.suppress(apsw.Error):
        connection.pragma("user_version", connection.pragma("user_version"))
