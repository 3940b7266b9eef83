"""The messages of one room that wait to be in its log. Knows the store; encrypts and sends nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from clave_client.formats.content import ContentKind
from clave_client.store.database import HistoryLine, OutboxItem, Store

__all__ = ["WINDOW", "Outbox"]

WINDOW = 32
"""Submissions on their way at once; the relay remembers as many for resubmission."""

_MOST_PLACED, _MOST_PLACED_BYTES = 200, 1_500_000
"""Messages in an epoch that is not confirmed yet: with a window more, as much as others keep of a device."""


class Outbox:
    """One room's outbox. Transactions are the caller's."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def append(self, kind: ContentKind, body: str, sent_at: int, message_id: bytes = b"") -> bytes:
        """Put a message in (`sent_at` in ms since 1970) and return its id, a new one unless given."""
        message_id = message_id or os.urandom(16)
        self._store.enqueue(self._room, message_id, kind, body, sent_at)
        return message_id

    def waiting(self) -> list[OutboxItem]:
        """Return what is to be sent next and is in no log yet, oldest first."""
        items = self._store.outbox(self._room, _MOST_PLACED + 2 * WINDOW)
        placed = [item for item in items if item.placed is not None]
        is_full = sum(len(item.payload or b"") for item in placed) >= _MOST_PLACED_BYTES
        if is_full or len(placed) >= _MOST_PLACED:
            return []
        return [item for item in items if item.placed is None][:WINDOW]

    def ids(self, *, placed: bool = False) -> list[bytes]:
        """Return the ids of the texts that wait, also of those `placed` in an epoch that is not confirmed."""
        items = self._store.outbox(self._room, -1)
        return [i.id for i in items if i.kind is ContentKind.TEXT and (placed or i.placed is None)]

    def find(self, payload: bytes) -> OutboxItem | None:
        """Return the item that was encrypted as `payload` and is in no log yet."""
        # Beside the most placed there can be a full window on its way.
        items = self._store.outbox(self._room, _MOST_PLACED + 2 * WINDOW)
        return next((item for item in items if item.placed is None and item.payload == payload), None)

    def seal(self, item: OutboxItem, payload: bytes, head: bytes) -> None:
        """Keep an item's ciphertext, before it is sent."""
        self._store.put_ciphertext(item.position, payload, head)

    def mark_logged(self, item: OutboxItem, seq: int) -> None:
        """Note that an item is entry `seq`, in an epoch that is not confirmed yet."""
        self._store.put_placed(item.position, seq)

    def confirm(self, head: bytes) -> None:
        """Take out what is in the log in the epoch `head`, which counts now; queue anew what is elsewhere."""
        for item in self._store.outbox(self._room, -1):
            if item.placed is not None and item.head == head:
                self._store.drop_outbox(item.position)
            elif item.placed is not None:
                self._store.put_ciphertext(item.position, None, None)

    def requeue_before(self, lines: Sequence[HistoryLine], in_flight_payloads: Collection[bytes]) -> None:
        """Queue what was said once more before all that waits, each message once; it is encrypted anew.

        What is on its way as one of the payloads `flying`, or in the log, goes first.
        """
        items = [
            item
            for item in self._store.outbox(self._room, -1)
            if item.placed is None and item.payload not in in_flight_payloads
        ]
        again = {line.id for line in lines}
        for item in items:
            self.drop(item)
        for line in lines:
            self.append(ContentKind.TEXT, line.text, line.sent_at, line.id)
        for item in items:
            if item.id not in again:
                self.append(item.kind, item.body, item.sent_at, item.id)

    def drop(self, item: OutboxItem) -> None:
        """Delete an item: it is in the log, or will never be."""
        self._store.drop_outbox(item.position)

    def __bool__(self) -> bool:
        return any(item.placed is None for item in self._store.outbox(self._room, _MOST_PLACED + WINDOW))
