"""The tables of what surrounds messages: reactions, receipts, own contents as sent, blocked people, settings.

Knows no protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from clave_client.formats.content import ContentKind
from clave_client.store.message_tables import HistoryLine, MessageTables

__all__ = ["MOST_EARLY", "MOST_REACTIONS", "ConversationTables", "Reaction", "SentContent"]

MOST_REACTIONS = 20
"""Reactions of one account kept to one message."""

MOST_EARLY = 200
"""Changes kept in one room of messages that have not come yet."""

_MOST_EARLY_OF_ONE = 50
"""Most of them of one account, so that it cannot push out those of others."""

_ROOM = "messages.room = (SELECT number FROM room_numbers WHERE id = ?)"


class SentContent(msgspec.Struct, frozen=True, array_like=True):
    """A content of this device that is in the log, latest at history seq `place`, as it was sent."""

    id: bytes
    place: int
    kind: int
    target: bytes
    data: bytes
    text: str
    sent_at: int

    def __repr__(self) -> str:
        return f"<SentContent {self.id!r} at {self.place!r}>"


class Reaction(msgspec.Struct, frozen=True, array_like=True):
    """One account's reaction to a message, by the id of the message that brought it."""

    id: bytes
    account: bytes
    name: str
    reaction: str

    def __repr__(self) -> str:
        return f"<Reaction {self.id!r} of {self.name!r}>"


class ConversationTables(MessageTables):
    """The messages of all rooms with what surrounds them. The caller opens transactions."""

    _blocked: frozenset[bytes] | None = None

    def roll_back(self) -> None:
        """Roll back, and ask anew who is blocked."""
        self._blocked = None
        super().roll_back()

    # --- reactions ---

    def add_reaction(self, room: bytes, message: bytes, person: HistoryLine, reaction: str) -> bool:
        """Add a reaction by the sender of the line `person`, whose id is the reaction's.

        Return False if that account has it already, or has reacted 20 times.
        """
        row, *_ = self.row_of(room, message)
        found = [each.reaction for each in self._reactions(row) if each.account == person.account]
        if reaction in found or len(found) >= MOST_REACTIONS:
            return False
        sender = self.sender_number((person.sender, person.account, person.name))
        self.run("INSERT OR IGNORE INTO reactions VALUES (?, ?, ?, ?)", row, sender, reaction, person.id)
        return True

    def has_reaction(self, room: bytes, account: bytes, reaction: bytes) -> bool:
        """Return whether an account brought reactions by a message that are still there."""
        sql = (
            "SELECT 1 FROM reactions JOIN senders ON senders.number = reactions.sender"  # noqa: S608
            " JOIN messages ON row = message"
            f" WHERE reactions.id = ? AND account = ? AND {_ROOM}"
        )
        return bool(self.rows(sql, reaction, account, room))

    def drop_reaction(self, room: bytes, account: bytes, reaction: bytes) -> list[tuple[HistoryLine, str]]:
        """Delete the reactions that an account brought by a message; return them, and what they were to."""
        sql = (
            "SELECT message, reaction FROM reactions JOIN senders ON senders.number = sender"
            " WHERE reactions.id = ? AND account = ?"
        )
        found = [msgspec.convert(row, tuple[int, str]) for row in self.rows(sql, reaction, account)]
        dropped = []
        for row, text in found:
            for line in self.lines(f"{_ROOM} AND row = ?", room, row):
                self.run("DELETE FROM reactions WHERE message = ? AND id = ?", row, reaction)
                dropped.append((line, text))
        return dropped

    def reactions(self, room: bytes, message: bytes) -> list[Reaction]:
        """Return the reactions to a message, without those of blocked accounts."""
        row, *_ = self.row_of(room, message)
        blocked = {account for account, _ in self.blocked()}
        return [each for each in self._reactions(row) if each.account not in blocked]

    def reactions_between(self, room: bytes, first: int, last: int) -> list[tuple[bytes, Reaction]]:
        """Return the reactions to the messages from seq `first` to `last`, with the messages' ids."""
        sql = (
            "SELECT messages.id, reactions.id, account, name, reaction FROM messages"  # noqa: S608
            " JOIN reactions ON message = row JOIN senders ON senders.number = reactions.sender"
            f" WHERE {_ROOM} AND seq BETWEEN ? AND ? AND account NOT IN (SELECT account FROM blocked)"
            " ORDER BY seq, reaction, name"
        )
        rows = self.rows(sql, room, first, last)
        return [(msgspec.convert(of, bytes), msgspec.convert(rest, Reaction)) for of, *rest in rows]

    def _reactions(self, row: int) -> list[Reaction]:
        sql = (
            "SELECT reactions.id, account, name, reaction FROM reactions"
            " JOIN senders ON senders.number = sender WHERE message = ? ORDER BY reaction, name"
        )
        return [msgspec.convert(each, Reaction) for each in self.rows(sql, row)]

    # --- receipts ---

    def said(self, room: bytes, account: bytes, messages: Collection[bytes]) -> list[bytes]:
        """Return those of `messages`, by their ids, that `account` said and that are still there."""
        places = ",".join("?" * len(messages))
        sql = (
            "SELECT id FROM messages JOIN senders ON number = sender"  # noqa: S608 (constant words)
            f" WHERE id IN ({places}) AND {_ROOM} AND account = ? AND kind = 1"
        )
        return [msgspec.convert(each, bytes) for (each,) in self.rows(sql, *messages, room, account)]

    def add_receipt(self, room: bytes, message: bytes, person: HistoryLine, status: int) -> bool:
        """Note the status (delivered or read) of an own message at a person; return whether it is news."""
        row, *_ = self.row_of(room, message)
        sender = self.sender_number((person.sender, person.account, person.name))
        before = self.connection.total_changes()
        self.run(
            "INSERT INTO receipts VALUES (?1, ?2, ?3)"
            " ON CONFLICT DO UPDATE SET status = ?3 WHERE status < ?3",
            row,
            sender,
            status,
        )
        return self.connection.total_changes() > before

    def receipts(self, room: bytes, message: bytes) -> dict[bytes, int]:
        """Return the status of an own message by account."""
        row, *_ = self.row_of(room, message)
        sql = (
            "SELECT account, max(status) FROM receipts JOIN senders ON senders.number = sender"
            " WHERE message = ? GROUP BY account"
        )
        return dict(msgspec.convert(each, tuple[bytes, int]) for each in self.rows(sql, row))

    def receipt_counts(self, room: bytes, first: int, last: int) -> dict[bytes, tuple[int, int]]:
        """Return how many accounts received and read own messages, from seq `first` to `last`, by id."""
        sql = (
            "SELECT id, count(*), sum(status = 2) FROM (SELECT messages.id, account, max(status) AS status"  # noqa: S608
            " FROM messages JOIN receipts ON message = row JOIN senders ON senders.number = receipts.sender"
            f" WHERE {_ROOM} AND seq BETWEEN ? AND ? GROUP BY messages.id, account) GROUP BY id"
        )
        rows = (msgspec.convert(row, tuple[bytes, int, int]) for row in self.rows(sql, room, first, last))
        return {message: (delivered, read) for message, delivered, read in rows}

    def add_due_receipt(self, room: bytes, message: bytes, status: int) -> None:
        """Note that a status of another's message has to be reported."""
        self.run(
            "INSERT INTO receipts_due VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET status = max(status, ?3)",
            self.room_number(room),
            message,
            status,
        )

    def take_due_receipts(self, room: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Return and delete statuses to report, at most `limit`."""
        number = self.room_number(room)
        rows = self.rows("SELECT id, status FROM receipts_due WHERE room = ? LIMIT ?", number, limit)
        for message, _ in rows:
            self.run("DELETE FROM receipts_due WHERE room = ? AND id = ?", number, message)
        return [msgspec.convert(row, tuple[bytes, int]) for row in rows]

    def has_due_receipts(self, room: bytes) -> bool:
        """Return whether statuses have to be reported in a room."""
        return bool(self.rows("SELECT 1 FROM receipts_due WHERE room = ? LIMIT 1", self.room_number(room)))

    # --- changes of what has not come yet ---

    def add_early(
        self, room: bytes, target: bytes, place: int, account: bytes, kind: ContentKind, change: bytes
    ) -> None:
        """Keep a change of the message `target` that came at history seq `place`, of the kind of its content.

        A room's last 200 are kept, and the last 50 of one account. A deletion makes the earlier edits of its
        account needless: either they are of another one's message, or all of it is deleted.
        """
        number = self.room_number(room)
        if kind is ContentKind.DELETION:
            sql = "DELETE FROM early_changes WHERE room = ? AND target = ? AND account = ? AND kind = ?"
            self.run(sql, number, target, account, int(ContentKind.EDIT))
        row = number, target, place, account, int(kind), change
        self.run("INSERT OR REPLACE INTO early_changes VALUES (?, ?, ?, ?, ?, ?)", *row)
        for most, whose in ((_MOST_EARLY_OF_ONE, account), (MOST_EARLY, None)):
            self.run(
                "DELETE FROM early_changes WHERE room = ?1 AND account = ifnull(?2, account) AND place <="
                " (SELECT place FROM early_changes WHERE room = ?1 AND account = ifnull(?2, account)"
                " ORDER BY place DESC LIMIT 1 OFFSET ?3)",
                number,
                whose,
                most,
            )

    def take_early(self, room: bytes, target: bytes) -> list[tuple[int, bytes]]:
        """Return and delete the kept changes of a message with their places, in order."""
        values = self.room_number(room), target
        rows = self.rows(
            "SELECT place, change FROM early_changes WHERE room = ? AND target = ? ORDER BY place", *values
        )
        if rows:
            self.run("DELETE FROM early_changes WHERE room = ? AND target = ?", *values)
        return [msgspec.convert(row, tuple[int, bytes]) for row in rows]

    # --- what this device sent ---

    def add_sent(self, room: bytes, content: SentContent) -> None:
        """Keep a content as it was sent, or note its latest place in the log."""
        values = (content.id, self.room_number(room), content.place, content.kind, content.target)
        self.run(
            "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET place = excluded.place",
            *values,
            content.data,
            content.text,
            content.sent_at,
        )

    def sent_place(self, content: bytes) -> int:
        """Return the latest place in the log of a content of this device, 0 if it is not there."""
        return self.integer("SELECT place FROM sent WHERE id = ?", content)

    def sent_after(self, room: bytes, place: int) -> list[SentContent]:
        """Return what this device sent after history seq `place`, oldest first, unless it was erased."""
        sql = (
            "SELECT id, place, kind, target, data, text, sent_at FROM sent WHERE room = ? AND place > ?"
            " AND data != x'' ORDER BY place"
        )
        rows = self.rows(sql, self.room_number(room), place)
        return [msgspec.convert(row, SentContent) for row in rows]

    # --- blocked accounts ---

    def blocked(self) -> Sequence[tuple[bytes, str]]:
        """Return the blocked accounts with the names they were blocked under."""
        rows = self.rows("SELECT account, name FROM blocked ORDER BY name")
        return [msgspec.convert(row, tuple[bytes, str]) for row in rows]

    def is_blocked(self, account: bytes) -> bool:
        """Return whether an account is blocked."""
        if self._blocked is None:
            self._blocked = frozenset(each for each, _ in self.blocked())
        return account in self._blocked

    def block(self, account: bytes, name: str) -> None:
        """Block an account."""
        self._blocked = None
        self.run("INSERT OR REPLACE INTO blocked VALUES (?, ?)", account, name)
        self.run(
            "DELETE FROM receipts_due WHERE id IN (SELECT messages.id FROM messages"
            " JOIN senders ON number = sender WHERE account = ?)",
            account,
        )

    def unblock(self, account: bytes) -> None:
        """Block an account no longer."""
        self._blocked = None
        self.run("DELETE FROM blocked WHERE account = ?", account)

    # --- settings of rooms, which are this profile's alone ---

    def room_setting(self, room: bytes, name: str) -> str:
        """Return a setting of a room, or an empty text."""
        for (value,) in self.rows("SELECT value FROM room_settings WHERE room = ? AND name = ?", room, name):
            return str(value)
        return ""

    def rooms_with_setting(self, name: str) -> set[bytes]:
        """Return the rooms that have a setting, by their ids."""
        rows = self.rows("SELECT room FROM room_settings WHERE name = ?", name)
        return {msgspec.convert(room, bytes) for (room,) in rows}

    def set_room_setting(self, room: bytes, name: str, value: str) -> None:
        """Store a setting of a room; an empty text deletes it."""
        self.run("DELETE FROM room_settings WHERE room = ? AND name = ?", room, name)
        if value:
            self.run("INSERT INTO room_settings VALUES (?, ?, ?)", room, name, value)
