"""The messages of one room that are not in its log yet, in the order they were written. Knows no keys."""

from __future__ import annotations

import os

from clave_client.content import ContentKind
from clave_client.store import OutboxItem, Store
from clave_wire.messages import Kind, Submit

__all__ = ["WINDOW", "Outbox"]

WINDOW = 32
"""Submissions on their way at once; the relay remembers as many for resubmission."""


class Outbox:
    """One room's outbox. Transactions are the caller's."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def append(self, kind: ContentKind, body: str, sent_at: int) -> bytes:
        """Put a message in (`sent_at` in milliseconds since 1970) and return its id."""
        message_id = os.urandom(16)
        self._store.enqueue(self._room, message_id, kind, body, sent_at)
        return message_id

    def plain(self) -> list[OutboxItem]:
        """Return what is to be encrypted next, as far as the window allows."""
        return [item for item in self._store.outbox(self._room, WINDOW) if item.payload is None]

    def ids(self) -> list[bytes]:
        """Return the ids of the texts that wait."""
        items = self._store.outbox(self._room, -1)
        return [item.id for item in items if item.kind is ContentKind.TEXT]

    def find(self, submission: int) -> OutboxItem | None:
        """Return the item that was sent as `submission`."""
        items = self._store.outbox(self._room, WINDOW)
        return next((item for item in items if item.submission == submission), None)

    def sealed(self, item: OutboxItem, submission: int, epoch: int, payload: bytes) -> Submit:
        """Keep an item's ciphertext, before it is sent, and return what to send."""
        self._store.put_ciphertext(item.position, submission, epoch, payload)
        return Submit(self._room, submission, epoch, Kind.APPLICATION, payload)

    def unsealed(self, item: OutboxItem) -> None:
        """Forget a ciphertext that the relay refused; the item is encrypted anew."""
        self._store.put_ciphertext(item.position, None, None, None)

    def drop(self, item: OutboxItem) -> None:
        """Delete an item: it is in the log, or will never be."""
        self._store.drop_outbox(item.position)

    def unanswered(self) -> list[Submit]:
        """Return what was sent without an answer, the same bytes again."""
        return [
            Submit(self._room, item.submission, item.epoch, Kind.APPLICATION, item.payload)
            for item in self._store.outbox(self._room, WINDOW)
            if item.submission is not None and item.epoch is not None and item.payload is not None
        ]

    def __bool__(self) -> bool:
        return bool(self._store.outbox(self._room, 1))
