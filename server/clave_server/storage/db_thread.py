"""A thread with a database connection of its own, to which the loop hands work. Knows no SQL and no rooms."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import apsw

from clave_server.errors import DamageError, ServerError, StorageError

__all__ = ["DbThread", "in_transaction"]

_T = TypeVar("_T")


class DbThread:
    """Does work in the order it is given and reports each outcome on the loop."""

    def __init__(self, name: str, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection = connection
        self._work: queue.SimpleQueue[Callable[[apsw.Connection], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How much work was given and is not begun."""
        return self._work.qsize()

    def do(self, work: Callable[[apsw.Connection], _T], done: Callable[[_T | ServerError], None]) -> None:
        """Run `work` on the thread, then `done` on the loop, with its result or the error it raised."""

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
            except Exception as error:  # noqa: BLE001  (a defect: reported, and the thread lives on)
                self._loop.call_soon_threadsafe(
                    self._loop.call_exception_handler, {"message": "a defect", "exception": error}
                )
                outcome = StorageError("the relay made a mistake; its log says more")
            self._loop.call_soon_threadsafe(done, outcome)

        self._work.put(task)

    def stop(self) -> None:
        """Finish what was given, close the connection and end the thread."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._work.get()) is not None:
            task(self._connection)
        with contextlib.suppress(apsw.Error):  # a disk that fails now keeps what was committed in the WAL
            self._connection.close()


def in_transaction(connection: apsw.Connection, work: Callable[[apsw.Connection], _T]) -> _T:
    """Run `work` in one transaction that is on disk when this returns, or of which nothing remains."""
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
            _write_over(connection)
        raise
    return result


def _write_over(connection: apsw.Connection) -> None:
    """Put a change of nothing in the place of a transaction whose sync failed.

    Its frames stand in the write-ahead log all the same: a kill would bring back what was refused.
    """
    with contextlib.suppress(apsw.Error):
        connection.pragma("user_version", connection.pragma("user_version"))
