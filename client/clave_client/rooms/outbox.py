"""The contents of one room that are not in its log yet. Knows the store; encrypts and sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clave_client.formats.composing import Outgoing
from clave_client.formats.content import ContentKind
from clave_client.store.conversation_tables import SentContent
from clave_client.store.database import OutboxItem, Store

__all__ = ["BECAME_GUEST", "ERASED", "WINDOW", "Outbox"]

BECAME_GUEST = "you have become a guest there, and guests only read"
ERASED = "its message was deleted"
"""Why something is not sent."""

WINDOW = 32
"""Most submissions in flight; the relay remembers as many for idempotent resubmission."""

_MOST_LOGGED, _MOST_LOGGED_BYTES = 200, 1_500_000
"""Most messages, and bytes, in an unconfirmed epoch; with a window more, what others buffer of a device."""


class Outbox:
    """One room's outbox. The caller opens transactions. It is true while anything waits to be sent."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room

    def append(self, item: Outgoing, sent_at: int) -> None:
        """Append a content; `sent_at` is in milliseconds since 1970."""
        self._store.enqueue(self._room, item, sent_at)

    def waiting(self) -> list[OutboxItem]:
        """Return the next messages to submit, oldest first, at most a window."""
        items = self._store.outbox(self._room, _MOST_LOGGED + 2 * WINDOW)
        logged = [item for item in items if item.placed is not None]
        is_full = sum(len(item.payload or b"") for item in logged) >= _MOST_LOGGED_BYTES
        if is_full or len(logged) >= _MOST_LOGGED:
            return []
        return [item for item in items if item.placed is None][:WINDOW]

    def ids(self) -> set[bytes]:
        """Return the ids of all contents, also of those that are logged in an unconfirmed epoch."""
        return {item.id for item in self._store.outbox(self._room, -1)}

    def texts(self, *, include_logged: bool = False) -> dict[bytes, str]:
        """Return the texts that wait by their ids; also those logged in an unconfirmed epoch, if wanted."""
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

    def logged(self) -> list[OutboxItem]:
        """Return what is in the log, in epochs that are not confirmed yet, in the order of the log."""
        items = (item for item in self._store.outbox(self._room, -1) if item.placed is not None)
        return sorted(items, key=lambda item: item.placed or 0)

    def confirm(self, head: bytes) -> None:
        """Delete what was logged in the epoch `head`, which is confirmed; queue what was in others again."""
        for item in self._store.outbox(self._room, -1):
            if item.placed is not None and item.head == head:
                self._store.drop_outbox(item.position)
            elif item.placed is not None:
                self._store.put_ciphertext(item.position, None, None)

    def requeue_before(self, sent: Sequence[SentContent], in_flight_payloads: Collection[bytes]) -> None:
        """Queue contents again, before all that waits and each once; encrypt all of it again.

        Items whose payloads are `in_flight_payloads`, and items in the log, stay in front. Changes among them
        of what is queued are repeated behind it, as the last one in the log counts.
        """
        items: list[OutboxItem] = []
        ahead: list[OutboxItem] = []
        for item in self._store.outbox(self._room, -1):
            is_ahead = item.placed is not None or item.payload in in_flight_payloads
            (ahead if is_ahead else items).append(item)
        again = {content.id for content in sent}
        changed = again.union(content.target for content in sent)
        for item in items:
            self.drop(item)
        for each in sent:
            kind = ContentKind(each.kind)
            self.append(Outgoing(each.id, kind, each.data, each.text, each.target), each.sent_at)
        repeated = [item for item in ahead if item.target and item.target in changed]
        for item in [*repeated, *items]:
            if item.id not in again:
                self.append(Outgoing(item.id, item.kind, item.data, item.body, item.target), item.sent_at)

    def drop(self, item: OutboxItem) -> None:
        """Delete an item that is in the log or will never be."""
        self._store.drop_outbox(item.position)

    def __bool__(self) -> bool:
        return any(item.placed is None for item in self._store.outbox(self._room, _MOST_LOGGED + WINDOW))
