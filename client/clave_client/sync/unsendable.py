"""Drops what waits to be sent and cannot be any more, and tells of it. Knows no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clave_client.events import Event, SendFailed
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.database import Store

__all__ = ["fail_unsendable"]


def fail_unsendable(room: LocalRoom, store: Store, emit: Callable[[Event], None]) -> Iterator[SendFailed]:
    """Drop what `room` will not send, with an event each; yield what is to be told to who waits for it."""
    while unsendable := room.unsendable():
        for item, reason in unsendable:
            event = SendFailed(room.id, item.id, reason, item.body)
            with store.transaction():
                room.drop_unsent(item)
                if not store.sent_place(item.id):  # else it was sent, and the relay has lost it
                    emit(event)
            yield event
