"""The tables of a profile's database, and the migrations from each earlier version. Knows no store."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.mimi.message_id import legacy_message_id
from clave_client.store.search_index import SEARCH_SCHEMA, index_all
from clave_crypto.identity import DeviceKey, verify_identity
from clave_crypto.keys import Secret
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
"""Have the relay's key packages replaced, as earlier versions' ones list other extensions."""

_CONVERSATION = """
CREATE TABLE room_numbers(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE senders(number INTEGER PRIMARY KEY, device BLOB NOT NULL, account BLOB NOT NULL,
    name TEXT NOT NULL, UNIQUE(device, account, name)) STRICT;
CREATE TABLE messages(row INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL,
    sender INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, text TEXT NOT NULL,
    sent_at INTEGER NOT NULL, markup TEXT NOT NULL DEFAULT '', reply_to BLOB NOT NULL DEFAULT x'',
    accepted_at INTEGER NOT NULL DEFAULT 0, version BLOB, edited_at INTEGER NOT NULL DEFAULT 0,
    edits INTEGER NOT NULL DEFAULT 0, remover INTEGER, expires_at INTEGER NOT NULL DEFAULT 0,
    expires_after INTEGER NOT NULL DEFAULT 0, mentions_me INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE UNIQUE INDEX messages_by_place ON messages(room, seq);
CREATE UNIQUE INDEX messages_by_id ON messages(id, room);
CREATE INDEX messages_by_version ON messages(version) WHERE version IS NOT NULL;
CREATE INDEX messages_due ON messages(expires_at) WHERE expires_at > 0;
CREATE INDEX messages_unread ON messages(room, seq) WHERE expires_after > 0;
CREATE TABLE versions(message INTEGER, number INTEGER, id BLOB NOT NULL, text TEXT NOT NULL,
    markup TEXT NOT NULL, sent_at INTEGER NOT NULL, PRIMARY KEY(message, number)) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_id ON versions(id);
CREATE TABLE reactions(message INTEGER, sender INTEGER, reaction TEXT, id BLOB NOT NULL,
    PRIMARY KEY(message, sender, reaction)) STRICT, WITHOUT ROWID;
CREATE INDEX reactions_by_id ON reactions(id);
CREATE TABLE receipts(message INTEGER, sender INTEGER, status INTEGER NOT NULL,
    PRIMARY KEY(message, sender)) STRICT, WITHOUT ROWID;
CREATE TABLE receipts_due(room INTEGER, id BLOB, status INTEGER NOT NULL, PRIMARY KEY(room, id))
    STRICT, WITHOUT ROWID;
CREATE TABLE sent(id BLOB PRIMARY KEY, room INTEGER NOT NULL, place INTEGER NOT NULL, kind INTEGER NOT NULL,
    target BLOB NOT NULL, data BLOB NOT NULL, text TEXT NOT NULL, sent_at INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE INDEX sent_by_place ON sent(room, place);
CREATE TABLE early_changes(room INTEGER, target BLOB, place INTEGER, account BLOB NOT NULL,
    kind INTEGER NOT NULL, change BLOB NOT NULL, PRIMARY KEY(room, target, place)) STRICT, WITHOUT ROWID;
CREATE TABLE blocked(account BLOB PRIMARY KEY, name TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE room_settings(room BLOB, name TEXT, value TEXT NOT NULL, PRIMARY KEY(room, name))
    STRICT, WITHOUT ROWID;
CREATE TABLE late_messages(id BLOB, seq INTEGER, PRIMARY KEY(id, seq)) STRICT, WITHOUT ROWID;
ALTER TABLE typed_lines ADD COLUMN message BLOB;
CREATE INDEX typed_by_message ON typed_lines(message) WHERE message IS NOT NULL;
ALTER TABLE events ADD COLUMN message BLOB;
CREATE INDEX events_by_message ON events(message) WHERE message IS NOT NULL;
ALTER TABLE outbox ADD COLUMN target BLOB NOT NULL DEFAULT x'';
ALTER TABLE outbox ADD COLUMN data BLOB NOT NULL DEFAULT x'';
DELETE FROM group_parts WHERE part = 'roster';
DELETE FROM meta WHERE key = 'publications' OR key GLOB 'last_resort_to_publish *';
"""
"""Messages with numbered rooms and senders; what belongs to them; the contents that this device sent.

Rosters are stored anew, with who reads which content, and key packages replaced, to say it of this device.
"""

_OWN_SETTINGS = """
CREATE TABLE own_settings(kind INTEGER, subject BLOB, mine BLOB NOT NULL, value BLOB NOT NULL,
    stamp INTEGER NOT NULL, writer BLOB NOT NULL, to_send INTEGER NOT NULL, to_apply INTEGER NOT NULL,
    PRIMARY KEY(kind, subject)) STRICT, WITHOUT ROWID;
ALTER TABLE pins ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;
"""
"""What the devices of the account share: `value` is the latest, `mine` what was here at the last look.

Of pins, which of them the user has decided or verified.
"""


def _bind_verified_names(db: apsw.Connection) -> None:
    """Pin the names of the verified accounts, and of no others."""
    db.execute(_PINS)
    verified = db.execute("SELECT name, account FROM accounts WHERE verified = 1").fetchall()
    for name, account in verified:
        row = (skeleton(str(name)), fold(str(name)), name, account)
        db.execute("INSERT OR IGNORE INTO pins VALUES (?, ?, ?, ?)", row)


def _convert_messages(db: apsw.Connection) -> None:
    """Give all messages the ids that their members derive, and keep what this device sent as it was sent."""
    account, device = _own_keys(db)
    db.execute("DROP INDEX messages_once; ALTER TABLE messages RENAME TO former_messages")
    db.execute(_CONVERSATION)
    db.execute(SEARCH_SCHEMA)
    db.create_scalar_function("derived_id", _derived_id, 3, deterministic=True)
    db.execute("INSERT INTO room_numbers(id) SELECT DISTINCT room FROM former_messages")
    people = "SELECT DISTINCT sender, account, name FROM former_messages"
    db.execute(f"INSERT INTO senders(device, account, name) {people}")
    db.execute(
        "INSERT INTO messages(room, seq, sender, id, kind, text, sent_at) SELECT room_numbers.number, seq,"
        " senders.number, derived_id(room, former.account, former.id), 1, text, sent_at"
        " FROM former_messages AS former JOIN room_numbers ON room_numbers.id = room JOIN senders"
        " ON (senders.device, senders.account, senders.name) = (former.sender, former.account, former.name)"
        " ORDER BY former.rowid"
    )
    index_all(db)
    again = _places_of_resent(db)
    own = "SELECT room, seq, id, text, sent_at FROM former_messages WHERE sender = ?"
    for row in db.execute(own, (device,)).fetchall():
        room, seq, own_id, text, sent_at = msgspec.convert(row, tuple[bytes, int, bytes, str, int])
        data = encode_former(FormerContent(own_id, FormerKind.TEXT, text, b"", sent_at))
        found = legacy_message_id(room, account, own_id)
        place = again.get((room, own_id), seq)
        db.execute(
            "INSERT INTO sent SELECT ?, number, ?, 1, x'', ?, ?, ? FROM room_numbers WHERE id = ?",
            (found, place, data, text, sent_at, room),
        )
    for row in db.execute("SELECT position, room, id, kind, body, sent_at FROM outbox").fetchall():
        position, room, own_id, kind, body, sent_at = msgspec.convert(
            row, tuple[int, bytes, bytes, int, str, int]
        )
        data = encode_former(FormerContent(own_id, FormerKind(kind), body, b"", sent_at))
        found = legacy_message_id(room, account, own_id)
        db.execute("UPDATE outbox SET id = ?, data = ? WHERE position = ?", (found, data, position))
    for row in db.execute("SELECT number, event FROM events").fetchall():
        number, event = msgspec.convert(row, tuple[int, bytes])
        if (about := _message_of(msgspec.json.decode(event), account)) is not None:
            db.execute("UPDATE events SET message = ? WHERE number = ?", (about, number))
    db.create_scalar_function("derived_id", None)
    for row in db.execute("SELECT room, data FROM group_parts WHERE part = 'late'").fetchall():
        room, data = msgspec.convert(row, tuple[bytes, bytes])
        places = [(room, place) for (place,) in struct.iter_unpack(">Q", data)]
        db.executemany("INSERT INTO late_messages VALUES (?, ?)", places)
    db.execute("DROP TABLE former_messages; DELETE FROM group_parts WHERE part IN ('said again', 'late')")


def _derived_id(*values: apsw.SQLiteValue) -> bytes:
    return legacy_message_id(*msgspec.convert(values, tuple[bytes, bytes, bytes]))


def _message_of(event: dict[str, Any], own: bytes) -> bytes | None:
    """Return the id of the message that a stored event is about, as members derive it, or None."""
    if "id" not in event:
        return None
    account = bytes.fromhex(event["sender"]["account"]) if "sender" in event else own
    return legacy_message_id(bytes.fromhex(event["room"]), account, bytes.fromhex(event["id"]))


def _own_keys(db: apsw.Connection) -> tuple[bytes, bytes]:
    """Return the profile's account and device key, empty if it has none yet."""
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('identity', 'device_secret')"))
    if len(meta) < 2:
        return b"", b""
    device = DeviceKey.from_secret(Secret(meta["device_secret"])).public
    return verify_identity(meta["identity"], device).account, device


def _places_of_resent(db: apsw.Connection) -> dict[tuple[bytes, bytes], int]:
    """Return by room and id the latest places of messages that this device has sent again."""
    places = {}
    for row in db.execute("SELECT room, data FROM group_parts WHERE part = 'said again'").fetchall():
        room, data = msgspec.convert(row, tuple[bytes, bytes])
        places.update({(room, found): place for found, place in struct.iter_unpack(">16sQ", data)})
    return places


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
    _convert_messages,  # ids of 32 bytes, and what a conversation needs
    _REPLACE_KEY_PACKAGES,  # with those that list what rooms with links have
    _OWN_SETTINGS,
)
"""The steps from each version of the schema to the next: statements, or a function that runs them."""
