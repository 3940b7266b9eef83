"""The tables of a profile's database, and the migrations from each earlier version. Knows no store."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from clave_wire.text import fold, skeleton

__all__ = ["MIGRATIONS"]

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE accounts(account BLOB PRIMARY KEY, name TEXT NOT NULL, verified INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE bundles(reference BLOB PRIMARY KEY, bundle BLOB NOT NULL, last_resort INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE rooms(id BLOB PRIMARY KEY, phase INTEGER NOT NULL, title TEXT NOT NULL, cursor INTEGER NOT NULL,
    submission INTEGER NOT NULL, shown INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE group_parts(room BLOB, part TEXT, data BLOB NOT NULL, PRIMARY KEY(room, part)) STRICT;
CREATE TABLE chain(room BLOB, seq INTEGER, hash BLOB NOT NULL, PRIMARY KEY(room, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE outbox(position INTEGER PRIMARY KEY AUTOINCREMENT, room BLOB NOT NULL, id BLOB NOT NULL,
    kind INTEGER NOT NULL, body TEXT NOT NULL, sent_at INTEGER NOT NULL, submission INTEGER, epoch INTEGER,
    payload BLOB) STRICT;
CREATE TABLE messages(room BLOB, seq INTEGER, sender BLOB NOT NULL, account BLOB NOT NULL, name TEXT NOT NULL,
    id BLOB NOT NULL, text TEXT NOT NULL, sent_at INTEGER NOT NULL, PRIMARY KEY(room, seq)) STRICT;
CREATE UNIQUE INDEX messages_once ON messages(room, account, id);
"""

_PROTOCOL_4 = """
ALTER TABLE rooms ADD COLUMN read INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN began INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN legacy INTEGER NOT NULL DEFAULT -1;
ALTER TABLE rooms ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN incarnation BLOB NOT NULL DEFAULT x'';
ALTER TABLE outbox ADD COLUMN head BLOB;
ALTER TABLE outbox ADD COLUMN placed INTEGER;
DELETE FROM chain;
CREATE TABLE waiting(room BLOB, seq INTEGER, entry BLOB NOT NULL, PRIMARY KEY(room, seq))
    STRICT, WITHOUT ROWID;
CREATE TABLE counts(room BLOB, device BLOB, count INTEGER NOT NULL, PRIMARY KEY(room, device))
    STRICT, WITHOUT ROWID;
"""

_DROP_FORMER_PARTS = """
DELETE FROM group_parts WHERE part IN ('home', 'home ratchets', 'let in', 'said again');
"""
"""Drop the earlier stored forms of what a rejoin needs; a device that needs them sends a new request."""

_PINS = """
CREATE TABLE pins(skeleton TEXT PRIMARY KEY, folded TEXT NOT NULL, name TEXT NOT NULL, account BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE INDEX pins_folded ON pins(folded);
"""

_NUMBER_BUNDLES = """
DELETE FROM group_parts WHERE part = 'homes';
ALTER TABLE bundles ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
"""
"""Drop whole groups that were stored of epochs left by a rejoin; number the key packages."""

_BUNDLE_SUITES = """
ALTER TABLE bundles ADD COLUMN suite INTEGER NOT NULL DEFAULT 0;
"""
"""Store the suite of key packages; 0 for those stored before, which stay."""

_EVENTS = """
CREATE TABLE events(number INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL) STRICT;
CREATE TABLE consumers(name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE requests(number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL, room BLOB NOT NULL, outcome BLOB) STRICT;
CREATE TABLE typed_lines(number INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL) STRICT;
"""
"""Events by number with their consumers, the outcomes of requests, and the lines typed at the prompt."""

_STORED_ROSTERS = """
DELETE FROM group_parts WHERE part = 'roster';
"""
"""Rosters are stored beside the keys from here on; earlier versions would not keep them up to date."""

_REPLACE_KEY_PACKAGES = """
DELETE FROM meta WHERE key = 'publications' OR key GLOB 'last_resort_to_publish *';
"""
"""Have the relay's key packages replaced: earlier versions' ones had extensions that were not listed."""


def _bind_verified_names(db: apsw.Connection) -> None:
    """Pin the names of the verified accounts, and of no others."""
    db.execute(_PINS)
    verified = db.execute("SELECT name, account FROM accounts WHERE verified = 1").fetchall()
    for name, account in verified:
        row = (skeleton(str(name)), fold(str(name)), name, account)
        db.execute("INSERT OR IGNORE INTO pins VALUES (?, ?, ?, ?)", row)


MIGRATIONS: tuple[str | Callable[[apsw.Connection], None], ...] = (
    _SCHEMA,
    _PROTOCOL_4,  # one log chain, waiting rekeys, a count of each sender's messages
    _bind_verified_names,
    _DROP_FORMER_PARTS,
    _NUMBER_BUNDLES,
    _BUNDLE_SUITES,
    _EVENTS,
    _STORED_ROSTERS,
    _REPLACE_KEY_PACKAGES,
)
"""The steps from each version of the schema to the next: statements, or a function that runs them."""
