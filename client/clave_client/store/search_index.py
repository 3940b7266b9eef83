"""The full-text index of messages, newest first. Knows no display.

It holds no texts: a message is removed by what it was indexed by. Beside the words it has a token for the
room and one for the sender of each message, so that these are part of the query and a rare room is not
searched for in all that a common word finds. Erased tokens are overwritten (`secure-delete`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import apsw
import msgspec

from clave_client.store.search_words import TOKENIZER, SearchWords, document, tag

if TYPE_CHECKING:  # it needs the schema, of which this is a part
    from clave_client.store.connection import StoreConnection

__all__ = ["MOST_ROW", "MOST_VISITS", "SEARCH_SCHEMA", "SearchIndex", "index_all"]

MOST_ROW: Final = 2**63 - 1
"""The highest row that there can be."""

MOST_VISITS: Final = 2000
"""Most matching messages of which the time is looked at for one page."""

_BATCH: Final = 200
"""How many of them are looked at together."""

_QUERY_VISITS: Final = 20
"""What a query costs, in messages looked at."""

_HOUR: Final = 3_600_000
_BLOCK_BITS: Final = 8
_NO_BLOCK: Final = (-1, -1)
_JOINED_BLOCKS: Final = 16
"""Blocks of rows with nothing recent enough that are searched too, as that costs less than one more query."""

_PAGE_BYTES: Final = 4000
"""Bytes of the index in one row: they fit a page of the file, of which the encryption takes some."""

SEARCH_SCHEMA: Final = f"""
CREATE VIRTUAL TABLE messages_search USING fts5(words, content='', columnsize=0,
    tokenize="{TOKENIZER[0]} {TOKENIZER[1]} {TOKENIZER[2]} {TOKENIZER[3]} '{TOKENIZER[4]}'");
INSERT INTO messages_search(messages_search, rank) VALUES ('secure-delete', 1), ('pgsz', {_PAGE_BYTES});
CREATE TABLE search_times(block INTEGER PRIMARY KEY, latest INTEGER NOT NULL) STRICT;
"""  # noqa: S608 (constant words)
"""The index, and of each block of 256 rows of messages the latest hour (since 1970) at which one was sent.

The messages' times are not in their order, so a search since some time skips the blocks before it.
"""


def index_all(db: apsw.Connection) -> None:
    """Index all messages."""
    db.create_scalar_function("search_document", _document, 3, deterministic=True)
    db.execute(
        "INSERT INTO messages_search(rowid, words)"
        " SELECT row, search_document(room, sender, text) FROM messages WHERE text != ''"
    )
    db.execute(
        "INSERT INTO search_times SELECT row >> ? AS block, max(sent_at) / ? FROM messages GROUP BY block",
        (_BLOCK_BITS, _HOUR),
    )
    db.create_scalar_function("search_document", None)


def _document(*values: apsw.SQLiteValue) -> str:
    return document(*msgspec.convert(values, tuple[int, int, str]))


class SearchIndex:
    """The index of one profile's messages; the caller opens transactions."""

    def __init__(self, store: StoreConnection) -> None:
        self._store = store
        self._latest = _NO_BLOCK

    def add(self, row: int, room: int, sender: int, text: str) -> None:
        """Index a message by its row, with the numbers of its room and sender; not without a text."""
        if not text:
            return
        insert = "INSERT INTO messages_search(rowid, words) VALUES (?, ?)"
        self._store.run(insert, row, document(room, sender, text))

    def note_time(self, row: int, sent_at: int) -> None:
        """Note that the message in a row was sent at some time (ms since 1970)."""
        block, hour = row >> _BLOCK_BITS, sent_at // _HOUR
        if self._latest[0] != block:
            sql = "SELECT latest FROM search_times WHERE block = ?"
            self._latest = (
                block,
                max((int(str(hour)) for (hour,) in self._store.rows(sql, block)), default=-1),
            )
        if hour > self._latest[1]:
            self._store.run("INSERT OR REPLACE INTO search_times VALUES (?, ?)", block, hour)
            self._latest = block, hour

    def roll_back(self) -> None:
        """Forget what was noted in a transaction that is rolled back."""
        self._latest = _NO_BLOCK

    def remove(self, row: int, room: int, sender: int, text: str) -> None:
        """Remove a message from the index; `text` is what it was indexed by."""
        if text:
            delete = "INSERT INTO messages_search(messages_search, rowid, words) VALUES ('delete', ?, ?)"
            self._store.run(delete, row, document(room, sender, text))

    def words(self, words: str) -> SearchWords:
        """Return the words of a search. Raises ValueError, with words for the user, if it has none."""
        return SearchWords(words, self._store.connection)

    def find(
        self,
        words: SearchWords,
        *,
        room: int | None = None,
        senders: Sequence[int] | None = None,
        without: Sequence[int] = (),
        since: int = 0,
        before: int = MOST_ROW,
        limit: int = 20,
    ) -> tuple[list[int], int]:
        """Return the last rows of messages with all words, newest first, and before which row to go on.

        They are of one room and of some `senders`, if given, not of those in `without`, and sent at `since`
        (ms since 1970) or later. The second value is 0 at the end. There may be less than `limit` rows
        before it, if many messages had to be looked at.
        """
        expression = _expression(words, room, senders, without)
        found: list[int] = []
        visits = MOST_VISITS
        for first, last in self._spans(since, before):
            end = last
            while first <= end:
                if visits <= 0:
                    return found, end + 1
                asked = min(visits, _BATCH) if since else limit + 1
                hits = self._hits(expression, first, end, asked)
                visits -= len(hits) + _QUERY_VISITS
                for row, sent_at in hits:
                    if sent_at >= since:
                        if len(found) == limit:
                            return found, found[-1]
                        found.append(row)
                end = hits[-1][0] - 1 if len(hits) == asked else 0
        return found, 0

    def _hits(self, expression: str, first: int, last: int, limit: int) -> list[tuple[int, int]]:
        """Return the last rows from `first` to `last` that match, with the times at which they were sent."""
        sql = (
            "SELECT found.rowid, sent_at FROM"
            " (SELECT rowid FROM messages_search WHERE messages_search MATCH ? AND rowid BETWEEN ? AND ?"
            " ORDER BY rowid DESC LIMIT ?) AS found"
            " CROSS JOIN messages ON row = found.rowid"
        )
        rows = self._store.rows(sql, expression, first, last, limit)
        return [msgspec.convert(row, tuple[int, int]) for row in rows]

    def _spans(self, since: int, before: int) -> Iterator[tuple[int, int]]:
        """Return the rows, from first to last, in which there are messages sent since some time."""
        if not since:
            yield 1, before - 1
            return
        sql = "SELECT block FROM search_times WHERE latest >= ? AND block <= ? ORDER BY block DESC"
        rows = self._store.rows(sql, since // _HOUR, (before - 1) >> _BLOCK_BITS)
        blocks = [msgspec.convert(block, int) for (block,) in rows]
        low = high = -1
        for block in blocks:
            if low < 0:
                low = high = block
            elif block >= low - _JOINED_BLOCKS:
                low = block
            else:
                yield _rows_of(low, high, before)
                low = high = block
        if low >= 0:
            yield _rows_of(low, high, before)


def _rows_of(low: int, high: int, before: int) -> tuple[int, int]:
    """Return the first and last row of the blocks from `low` to `high`."""
    return max(low << _BLOCK_BITS, 1), min(((high + 1) << _BLOCK_BITS) - 1, before - 1)


def _expression(
    words: SearchWords, room: int | None, senders: Sequence[int] | None, without: Sequence[int]
) -> str:
    """Return a query in the syntax of FTS5; all that people choose in it is quoted."""
    expression = words.expression
    if room is not None:
        expression += f' AND "{tag("r", room)}"'
    if senders is not None:
        expression += f" AND ({_any_sender(senders)})"
    return f"({expression}) NOT ({_any_sender(without)})" if without else expression


def _any_sender(senders: Sequence[int]) -> str:
    return " OR ".join(f'"{tag("s", sender)}"' for sender in senders)
