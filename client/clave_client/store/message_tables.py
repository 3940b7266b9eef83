"""The tables of messages: what was said, its former versions, what is to disappear. Knows no protocol.

Rooms and senders are numbered, as every message names one of each. What a message was is deleted with it, in
every table and in the search index, and by `secure_delete` from the file's pages.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw
import msgspec

from clave_client.errors import StoreFull
from clave_client.events import MessageKind
from clave_client.store.connection import BUSY_TIMEOUT, StoreConnection
from clave_client.store.search_index import SearchIndex
from clave_crypto.keys import Secret
from clave_wire.text import fold

__all__ = ["MOST_VERSIONS", "HistoryLine", "MessageTables", "Version"]

_MAX_SEQ = 2**63 - 1

MOST_VERSIONS = 20
"""Former versions kept of an edited message."""


class HistoryLine(msgspec.Struct, frozen=True, array_like=True):
    """One message of a room's history, under its history seq.

    `sent_at` is the time to show, in milliseconds since 1970: by the sender's clock in the former format,
    else `accepted_at`, or by this machine's clock where the relay tells none. `accepted_at` is the relay's
    clock, 0 if not known. `text` is safe to show; `markup` is the Markdown that it comes from, or empty.
    `edits` counts how often it was edited, `by` is who removed it, if another account did. It is to be
    deleted at `expires_at` (ms since 1970), or `expires_after` seconds after it is shown if that is sooner; 0
    for never.
    `mentions_me` says that it mentions this account.
    """

    seq: int
    sender: bytes
    account: bytes
    name: str
    id: bytes
    text: str
    sent_at: int
    kind: MessageKind = MessageKind.TEXT
    markup: str = ""
    reply_to: bytes = b""
    accepted_at: int = 0
    edits: int = 0
    by: str = ""
    expires_at: int = 0
    expires_after: int = 0
    mentions_me: bool = False

    def __repr__(self) -> str:
        return f"<HistoryLine {self.seq!r} {self.name!r} {self.id!r}, {len(self.text)} characters>"


class Version(msgspec.Struct, frozen=True, array_like=True):
    """A former version of a message, and when it was said (ms since 1970)."""

    id: bytes
    text: str
    markup: str
    sent_at: int

    def __repr__(self) -> str:
        return f"<Version {self.id!r}, {len(self.text)} characters>"


_FIELDS = (
    "seq, writer.device, writer.account, writer.name, messages.id, text, sent_at, kind, markup, reply_to,"
    " accepted_at, edits, coalesce(remover.name, ''), expires_at, expires_after, mentions_me"
)
_JOINED = (
    "messages JOIN senders AS writer ON writer.number = messages.sender"
    " LEFT JOIN senders AS remover ON remover.number = messages.remover"
)
_ROOM = "messages.room = (SELECT number FROM room_numbers WHERE id = ?)"
_SHOWN = "kind < 5 AND writer.account NOT IN (SELECT account FROM blocked)"  # neither EXPIRED nor HIDDEN
_TELLING = "(1, 3, 5)"
"""The kinds of contents with words or an emoji: messages, edits, reactions."""
_EDITED = b'{"type":"message_edited",'
_NEW = "kind <= 2"  # TEXT or UNKNOWN
_WITH_ID = (
    "row = (SELECT row FROM messages WHERE id = ?2 UNION ALL SELECT row FROM messages WHERE version = ?2"
    " UNION ALL SELECT message FROM versions WHERE id = ?2 LIMIT 1)"
)


class MessageTables(StoreConnection):
    """The messages of all rooms, which are named by their 16-byte ids. The caller opens transactions.

    What blocked accounts said is left out wherever several messages are returned. `erased` says that
    something was deleted of which traces are left until `remove_traces`.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        super().__init__(path, key)
        self.index = SearchIndex(self)
        self.erased = True  # the run before may have ended just after it deleted something
        self._rooms: dict[bytes, int] = {}
        self._senders: dict[tuple[bytes, bytes, str], int] = {}

    def roll_back(self) -> None:
        """Roll back, and forget numbers that were given since."""
        self._rooms.clear()
        self._senders.clear()
        self.index.roll_back()
        super().roll_back()

    # --- numbers ---

    def room_number(self, room: bytes) -> int:
        """Return the number of a room, a new one if it has none."""
        number = self._rooms.get(room)
        if number is None:
            self.run("INSERT OR IGNORE INTO room_numbers(id) VALUES (?)", room)
            number = self.integer("SELECT number FROM room_numbers WHERE id = ?", room)
            self._rooms[room] = number
        return number

    def sender_number(self, sender: tuple[bytes, bytes, str]) -> int:
        """Return the number of a device, its account and its name; a new one if it has none."""
        number = self._senders.get(sender)
        if number is None:
            self.run("INSERT OR IGNORE INTO senders(device, account, name) VALUES (?, ?, ?)", *sender)
            where = "device = ? AND account = ? AND name = ?"
            number = self.integer(f"SELECT number FROM senders WHERE {where}", *sender)  # noqa: S608
            self._senders[sender] = number
        return number

    def senders_called(self, name: str) -> list[int]:
        """Return the numbers of the accounts that go by a name, or if none does, by it in another case."""
        rows = self.rows("SELECT DISTINCT account, name FROM senders")
        found = [account for account, other in rows if other == name]
        found = found or [account for account, other in rows if fold(str(other)) == fold(name)]
        return [number for account in dict.fromkeys(found) for number in self._numbers("= ?", account)]

    def blocked_senders(self) -> list[int]:
        """Return the numbers of the blocked accounts."""
        return self._numbers("IN (SELECT account FROM blocked)")

    def _numbers(self, accounts: str, *values: apsw.SQLiteValue) -> list[int]:
        sql = f"SELECT number FROM senders WHERE account {accounts}"  # noqa: S608 (constant words)
        return [msgspec.convert(number, int) for (number,) in self.rows(sql, *values)]

    def integer(self, sql: str, *values: apsw.SQLiteValue) -> int:
        """Return the first value that `sql` finds, 0 for none."""
        for (value,) in self.rows(sql, *values):
            return msgspec.convert(value or 0, int)
        return 0

    # --- writing messages ---

    def add_message(self, room: bytes, line: HistoryLine) -> bool:
        """Add a message to the history; return False when its id is there already."""
        number, sender = self.room_number(room), self.sender_number((line.sender, line.account, line.name))
        sql = (
            "INSERT INTO messages(room, seq, sender, id, kind, text, markup, sent_at, accepted_at, reply_to,"
            " expires_at, expires_after, mentions_me) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING"
        )
        before = self.connection.total_changes()
        head = (number, line.seq, sender, line.id, int(line.kind), line.text, line.markup, line.sent_at)
        rest = (line.accepted_at, line.reply_to, line.expires_at, line.expires_after, int(line.mentions_me))
        self.run(sql, *head, *rest)
        if self.connection.total_changes() == before:
            return False
        row = self.connection.last_insert_rowid()
        self.index.add(row, number, sender, line.text)
        self.index.note_time(row, line.sent_at)
        return True

    def edit_message(self, room: bytes, message: bytes, version: bytes, line: HistoryLine) -> None:
        """Give a message the text, markup, mention and expiry of `line`; keep its last 20 former versions.

        `version` is the id of the message that brought the new text, said at `line.sent_at`.
        """
        row, number, sender, former = self.row_of(room, message)
        again = self.is_version(room, message, version)
        self.run("DELETE FROM versions WHERE message = ? AND id = ?", row, version)
        place = self.integer("SELECT max(number) FROM versions WHERE message = ?", row) + 1
        self.run(
            "INSERT INTO versions SELECT row, ?, coalesce(version, id), text, markup, max(sent_at, edited_at)"
            " FROM messages WHERE row = ?",
            place,
            row,
        )
        self.run("DELETE FROM versions WHERE message = ? AND number <= ?", row, place - MOST_VERSIONS)
        self.index.remove(row, number, sender, former)
        self.run(
            "UPDATE messages SET text = ?, markup = ?, mentions_me = ?, expires_at = ?, edited_at = ?,"
            " version = ?, edits = edits + ? WHERE row = ?",
            line.text,
            line.markup,
            int(line.mentions_me),
            line.expires_at,
            line.sent_at,
            version,
            int(not again),
            row,
        )
        self.index.add(row, number, sender, line.text)
        self._clear_events(room, "message = ? AND substr(event, 1, ?) = ?", message, len(_EDITED), _EDITED)

    def erase_message(
        self, room: bytes, message: bytes, kind: MessageKind, by: HistoryLine | None = None
    ) -> None:
        """Delete what a message said, its versions and what belongs to it; note what became of it as `kind`.

        `by` is a line whose sender removed it, if another account did. What waits to be sent about a message
        that is hidden on this device only, the others still get.
        """
        row, number, sender, former = self.row_of(room, message)
        remover = None if by is None else self.sender_number((by.sender, by.account, by.name))
        self.index.remove(row, number, sender, former)
        for table in ("versions", "reactions", "receipts"):
            self.run(f"DELETE FROM {table} WHERE message = ?", row)  # noqa: S608 (constant names)
        for table, text in (("sent", "text"), ("outbox", "body")):  # that something was sent stays
            if table == "outbox" and kind is MessageKind.HIDDEN:
                continue
            self.run(
                f"UPDATE {table} SET {text} = '', data = x'' WHERE kind IN {_TELLING}"  # noqa: S608 (constants)
                " AND (id = ?1 OR target = ?1)",
                message,
            )
        self.run("DELETE FROM typed_lines WHERE message = ?", message)
        self.run(
            "UPDATE messages SET text = '', markup = '', kind = ?, remover = ?, mentions_me = 0, edits = 0,"
            " version = NULL, expires_at = 0, expires_after = 0 WHERE row = ?",
            int(kind),
            remover,
            row,
        )
        self._clear_events(room, "message = ?", message)
        self.erased = True

    def _clear_events(self, room: bytes, which: str, *values: apsw.SQLiteValue) -> None:
        """Have stored events say nothing any more; they stay, so that numbers have no gap."""
        nothing = b'{"type":"outbox_changed","room":"%s"}' % room.hex().encode()
        self.run(f"UPDATE events SET event = ?, message = NULL WHERE {which}", nothing, *values)  # noqa: S608

    def remove_traces(self) -> None:
        """Delete what was erased from the write-ahead log too; not in a transaction.

        While another program reads the store, or the disk is full, that cannot be; then `erased` stays true.
        """
        if not self.erased or self.connection.in_transaction:
            return
        self.connection.set_busy_timeout(0)
        try:
            with contextlib.suppress(StoreFull):
                ((is_busy, *_),) = self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
                self.erased = bool(is_busy)
        finally:
            self.connection.set_busy_timeout(BUSY_TIMEOUT)

    def row_of(self, room: bytes, message: bytes) -> tuple[int, int, int, str]:
        """Return a message's row, the numbers of its room and sender, and its text."""
        sql = f"SELECT row, messages.room, sender, text FROM messages WHERE {_ROOM} AND id = ?"  # noqa: S608
        ((row, number, sender, text),) = self.rows(sql, room, message)
        return msgspec.convert((row, number, sender, text), tuple[int, int, int, str])

    # --- reading messages ---

    def history(
        self, room: bytes, *, after: int = 0, before: int = _MAX_SEQ, last: int = -1
    ) -> list[HistoryLine]:
        """Return messages with a seq between two, oldest first; with `last` the newest only."""
        place = f"{_ROOM} AND seq > ? AND seq < ? AND {_SHOWN} ORDER BY seq DESC LIMIT ?"
        return self.lines(place, room, after, before, last)[::-1]

    def next_messages(
        self, room: bytes, after: int, limit: int, *, before: int = _MAX_SEQ
    ) -> list[HistoryLine]:
        """Return the first `limit` messages with a seq between `after` and `before`, oldest first."""
        place = f"{_ROOM} AND seq > ? AND seq < ? AND {_SHOWN} ORDER BY seq LIMIT ?"
        return self.lines(place, room, after, before, limit)

    def unshown_messages(
        self, room: bytes, own: bytes, shown: int, late: frozenset[int], limit: int
    ) -> list[HistoryLine]:
        """Return the first messages of other devices than `own` with a seq above `shown` or in `late`."""
        place = (
            f"{_ROOM} AND seq > ? AND writer.device != ? AND {_SHOWN} AND {_NEW}"  # noqa: S608 (constant words)
            " AND (seq > ? OR seq IN (SELECT value FROM json_each(?))) ORDER BY seq LIMIT ?"
        )
        first, listed = min(late, default=shown + 1) - 1, json.dumps(sorted(late))
        return self.lines(place, room, first, own, shown, listed, limit)

    def unread_counts(self, own: bytes) -> dict[bytes, tuple[int, int]]:
        """Return by room how many messages of accounts but `own` were not shown, and how many mention it.

        Rooms without any are left out.
        """
        sql = (
            "SELECT rooms.id, count(*), sum(mentions_me) FROM rooms JOIN room_numbers USING (id)"  # noqa: S608
            " JOIN messages ON messages.room = room_numbers.number"
            " JOIN senders AS writer ON writer.number = sender"
            f" WHERE seq > shown AND writer.account != ? AND {_SHOWN} AND {_NEW} GROUP BY rooms.id"
            " UNION ALL SELECT late_messages.id, count(*), sum(mentions_me) FROM late_messages"
            " JOIN room_numbers ON room_numbers.id = late_messages.id"
            " JOIN messages ON messages.room = room_numbers.number AND messages.seq = late_messages.seq"
            " JOIN rooms ON rooms.id = late_messages.id AND late_messages.seq <= shown"
            " JOIN senders AS writer ON writer.number = sender"
            f" WHERE {_SHOWN} AND {_NEW} GROUP BY late_messages.id"
        )
        counts: dict[bytes, tuple[int, int]] = {}
        for row in self.rows(sql, own):
            room, count, mentions = msgspec.convert(row, tuple[bytes, int, int])
            before = counts.get(room, (0, 0))
            counts[room] = before[0] + count, before[1] + mentions
        return counts

    def late(self, room: bytes) -> frozenset[int]:
        """Return the seqs of messages that were read after what follows them in the log and are not shown."""
        rows = self.rows("SELECT seq FROM late_messages WHERE id = ?", room)
        return frozenset(msgspec.convert(seq, int) for (seq,) in rows)

    def set_late(self, room: bytes, *, added: Iterable[int], dropped: Iterable[int]) -> None:
        """Add to the late messages of a room, and drop some."""
        self.run_all("INSERT OR IGNORE INTO late_messages VALUES (?, ?)", [(room, seq) for seq in added])
        self.run_all("DELETE FROM late_messages WHERE id = ? AND seq = ?", [(room, seq) for seq in dropped])

    def message(self, room: bytes, message: bytes) -> HistoryLine | None:
        """Return the message with this id, or of which this is a version; None if there is none.

        Blocked accounts' messages and erased ones are returned too.
        """
        return next(iter(self.lines(f"{_ROOM} AND {_WITH_ID}", room, message)), None)

    def message_at(self, room: bytes, seq: int) -> HistoryLine | None:
        """Return the message at a history seq, or None."""
        return next(iter(self.lines(f"{_ROOM} AND seq = ? AND {_SHOWN}", room, seq)), None)

    def is_current(self, room: bytes, message: bytes, version: bytes) -> bool:
        """Return whether a message has this version now."""
        row, *_ = self.row_of(room, message)
        return bool(self.rows("SELECT 1 FROM messages WHERE row = ? AND version = ?", row, version))

    def is_version(self, room: bytes, message: bytes, version: bytes) -> bool:
        """Return whether a message has or had this version."""
        row, *_ = self.row_of(room, message)
        sql = (
            "SELECT 1 FROM messages WHERE row = ?1 AND version = ?2"
            " UNION ALL SELECT 1 FROM versions WHERE message = ?1 AND id = ?2"
        )
        return bool(self.rows(sql, row, version))

    def versions(self, room: bytes, message: bytes) -> list[Version]:
        """Return the former versions of a message, oldest first."""
        sql = "SELECT id, text, markup, sent_at FROM versions WHERE message = ? ORDER BY number"
        row, *_ = self.row_of(room, message)
        return [msgspec.convert(each, Version) for each in self.rows(sql, row)]

    def lines(self, where: str, *values: apsw.SQLiteValue) -> list[HistoryLine]:
        """Return the messages for which the SQL condition `where` holds."""
        sql = f"SELECT {_FIELDS} FROM {_JOINED} WHERE {where}"  # noqa: S608 (constant words)
        return [msgspec.convert(row, HistoryLine, strict=False) for row in self.rows(sql, *values)]

    def lines_at(self, rows: Sequence[int]) -> list[tuple[int, bytes, HistoryLine]]:
        """Return the messages in these rows with row and room, newest first."""
        sql = (
            f"SELECT row, room_numbers.id, {_FIELDS} FROM {_JOINED}"  # noqa: S608 (constant words)
            " JOIN room_numbers ON room_numbers.number = messages.room"
            f" WHERE row IN (SELECT value FROM json_each(?)) AND {_SHOWN} ORDER BY row DESC"
        )
        found = self.rows(sql, json.dumps(list(rows)))
        return [
            (
                msgspec.convert(row, int),
                msgspec.convert(room, bytes),
                msgspec.convert(rest, HistoryLine, strict=False),
            )
            for row, room, *rest in found
        ]

    # --- disappearing messages ---

    def start_expiry(self, room: bytes, first: int, last: int, now: int) -> None:
        """Begin the time of messages from seq `first` to `last` that disappear some time after they are read.

        `now` is in milliseconds since 1970.
        """
        self.run(
            "UPDATE messages SET expires_after = 0, expires_at ="
            " min(?1 + expires_after * 1000, CASE expires_at WHEN 0 THEN ?1 + expires_after * 1000"
            " ELSE expires_at END) WHERE room = ?2 AND seq BETWEEN ?3 AND ?4 AND expires_after > 0",
            now,
            self.room_number(room),
            first,
            last,
        )

    def due_messages(self, now: int, limit: int) -> list[tuple[bytes, bytes]]:
        """Return (room, id) of the first `limit` messages to be deleted by `now` (ms since 1970)."""
        sql = (
            "SELECT room_numbers.id, messages.id FROM messages JOIN room_numbers ON number = room"
            " WHERE expires_at > 0 AND expires_at <= ? LIMIT ?"
        )
        return [msgspec.convert(row, tuple[bytes, bytes]) for row in self.rows(sql, now, limit)]

    @property
    def next_expiry(self) -> int:
        """When the next message is to be deleted, in milliseconds since 1970; 0 for never."""
        return self.integer("SELECT min(expires_at) FROM messages WHERE expires_at > 0")
