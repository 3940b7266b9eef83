"""What an audit of a room reads from a profile's database, as it is stored. Changes nothing, decides nothing.

A value of a wrong type raises `msgspec.ValidationError`: the audit reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from clave_client.errors import UsageError
from clave_client.store.database import OutboxItem, Store
from clave_client.store.schema import MIGRATIONS
from clave_client.store.search_words import MOST_INDEXED, MOST_WORDS
from clave_crypto.keys import Secret

__all__ = [
    "SnapshotStore",
    "StoredMessage",
    "StoredVersion",
    "chain_rows",
    "history_rows",
    "is_indexed",
    "outbox_rows",
    "own_content",
    "read_only",
    "told_texts",
    "version_rows",
    "waiting_rows",
]

_PAGE: Final = 500


class StoredMessage(msgspec.Struct, frozen=True, array_like=True):
    """A row of the history; `version` is empty for none."""

    row: int
    seq: int
    device: bytes
    account: bytes
    id: bytes
    kind: int
    text: str
    markup: str
    version: bytes
    edits: int

    def __repr__(self) -> str:
        return f"<StoredMessage {self.seq!r}, {len(self.text)} characters>"


class StoredVersion(msgspec.Struct, frozen=True, array_like=True):
    """A former version of a message."""

    id: bytes
    text: str

    def __repr__(self) -> str:
        return f"<StoredVersion {self.id!r}, {len(self.text)} characters>"


class SnapshotStore(Store):
    """The database at one moment, while others may use and change it; everything but reading is refused.

    Raises `UsageError` for one that another version has written.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        super().__init__(path, key)
        self.connection.pragma("query_only", True)
        self.run("BEGIN")

    def _migrate(self) -> None:
        if self.connection.pragma("user_version") != len(MIGRATIONS):
            self.connection.close()
            raise UsageError("another version of clave wrote this profile last; run: clave rooms")


@contextmanager
def read_only(store: Store) -> Iterator[None]:
    """Have the database refuse every change inside."""
    before = store.connection.pragma("query_only")
    store.connection.pragma("query_only", True)
    try:
        yield
    finally:
        store.connection.pragma("query_only", before)


def chain_rows(store: Store, room: bytes) -> list[tuple[int, bytes]]:
    """Return the hashes of the log's chain by their entries, ascending."""
    rows = store.rows("SELECT seq, hash FROM chain WHERE room = ? ORDER BY seq", room)
    return [msgspec.convert(row, tuple[int, bytes]) for row in rows]


def waiting_rows(store: Store, room: bytes) -> list[bytes]:
    """Return the entries that wait for a rekey to be confirmed, as they are encoded."""
    rows = store.rows("SELECT entry FROM waiting WHERE room = ? ORDER BY seq", room)
    return [msgspec.convert(entry, bytes) for (entry,) in rows]


def outbox_rows(store: Store, room: bytes) -> list[OutboxItem]:
    """Return all contents of a room that are not in the log for good."""
    return store.outbox(room, -1)


def history_rows(store: Store, room: bytes) -> Iterator[StoredMessage]:
    """Yield all messages of a room in the order of their numbers, also erased and blocked ones."""
    sql = (
        "SELECT row, seq, device, account, messages.id, kind, text, markup,"
        " coalesce(version, x''), edits FROM messages JOIN senders ON senders.number = sender"
        " JOIN room_numbers ON room_numbers.number = messages.room"
        " WHERE room_numbers.id = ? AND seq > ? ORDER BY seq LIMIT ?"
    )
    after = -1
    while rows := store.rows(sql, room, after, _PAGE):
        for row in rows:
            found = msgspec.convert(row, StoredMessage)
            after = found.seq
            yield found


def version_rows(store: Store, row: int) -> list[StoredVersion]:
    """Return the former versions of the message in a row."""
    rows = store.rows("SELECT id, text FROM versions WHERE message = ? ORDER BY number", row)
    return [msgspec.convert(each, StoredVersion) for each in rows]


def own_content(store: Store, content: bytes) -> bytes | None:
    """Return what this device sent under an id, or None if it did not, or it was erased."""
    for (data,) in store.rows("SELECT data FROM sent WHERE id = ? AND data != x''", content):
        return msgspec.convert(data, bytes)
    return None


def told_texts(store: Store, message: bytes) -> list[str]:
    """Return the texts of a message in the stored events that told of it."""
    texts = []
    for (raw,) in store.rows("SELECT event FROM events WHERE message = ?", message):
        event = msgspec.json.decode(msgspec.convert(raw, bytes))
        if event["type"] == "message":
            texts.append(str(event["text"]))
    return texts


def is_indexed(store: Store, message: StoredMessage) -> bool:
    """Return whether the search finds a message by all of its words."""
    words = message.text[:MOST_INDEXED].split()
    for at in range(0, len(words), MOST_WORDS):
        try:
            wanted = store.index.words(" ".join(words[at : at + MOST_WORDS]))
        except ValueError:  # nothing that is searched for
            continue
        sql = "SELECT 1 FROM messages_search WHERE messages_search MATCH ? AND rowid = ?"
        if not store.rows(sql, wanted.expression, message.row):
            return False
    return True
