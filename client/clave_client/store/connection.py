"""A connection to a profile's encrypted database: opening, migration, transactions. Knows no tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import msgspec

from clave_client.errors import ProfileOfOther, StoreDamaged, StoreFull
from clave_client.store import schema
from clave_crypto.keys import Secret

__all__ = ["BUSY_TIMEOUT", "StoreConnection"]

BUSY_TIMEOUT: Final = 2000
"""How long to wait for another program that uses the store, in milliseconds."""

_FAILED_WRITES: Final = {
    apsw.SQLITE_IOERR_WRITE,
    apsw.SQLITE_IOERR_FSYNC,
    apsw.SQLITE_IOERR_DIR_FSYNC,
    apsw.SQLITE_IOERR_TRUNCATE,
    apsw.SQLITE_IOERR_SHMSIZE,
    apsw.SQLITE_IOERR_SHMMAP,
}
"""What SQLite says of a disk that is full, beside "full" itself: these come from its other files."""

_FULL: Final = 2
"""SQLite's number of the setting by which a commit waits until it is on disk."""


class StoreConnection:
    """An open database. All methods raise `StoreDamaged` when the disk or the file fails.

    Opening raises `StoreDamaged` also when `key` does not decrypt it.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        if path.exists() and not path.stat().st_size:
            raise StoreDamaged(f"{path} is empty, by a crash or a lost disk; restore a backup")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise ProfileOfOther(f"{path} cannot be written: it is another user's, or its disk is read-only")
        path.touch(mode=0o600, exist_ok=True)
        self.is_closed = False
        self.connection = apsw.Connection(str(path))
        try:
            self.connection.pragma("key", "raw:" + key.hex())
            self.connection.set_busy_timeout(BUSY_TIMEOUT)
            self.connection.pragma("journal_mode", "wal")
            self.connection.pragma("synchronous", "full")
            self.connection.pragma("secure_delete", "on")
            self._migrate()
        except apsw.NotADBError:
            self.connection.close()
            raise StoreDamaged(
                f"{path} is damaged or of another profile: its key does not open it; restore a backup"
            ) from None
        except apsw.Error as error:
            self.connection.close()
            raise _damaged(error) from None

    def _migrate(self) -> None:
        version = self.connection.pragma("user_version")
        if version > len(schema.MIGRATIONS):
            self.connection.close()
            raise StoreDamaged("this profile was written by a newer clave; update this one")
        if version < len(schema.MIGRATIONS):
            with self.connection:
                for migration in schema.MIGRATIONS[version:]:
                    if isinstance(migration, str):
                        self.connection.execute(migration)
                    else:
                        migration(self.connection)
                self.connection.pragma("user_version", len(schema.MIGRATIONS))

    def close(self) -> None:
        """Close the database. Closing twice does nothing."""
        self.is_closed = True
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside durably, or roll it back on an exception.

        Inside another transaction it is part of that one.
        """
        if self.connection.in_transaction:
            yield
            return
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    @contextmanager
    def unsynced(self) -> Iterator[None]:
        """Commit what is inside without waiting for the disk; the next other commit waits for all of it.

        If the power fails before, the transactions are lost from some point on, and none of them in part. So
        this is only for what can be repeated, as reading what the relay keeps.
        """
        if self.connection.pragma("synchronous") != _FULL:
            yield
            return
        self.connection.pragma("synchronous", "normal")
        try:
            yield
        finally:
            self.connection.pragma("synchronous", "full")

    def watch(self, written: Callable[[], None] | None) -> None:
        """Call `written` whenever something is being committed, inside that commit; None ends that."""

        def committing() -> bool:
            if written is not None:
                written()
            return False  # go on

        self.connection.set_commit_hook(None if written is None else committing)

    def roll_back(self) -> None:
        """Roll back, unless SQLite has done so itself, as after a full disk."""
        if self.connection.in_transaction:
            self.run("ROLLBACK")

    def rows(self, sql: str, *values: apsw.SQLiteValue) -> list[tuple[apsw.SQLiteValue, ...]]:
        """Run a statement and return its rows. Raises `StoreDamaged`."""
        try:
            # All at once: apsw 3.54 never frees a cursor that is alive while another one ends.
            return self.connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise _damaged(error) from None

    def run(self, sql: str, *values: apsw.SQLiteValue) -> None:
        """Run a statement that returns nothing. Raises `StoreDamaged`."""
        self.rows(sql, *values)

    def run_all(self, sql: str, rows: Iterable[tuple[apsw.SQLiteValue, ...]]) -> None:
        """Run a statement that returns nothing once for each row of values. Raises `StoreDamaged`."""
        try:
            self.connection.executemany(sql, rows).fetchall()
        except apsw.Error as error:
            raise _damaged(error) from None

    def _blob(self, sql: str, *values: apsw.SQLiteValue) -> bytes | None:
        """Return the first value that `sql` finds, or None."""
        for (value,) in self.rows(sql, *values):
            return msgspec.convert(value, bytes)
        return None


def _damaged(error: apsw.Error) -> StoreDamaged:
    if isinstance(error, apsw.FullError):
        return StoreFull("the profile's disk is full; free some space, nothing is lost")
    if isinstance(error, apsw.ReadOnlyError):
        return StoreFull("the profile's folder cannot be written now; nothing is lost")
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _FAILED_WRITES:
        return StoreFull("the profile's disk takes no more: it is full or fails; nothing is lost")
    return StoreDamaged(f"the profile's database failed ({error}); check the disk or restore a backup")
