"""The database's tables, their migrations, and how a connection is set up. Knows no row's meaning.

Every connection has the SQL function `seal`, a checksum over values, which rows carry (see `seals`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import msgspec

from clave_server.errors import StartError

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "connect",
    "connect_reader",
    "connect_writer",
    "read_version",
    "start_errors",
    "versions_behind",
]

APPLICATION_ID: Final = 0x636C7672
"""SQLite's `application_id` of a relay's database: "clvr"."""
_SEAL_BYTES: Final = 8

_CHECKPOINT_PAGES: Final = 500
"""WAL pages at which SQLite checkpoints. Half the default: the p99 of a flush fell by a third."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE accounts(
        id INTEGER PRIMARY KEY,
        account BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        folded TEXT NOT NULL UNIQUE,
        skeleton TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE devices(
        device BLOB PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES accounts,
        identity BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX devices_of_account ON devices(account);

    CREATE TABLE key_packages(
        id INTEGER PRIMARY KEY,
        device BLOB NOT NULL REFERENCES devices,
        package BLOB NOT NULL
    ) STRICT;
    CREATE INDEX key_packages_of_device ON key_packages(device, id);
    CREATE TABLE last_resorts(
        device BLOB PRIMARY KEY REFERENCES devices,
        package BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE rooms(
        room BLOB PRIMARY KEY,
        seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        commit_seq INTEGER NOT NULL,
        contested INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE stays(
        room BLOB NOT NULL REFERENCES rooms,
        device BLOB NOT NULL REFERENCES devices,
        joined INTEGER NOT NULL,
        left INTEGER,
        PRIMARY KEY(room, device, joined)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE submissions(
        room BLOB NOT NULL REFERENCES rooms,
        device BLOB NOT NULL REFERENCES devices,
        recent BLOB NOT NULL,
        PRIMARY KEY(room, device)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE segments(
        id INTEGER PRIMARY KEY,
        room BLOB NOT NULL REFERENCES rooms,
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        digest BLOB NOT NULL,
        frames BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX segments_of_room ON segments(room, last_seq);

    CREATE TABLE welcomes(
        id INTEGER PRIMARY KEY,
        room BLOB NOT NULL REFERENCES rooms,
        seq INTEGER NOT NULL,
        sender BLOB NOT NULL REFERENCES devices,
        welcome BLOB NOT NULL
    ) STRICT;
    CREATE TABLE invitations(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device BLOB NOT NULL REFERENCES devices,
        room BLOB NOT NULL REFERENCES rooms,
        welcome INTEGER NOT NULL REFERENCES welcomes,
        UNIQUE(device, room)
    ) STRICT;
    CREATE INDEX invitations_of_welcome ON invitations(welcome);
    CREATE TRIGGER welcome_no_longer_needed AFTER DELETE ON invitations
        WHEN NOT EXISTS (SELECT 1 FROM invitations WHERE welcome = old.welcome)
        BEGIN DELETE FROM welcomes WHERE id = old.welcome; END;
    """,
    # Key packages of before were all of suite 1.
    """
    ALTER TABLE key_packages ADD COLUMN suite INTEGER NOT NULL DEFAULT 1;
    DROP INDEX key_packages_of_device;
    CREATE INDEX key_packages_of_device ON key_packages(device, suite, id);
    CREATE TABLE last_resorts_by_suite(
        device BLOB NOT NULL REFERENCES devices,
        suite INTEGER NOT NULL,
        package BLOB NOT NULL,
        PRIMARY KEY(device, suite)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO last_resorts_by_suite SELECT device, 1, package FROM last_resorts;
    DROP TABLE last_resorts;
    ALTER TABLE last_resorts_by_suite RENAME TO last_resorts;
    """,
    # Retention and quotas; operators' tokens and bans; seals by which a changed row is noticed.
    """
    ALTER TABLE accounts ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE accounts SET seal = seal('account', id, account, name);
    ALTER TABLE devices ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE devices SET seal = seal('device', device, account, identity);
    ALTER TABLE rooms ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    ALTER TABLE stays ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE stays SET seal = seal('stay', room, device, joined, left);
    ALTER TABLE submissions ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE submissions SET seal = seal('submissions', room, device, recent);
    ALTER TABLE accounts ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN kept_from INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE rooms ADD COLUMN maker INTEGER REFERENCES accounts;
    ALTER TABLE rooms ADD COLUMN committer BLOB NOT NULL DEFAULT x'';
    ALTER TABLE rooms ADD COLUMN expelled BLOB NOT NULL DEFAULT x'';
    UPDATE rooms SET seal = seal('room', room, seq, epoch, commit_seq, contested, committer, expelled,
        kept_from,
        (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
        (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room));
    CREATE INDEX rooms_of_maker ON rooms(maker);
    ALTER TABLE welcomes ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
    UPDATE welcomes SET at = 1000 * unixepoch();
    CREATE TABLE tokens(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        digest BLOB NOT NULL UNIQUE,
        note TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        expires_at INTEGER,
        uses_left INTEGER
    ) STRICT;
    CREATE TABLE bans(
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        note TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        PRIMARY KEY(kind, subject)
    ) STRICT, WITHOUT ROWID;
    """,
    # Protocol 4. A row of a room may lag behind its segments, and one that is damaged stays so.
    """
    CREATE TABLE rekeys(
        room BLOB NOT NULL REFERENCES rooms,
        author TEXT NOT NULL,
        seq INTEGER NOT NULL,
        ref BLOB NOT NULL,
        head BLOB NOT NULL,
        removed BLOB NOT NULL,
        seal BLOB NOT NULL,
        PRIMARY KEY(room, author)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('incarnation', randomblob(16));

    ALTER TABLE rooms ADD COLUMN handshake INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN legacy INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
    UPDATE rooms SET handshake = max(seq, coalesce(
        (SELECT max(last_seq) FROM segments WHERE segments.room = rooms.room), 0));
    UPDATE rooms SET legacy = handshake, seal = CASE
        WHEN seal = seal('room', room, seq, epoch, commit_seq, contested, committer, expelled, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room))
        THEN seal('room', room, seq, handshake, handshake, 0, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room), 0)
        ELSE x'' END;
    ALTER TABLE rooms DROP COLUMN epoch;
    ALTER TABLE rooms DROP COLUMN commit_seq;
    ALTER TABLE rooms DROP COLUMN contested;
    ALTER TABLE rooms DROP COLUMN committer;
    ALTER TABLE rooms DROP COLUMN expelled;
    """,
    # Seals of what is handed out or judged by; counts by which a lost row is noticed; places for invitations.
    """
    ALTER TABLE key_packages ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE key_packages SET seal = seal('key package', device, suite, package);
    ALTER TABLE last_resorts ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE last_resorts SET seal = seal('last resort', device, suite, package);
    ALTER TABLE welcomes ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE welcomes SET seal = seal('welcome', id, room, seq, sender, welcome, at);
    ALTER TABLE invitations ADD COLUMN account INTEGER REFERENCES accounts;
    ALTER TABLE invitations ADD COLUMN acquainted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE invitations ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE invitations SET account =
        (SELECT devices.account FROM welcomes JOIN devices ON devices.device = welcomes.sender
         WHERE welcomes.id = invitations.welcome);
    UPDATE invitations SET seal = seal('invitation', id, device, room, welcome, account, acquainted);
    CREATE INDEX invitations_of_device ON invitations(device, acquainted, account);
    CREATE INDEX submissions_of_device ON submissions(device);
    CREATE INDEX stays_of_device ON stays(device) WHERE left IS NULL;
    ALTER TABLE devices ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN packages BLOB NOT NULL DEFAULT x'';
    ALTER TABLE devices ADD COLUMN invited BLOB NOT NULL DEFAULT x'';
    UPDATE devices SET packages = seal('packages', device,
        (SELECT count(*) FROM key_packages WHERE key_packages.device = devices.device),
        (SELECT sum(suite) FROM key_packages WHERE key_packages.device = devices.device),
        (SELECT count(*) FROM last_resorts WHERE last_resorts.device = devices.device),
        (SELECT sum(suite) FROM last_resorts WHERE last_resorts.device = devices.device)),
        invited = seal('invited', device,
        (SELECT count(*) FROM invitations WHERE invitations.device = devices.device));
    ALTER TABLE accounts ADD COLUMN person BLOB NOT NULL DEFAULT x'';
    UPDATE accounts SET person = seal('person', id, CAST(folded AS BLOB), CAST(skeleton AS BLOB),
        (SELECT count(*) FROM devices WHERE devices.account = accounts.id));
    ALTER TABLE tokens ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE tokens SET seal = seal('token', id, digest, CAST(note AS BLOB), made_at, expires_at, uses_left);
    ALTER TABLE bans ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    UPDATE bans
        SET seal = seal('ban', CAST(kind AS BLOB), CAST(subject AS BLOB), CAST(note AS BLOB), made_at);
    CREATE TABLE totals(
        kind TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        seal BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO totals SELECT 'bans', count(*), seal('total', 'bans', count(*)) FROM bans;
    """,
    # Every restore from a backup. Of which incarnation the only one known before was is not known any more.
    """
    ALTER TABLE rooms ADD COLUMN restores BLOB NOT NULL DEFAULT x'';
    UPDATE rooms SET restores = CASE WHEN restored
        THEN CAST(zeroblob(16) || unhex(printf('%016x', restored)) AS BLOB) ELSE x'' END;
    UPDATE rooms SET seal = CASE
        WHEN seal = seal('room', room, seq, handshake, legacy, restored, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room),
            (SELECT count(*) FROM rekeys WHERE rekeys.room = rooms.room))
        THEN seal('room', room, seq, handshake, legacy, restores, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room),
            (SELECT count(*) FROM rekeys WHERE rekeys.room = rooms.room))
        ELSE x'' END;
    ALTER TABLE rooms DROP COLUMN restored;
    """,
    # Of each account an invitation to a room, and help beside it; their welcomes count as stored by it.
    # What is damaged is left out, and missed.
    """
    CREATE TABLE invitations_by_account(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device BLOB NOT NULL REFERENCES devices,
        room BLOB NOT NULL REFERENCES rooms,
        welcome INTEGER NOT NULL REFERENCES welcomes,
        account INTEGER NOT NULL REFERENCES accounts,
        acquainted INTEGER NOT NULL,
        help INTEGER NOT NULL,
        seal BLOB NOT NULL,
        UNIQUE(device, room, account, help)
    ) STRICT;
    INSERT INTO sqlite_sequence
        SELECT 'invitations_by_account', seq FROM sqlite_sequence WHERE name = 'invitations';
    INSERT INTO invitations_by_account SELECT id, device, room, welcome, account, acquainted, 0,
        seal('invitation', id, device, room, welcome, account, acquainted, 0) FROM invitations
        WHERE seal = seal('invitation', id, device, room, welcome, account, acquainted)
        AND account IS NOT NULL AND welcome IN (SELECT id FROM welcomes);
    DROP TABLE invitations;
    ALTER TABLE invitations_by_account RENAME TO invitations;
    DELETE FROM welcomes WHERE id NOT IN (SELECT welcome FROM invitations);
    UPDATE accounts SET stored = stored + coalesce(
        (SELECT sum(length(welcome)) FROM welcomes JOIN devices ON devices.device = welcomes.sender
         WHERE devices.account = accounts.id), 0);
    CREATE INDEX invitations_of_welcome ON invitations(welcome);
    CREATE INDEX invitations_of_device ON invitations(device, acquainted, account);
    CREATE TRIGGER welcome_no_longer_needed AFTER DELETE ON invitations
        WHEN NOT EXISTS (SELECT 1 FROM invitations WHERE welcome = old.welcome)
        BEGIN DELETE FROM welcomes WHERE id = old.welcome; END;
    """,
    # When a key package expires, in seconds since 1970; 0: nobody told. One that is damaged stays so.
    """
    ALTER TABLE key_packages ADD COLUMN not_after INTEGER NOT NULL DEFAULT 0;
    UPDATE key_packages SET seal = CASE WHEN seal = seal('key package', device, suite, package)
        THEN seal('key package', device, suite, package, not_after) ELSE x'' END;
    """,
    # Protocol 7: links by which strangers find a room, the sealed group infos by which they join it, and who
    # is joining. What is damaged stays so.
    """
    CREATE TABLE links(
        id INTEGER PRIMARY KEY,
        room BLOB NOT NULL REFERENCES rooms,
        link BLOB NOT NULL,
        not_after INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        revoked INTEGER NOT NULL,
        seal BLOB NOT NULL,
        UNIQUE(room, link)
    ) STRICT;
    CREATE INDEX links_by_key ON links(link);
    CREATE TABLE offers(
        id INTEGER PRIMARY KEY,
        room BLOB NOT NULL REFERENCES rooms,
        account INTEGER NOT NULL REFERENCES accounts,
        settled INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        keys BLOB NOT NULL,
        group_info BLOB NOT NULL,
        seal BLOB NOT NULL,
        UNIQUE(room, account)
    ) STRICT;
    CREATE TABLE joining(
        room BLOB NOT NULL REFERENCES rooms,
        device BLOB NOT NULL REFERENCES devices,
        seq INTEGER NOT NULL,
        seal BLOB NOT NULL,
        PRIMARY KEY(room, device)
    ) STRICT, WITHOUT ROWID;
    UPDATE rooms SET seal = CASE
        WHEN seal = seal('room', room, seq, handshake, legacy, restores, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room),
            (SELECT count(*) FROM rekeys WHERE rekeys.room = rooms.room))
        THEN seal('room', room, seq, handshake, legacy, restores, kept_from,
            (SELECT count(*) FROM stays WHERE stays.room = rooms.room),
            (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room),
            (SELECT count(*) FROM rekeys WHERE rekeys.room = rooms.room), 0)
        ELSE x'' END;
    """,
    # Several devices of one account: those that it has revoked, with its signatures.
    """
    CREATE TABLE revocations(
        account INTEGER NOT NULL REFERENCES accounts,
        device BLOB NOT NULL,
        signature BLOB NOT NULL,
        seal BLOB NOT NULL,
        PRIMARY KEY(account, device)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE accounts ADD COLUMN revoked BLOB NOT NULL DEFAULT x'';
    UPDATE accounts SET revoked = seal('revoked', id, 0);
    """,
)
"""SQL from each schema version to the next. Released entries never change."""


def connect_writer(path: Path) -> apsw.Connection:
    """Open the one connection that writes; create or migrate the database. Raises `StartError`."""
    with start_errors(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            raise StartError(f"others can read the database {path}; run: chmod 600 {path}")
        connection = connect(path, apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("fullfsync", True)
        connection.pragma("foreign_keys", True)
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        _migrate(connection, path)
    return connection


@contextlib.contextmanager
def start_errors(path: Path) -> Iterator[None]:
    """Turn errors of the database at `path` into `StartError`s of one line."""
    try:
        yield
    except OSError as error:
        raise StartError(f"cannot open the database {path}: {error.strerror}") from None
    except (apsw.NotADBError, apsw.CorruptError, UnicodeDecodeError):
        raise StartError(
            f"the database {path} is damaged or not a database; restore it from a backup, or move it away"
        ) from None
    except apsw.Error as error:
        full = isinstance(error, apsw.FullError) or _is_full(path.parent)
        reason = "its disk is full; free space" if full else error
        raise StartError(f"cannot open the database {path}: {reason}") from None


def _is_full(folder: Path) -> bool:
    """Return whether a disk has no space left, of which SQLite may tell as of any failed write."""
    try:
        return shutil.disk_usage(folder).free == 0
    except OSError:
        return False


def connect_reader(path: Path) -> apsw.Connection:
    """Open a read-only connection to a database that `connect_writer` has opened."""
    connection = connect(path, apsw.SQLITE_OPEN_READWRITE)  # a WAL needs its shared memory written
    connection.pragma("query_only", True)
    return connection


def versions_behind(path: Path) -> int:
    """Return how many migrations the database at `path` lacks; change nothing. Raises `StartError`."""
    with start_errors(path):
        connection = connect(path, apsw.SQLITE_OPEN_READWRITE)
        try:
            return len(MIGRATIONS) - read_version(connection, path)
        finally:
            connection.close()


def connect(path: Path, flags: int) -> apsw.Connection:
    """Open a database file with SQLite's `flags` (`apsw.SQLITE_OPEN_*`), and define `seal`."""
    connection = apsw.Connection(str(path), flags)
    connection.set_busy_timeout(10_000)
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)
    connection.create_scalar_function("seal", _seal, deterministic=True)
    return connection


def _seal(*values: apsw.SQLiteValue) -> bytes:
    """Return the checksum (8 bytes, BLAKE2b) of values, by which a change of them is noticed."""
    return hashlib.blake2b(msgspec.msgpack.encode(values), digest_size=_SEAL_BYTES).digest()


def read_version(connection: apsw.Connection, path: Path) -> int:
    """Return how many migrations a relay's database has, 0 for an empty one. Raises `StartError`."""
    version = int(str(connection.pragma("user_version")))
    owner = int(str(connection.pragma("application_id")))
    if version and owner != APPLICATION_ID:
        raise StartError(f"{path} is the database of another program")
    if version > len(MIGRATIONS):
        raise StartError(f"the database {path} was written by a newer clave-relay; update this one")
    return version


def _migrate(connection: apsw.Connection, path: Path) -> None:
    version = read_version(connection, path)
    with connection:
        for migration in MIGRATIONS[version:]:
            connection.execute(migration)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(MIGRATIONS))
