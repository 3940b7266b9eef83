"""The tables of one profile's database: keys, group states and the outbox. Knows no protocol.

What belongs to one operation is written in one `transaction()`, so a crash leaves all of it or nothing: a
ratchet with the ciphertext made by it, a commit with its submission number, a cursor with the messages before
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.formats.composing import Outgoing
from clave_client.formats.content import ContentKind
from clave_client.store.conversation_tables import ConversationTables
from clave_client.values import Phase
from clave_crypto.keys import Secret
from clave_wire.text import fold, skeleton

__all__ = ["MOST_BUNDLES", "MOST_LAST_RESORTS", "OutboxItem", "RoomRecord", "Store"]

MOST_BUNDLES = 500
"""Most private halves of one-time key packages kept of a suite: a relay can ask for any number."""

MOST_LAST_RESORTS = 2
"""The same of last-resort packages: the published one and the next one."""


class RoomRecord(msgspec.Struct, frozen=True, array_like=True):
    """One room as stored; the fields are the table's columns.

    `cursor` is the last entry read, `read` the last of them that was no message, `shown` the last history seq
    shown. `submission` is the highest submission number that this device used in the room, `count` how many
    messages it encrypted. `began` is the entry that added this device. `lost`, unless 0, is the entry from
    which on it cannot follow the group. Entries up to `legacy` are of protocol 3; -1 until the relay says.
    `era` counts how often the relay lost entries; `incarnation` is the relay's.
    """

    id: bytes
    phase: Phase
    title: str
    cursor: int
    submission: int
    shown: int
    read: int = 0
    count: int = 0
    began: int = 0
    lost: int = 0
    legacy: int = 0
    era: int = 0
    incarnation: bytes = b""


class OutboxItem(msgspec.Struct, frozen=True, array_like=True):
    """A content that is not in the log for good; `payload` is its ciphertext, made in the epoch `head`.

    `data` is the content, and `body` the text to show of it while it waits. `target` is the message that it
    changes. `sent_at` is in milliseconds since 1970. `placed` is its entry, while a rekey before it is not
    confirmed.
    """

    position: int
    id: bytes
    kind: ContentKind
    body: str
    sent_at: int
    target: bytes
    data: bytes
    payload: bytes | None
    head: bytes | None
    placed: int | None

    def __repr__(self) -> str:
        return f"<OutboxItem {self.id!r}, {len(self.body)} characters, placed {self.placed!r}>"


class Store(ConversationTables):
    """The tables of an open database. All methods raise `StoreDamaged` when the disk or the file fails.

    Opening raises it also when `key` does not decrypt the file. `pins_version` changes whenever a pin or a
    verified account may have changed.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        super().__init__(path, key)
        self.pins_version = 0

    def roll_back(self) -> None:
        """Roll back, unless SQLite has done so itself, as after a full disk."""
        self.pins_version += 1
        super().roll_back()

    # --- meta and accounts ---

    def get(self, key: str) -> bytes | None:
        """Return the value stored under `key`, or None."""
        return self._blob("SELECT value FROM meta WHERE key = ?", key)

    def put(self, key: str, value: bytes) -> None:
        """Store `value` under `key`."""
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, bytes(value))

    def has_joined_epoch(self, authenticator: bytes) -> bool:
        """Return whether this profile joined the epoch with this authenticator by a welcome before."""
        return self.get(f"entered {authenticator.hex()}") is not None

    def note_joined_epoch(self, authenticator: bytes) -> None:
        """Note that this profile joined the epoch with this authenticator by a welcome."""
        self.put(f"entered {authenticator.hex()}", b"")

    def is_welcome_used(self, welcome: bytes) -> bool:
        """Return whether this welcome was used before."""
        return self.get(f"taken {hashlib.sha256(welcome).hexdigest()}") is not None

    def note_welcome_used(self, welcome: bytes) -> None:
        """Note that a welcome was used."""
        self.put(f"taken {hashlib.sha256(welcome).hexdigest()}", b"")

    def account(self, account: bytes) -> tuple[str, bool] | None:
        """Return the name of a stored account and whether it is verified, or None."""
        for name, verified in self.rows("SELECT name, verified FROM accounts WHERE account = ?", account):
            return str(name), bool(verified)
        return None

    def names(self) -> list[str]:
        """Return the names of all stored accounts and pins, sorted."""
        sql = "SELECT name FROM accounts UNION SELECT name FROM pins ORDER BY name"
        return [str(name) for (name,) in self.rows(sql)]

    def add_account(self, account: bytes, name: str) -> None:
        """Store an account, unless it is stored already."""
        self.run("INSERT OR IGNORE INTO accounts VALUES (?, ?, 0)", account, name)

    def account_name(self, account: bytes) -> str:
        """Return the name under which an account was stored, or an empty text."""
        for (name,) in self.rows("SELECT name FROM accounts WHERE account = ?", account):
            return str(name)
        return ""

    def accounts_called(self, name: str) -> list[bytes]:
        """Return the accounts that were stored under a name."""
        return [
            msgspec.convert(row[0], bytes)
            for row in self.rows("SELECT account FROM accounts WHERE name = ?", name)
        ]

    def verify_account(self, account: bytes) -> None:
        """Mark an account as verified."""
        self.pins_version += 1
        self.run("UPDATE accounts SET verified = 1 WHERE account = ?", account)

    # --- names bound to accounts; `pins.Pins` says when ---

    def pins(self, name: str) -> list[tuple[str, bytes]]:
        """Return (name, account) of every pin whose name is confusable with `name`, nearest first."""
        sql = (
            "SELECT name, account FROM pins WHERE skeleton = ?1 OR folded = ?2"
            " ORDER BY name = ?3 DESC, folded = ?2 DESC"
        )
        rows = self.rows(sql, skeleton(name), fold(name), name)
        return [(str(found), msgspec.convert(account, bytes)) for found, account in rows]

    def add_pin(self, name: str, account: bytes) -> None:
        """Bind a name to an account, unless a name of the same skeleton is bound."""
        self.pins_version += 1
        row = (skeleton(name), fold(name), name, account)
        self.run("INSERT OR IGNORE INTO pins VALUES (?, ?, ?, ?, 0)", *row)

    def note_decided(self, account: bytes) -> None:
        """Note that the user has decided which key is right, and that it is this account's."""
        self.run("UPDATE pins SET decided = 1 WHERE account = ?", account)

    def drop_pin(self, name: str) -> None:
        """Delete a pin, by its name as it was bound."""
        self.pins_version += 1
        self.run("DELETE FROM pins WHERE skeleton = ?", skeleton(name))

    # --- key packages ---

    def add_bundle(self, reference: bytes, bundle: bytes, suite: int, *, last_resort: bool) -> None:
        """Store the private half of a key package; delete the oldest of its kind and suite beyond the limit.

        `bundle` is secret; the database is encrypted.
        """
        number = "(SELECT coalesce(max(number), 0) + 1 FROM bundles)"
        insert = f"INSERT INTO bundles VALUES (?, ?, ?, {number}, ?)"  # noqa: S608 (no value of anybody's)
        self.run(insert, reference, bytes(bundle), int(last_resort), suite)
        delete = (
            "DELETE FROM bundles WHERE reference IN (SELECT reference FROM bundles"
            " WHERE last_resort = ? AND suite = ? ORDER BY number DESC LIMIT -1 OFFSET ?)"
        )
        self.run(delete, int(last_resort), suite, MOST_LAST_RESORTS if last_resort else MOST_BUNDLES)

    def bundle(self, reference: bytes) -> bytes | None:
        """Return the bundle of a key package, by its reference."""
        return self._blob("SELECT bundle FROM bundles WHERE reference = ?", reference)

    def bundle_references(self) -> frozenset[bytes]:
        """Return the references of all stored bundles."""
        rows = self.rows("SELECT reference FROM bundles")
        return frozenset(msgspec.convert(reference, bytes) for (reference,) in rows)

    def drop_bundle(self, reference: bytes) -> None:
        """Delete a one-time bundle that was used; a last-resort one stays."""
        self.run("DELETE FROM bundles WHERE reference = ? AND last_resort = 0", reference)

    # --- rooms ---

    def rooms(self) -> list[RoomRecord]:
        """Return all rooms, also closed ones."""
        sql = f"SELECT {_ROOM_FIELDS} FROM rooms ORDER BY title, id"  # noqa: S608 (constant names)
        return [msgspec.convert(row, RoomRecord) for row in self.rows(sql)]

    def room(self, room: bytes) -> RoomRecord | None:
        """Return a room's record, or None if this profile never was in it."""
        return next((record for record in self.rooms() if record.id == room), None)

    def put_room(self, record: RoomRecord) -> None:
        """Insert or replace a room's record."""
        self.run(_PUT_ROOM, *msgspec.structs.astuple(record))

    def forget_group(self, room: bytes) -> None:
        """Delete a room's keys, its outbox and what is stored to check entries; history stays."""
        for table in ("group_parts", "chain", "outbox", "waiting", "counts"):
            self.run(f"DELETE FROM {table} WHERE room = ?", room)  # noqa: S608 (constant names)
        self.run("DELETE FROM late_messages WHERE id = ?", room)
        self.run("DELETE FROM early_changes WHERE room = ?", self.room_number(room))

    def put_part(self, room: bytes, part: str, data: bytes | None) -> None:
        """Store one part of a room's group state, by its name; None deletes it."""
        if data is None:
            self.run("DELETE FROM group_parts WHERE room = ? AND part = ?", room, part)
        else:
            self.run("INSERT OR REPLACE INTO group_parts VALUES (?, ?, ?)", room, part, bytes(data))

    def part(self, room: bytes, part: str) -> bytes | None:
        """Return one part of a room's group state, or None."""
        return self._blob("SELECT data FROM group_parts WHERE room = ? AND part = ?", room, part)

    def small_parts(self, room: bytes) -> dict[str, bytes]:
        """Return a room's parts by name; of its keys and its roster, which are large, the first bytes."""
        sql = (
            "SELECT part, CASE WHEN part IN ('epoch', 'ratchets', 'roster') THEN substr(data, 1, 16)"
            " ELSE data END FROM group_parts WHERE room = ?"
        )
        return {str(part): msgspec.convert(data, bytes) for part, data in self.rows(sql, room)}

    # --- the log's hash chain ---

    def put_chain_hashes(self, room: bytes, hashes: Mapping[int, bytes]) -> None:
        """Store the chain's hashes by the entries they are of."""
        rows = ((room, seq, link) for seq, link in hashes.items())
        self.run_all("INSERT OR REPLACE INTO chain VALUES (?, ?, ?)", rows)

    def chain_hash(self, room: bytes, seq: int) -> bytes | None:
        """Return the chain's hash after entry `seq`, or None if it is not stored."""
        return self._blob("SELECT hash FROM chain WHERE room = ? AND seq = ?", room, seq)

    def trim_chain(self, room: bytes, before: int) -> None:
        """Delete the chain's hashes before entry `before`."""
        self.run("DELETE FROM chain WHERE room = ? AND seq < ?", room, before)

    def cut_chain(self, room: bytes, after: int) -> None:
        """Delete the chain's hashes after entry `after`."""
        self.run("DELETE FROM chain WHERE room = ? AND seq > ?", room, after)

    # --- entries that wait for a rekey to be confirmed ---

    def add_waiting(self, room: bytes, seq: int, entry: bytes) -> None:
        """Store an encoded entry."""
        self.run("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", room, seq, entry)

    def waiting(self, room: bytes) -> list[int]:
        """Return the seqs of the stored entries, ascending."""
        rows = self.rows("SELECT seq FROM waiting WHERE room = ? ORDER BY seq", room)
        return [msgspec.convert(seq, int) for (seq,) in rows]

    def waiting_entry(self, room: bytes, seq: int) -> bytes:
        """Return a stored entry."""
        entry = self._blob("SELECT entry FROM waiting WHERE room = ? AND seq = ?", room, seq)
        if entry is None:
            raise StoreDamaged(f"entry {seq} of a room is missing; restore a backup")
        return entry

    def drop_waiting(self, room: bytes, seqs: Iterable[int]) -> None:
        """Delete stored entries."""
        for seq in seqs:
            self.run("DELETE FROM waiting WHERE room = ? AND seq = ?", room, seq)

    # --- the count of each sender's messages ---

    def last_count(self, room: bytes, device: bytes) -> int:
        """Return the highest count in a device's messages, 0 for none."""
        for (count,) in self.rows("SELECT count FROM counts WHERE room = ? AND device = ?", room, device):
            return int(str(count))
        return 0

    def put_counts(self, room: bytes, counts: Mapping[bytes, int]) -> None:
        """Store the highest counts in the messages of devices."""
        rows = ((room, device, count) for device, count in counts.items())
        self.run_all("INSERT OR REPLACE INTO counts VALUES (?, ?, ?)", rows)

    # --- outbox ---

    def enqueue(self, room: bytes, item: Outgoing, sent_at: int) -> None:
        """Append a content to a room's outbox."""
        self.run(
            "INSERT INTO outbox(room, id, kind, body, sent_at, target, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            room,
            item.id,
            int(item.kind),
            item.text,
            sent_at,
            item.target,
            item.data,
        )

    def outbox(self, room: bytes, limit: int) -> list[OutboxItem]:
        """Return the first `limit` contents of a room's outbox, oldest first."""
        sql = f"SELECT {_OUTBOX_FIELDS} FROM outbox WHERE room = ? ORDER BY position LIMIT ?"  # noqa: S608
        return [msgspec.convert(row, OutboxItem) for row in self.rows(sql, room, limit)]

    def put_ciphertext(self, position: int, payload: bytes | None, head: bytes | None) -> None:
        """Store an outbox item's ciphertext before it is sent, or with None delete it."""
        self.run(
            "UPDATE outbox SET payload = ?, head = ?, placed = NULL WHERE position = ?",
            payload,
            head,
            position,
        )

    def put_placed(self, position: int, seq: int) -> None:
        """Note that an outbox item is entry `seq`, once a rekey is confirmed."""
        self.run("UPDATE outbox SET placed = ? WHERE position = ?", seq, position)

    def waiting_counts(self) -> dict[bytes, int]:
        """Return by room how many texts wait to be sent; none are left out."""
        sql = "SELECT room, count(*) FROM outbox WHERE placed IS NULL AND kind = ? GROUP BY room"
        rows = self.rows(sql, int(ContentKind.TEXT))
        return {msgspec.convert(room, bytes): msgspec.convert(count, int) for room, count in rows}

    def pending_texts(self, room: bytes | None, limit: int) -> list[tuple[bytes, OutboxItem]]:
        """Return the first texts that wait to be sent with their rooms: of one room, or of all."""
        sql = (
            f"SELECT room, {_OUTBOX_FIELDS} FROM outbox"  # noqa: S608 (constant names)
            " WHERE placed IS NULL AND kind = ? AND room = coalesce(?, room) ORDER BY position LIMIT ?"
        )
        rows = self.rows(sql, int(ContentKind.TEXT), room, limit)
        return [(msgspec.convert(of, bytes), msgspec.convert(item, OutboxItem)) for of, *item in rows]

    def is_waiting(self, room: bytes, message_id: bytes) -> bool:
        """Return whether a message is in a room's outbox."""
        return bool(self.rows("SELECT 1 FROM outbox WHERE room = ? AND id = ?", room, message_id))

    def drop_outbox(self, position: int) -> None:
        """Delete an outbox item: it is in the log, or will never be."""
        self.run("DELETE FROM outbox WHERE position = ?", position)


_OUTBOX_FIELDS = ", ".join(OutboxItem.__struct_fields__)
_ROOM_FIELDS = ", ".join(RoomRecord.__struct_fields__)
_PUT_ROOM = (
    f"INSERT OR REPLACE INTO rooms({_ROOM_FIELDS})"  # noqa: S608 (constant names)
    f" VALUES ({', '.join('?' * len(RoomRecord.__struct_fields__))})"
)
