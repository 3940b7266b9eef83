"""The full-text index of messages. Knows no words of a query, and no display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:  # it needs the schema, of which this is a part
    from clave_client.store.connection import StoreConnection

__all__ = ["SEARCH_SCHEMA", "SearchIndex", "index_all"]

SEARCH_SCHEMA = "SELECT 1"


def index_all(db: apsw.Connection) -> None:
    """Index all messages."""


class SearchIndex:
    """The index of one profile's messages; the caller opens transactions."""

    def __init__(self, store: StoreConnection) -> None:
        self._store = store

    def add(self, row: int, room: int, sender: int, text: str) -> None:
        """Index a message by its row, with the numbers of its room and sender."""

    def remove(self, row: int, room: int, sender: int, text: str) -> None:
        """Remove a message from the index; `text` is what it was indexed by."""
