"""The messages of one room that are not in its log yet. Knows the store; encrypts and sends nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from clave_client.formats.content import ContentKind
from clave_client.store.database import HistoryLine, OutboxItem, Store

__all__ = ["WINDOW", "Outbox"]

WINDOW = 32
"""Most submissions in flight; the relay remembers as many for idempotent resubmission."""

_MOST_LOGGED, _MOST_LOGGED_BYTES = 200, 1_500_000
"""Most messages, and bytes, in an unconfirmed epoch; with a window more, what others buffer of a device."""


class Outbox:
    """One room's outbox. The caller opens transactions. It is true while anything waits to be sent."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def append(self, kind: ContentKind, body: str, sent_at: int, message_id: bytes = b"") -> bytes:
        """Append a message (`sent_at` in ms since 1970) and return its id, a random one unless given."""
        message_id = message_id or os.urandom(16)
        self._store.enqueue(self._room, message_id, kind, body, sent_at)
        return message_id

    def waiting(self) -> list[OutboxItem]:
        """Return the next messages to submit, oldest first, at most a window."""
        items = self._store.outbox(self._room, _MOST_LOGGED + 2 * WINDOW)
        logged = [item for item in items if item.placed is not None]
        is_full = sum(len(item.payload or b"") for item in logged) >= _MOST_LOGGED_BYTES
        if is_full or len(logged) >= _MOST_LOGGED:
            return []
        return [item for item in items if item.placed is None][:WINDOW]

    def ids(self, *, include_logged: bool = False) -> list[bytes]:
        """Return the ids of the texts that wait; also of those logged in an unconfirmed epoch, if wanted."""
        return list(self.texts(include_logged=include_logged))

    def texts(self, *, include_logged: bool = False) -> dict[bytes, str]:
        """Return the texts that wait by their ids, as `ids` does."""
        items = [item for item in self._store.outbox(self._room, -1) if item.kind is ContentKind.TEXT]
        return {item.id: item.body for item in items if include_logged or item.placed is None}

    def find(self, payload: bytes) -> OutboxItem | None:
        """Return the item that was encrypted as `payload` and is not in the log yet."""
        # Besides those logged, a full window can be in flight.
        items = self._store.outbox(self._room, _MOST_LOGGED + 2 * WINDOW)
        return next((item for item in items if item.placed is None and item.payload == payload), None)

    def store_ciphertext(self, item: OutboxItem, payload: bytes, head: bytes) -> None:
        """Store an item's ciphertext, made in the epoch `head`, before it is sent."""
        self._store.put_ciphertext(item.position, payload, head)

    def mark_logged(self, item: OutboxItem, seq: int) -> None:
        """Note that an item is entry `seq`, in an epoch that is not confirmed yet."""
        self._store.put_placed(item.position, seq)

    def confirm(self, head: bytes) -> None:
        """Delete what was logged in the epoch `head`, which is confirmed; queue what was in others again."""
        for item in self._store.outbox(self._room, -1):
            if item.placed is not None and item.head == head:
                self._store.drop_outbox(item.position)
            elif item.placed is not None:
                self._store.put_ciphertext(item.position, None, None)

    def requeue_before(self, lines: Sequence[HistoryLine], in_flight_payloads: Collection[bytes]) -> None:
        """Queue messages of the history again, before all that waits and each once; encrypt all of it again.

        Items whose payloads are `in_flight_payloads`, and items in the log, stay in front.
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
        """Delete an item that is in the log or will never be."""
        self._store.drop_outbox(item.position)

    def __bool__(self) -> bool:
        return any(item.placed is None for item in self._store.outbox(self._room, _MOST_LOGGED + WINDOW))
