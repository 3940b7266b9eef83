"""Deletes messages whose time is over, in all rooms. Knows the store, and no timer."""

from __future__ import annotations

from collections import defaultdict

from clave_client.events import MessageKind, MessagesExpired
from clave_client.store import settings
from clave_client.store.database import Store

__all__ = ["expire_messages"]


def expire_messages(store: Store, own_account: bytes, now: int) -> list[MessagesExpired]:
    """Delete the messages that are due at `now`, in milliseconds since 1970; return what to report.

    What they said is deleted from the history with its index, from the stored events, from the lines typed
    and from the write-ahead log. Their ids stay, so that none comes again.
    """
    seqs: defaultdict[bytes, list[int]] = defaultdict(list)
    with store.transaction():
        for room, message in store.due_messages(now):
            line = store.message(room, message)
            if line is None:
                continue
            seqs[room].append(line.seq)
            if line.account == own_account:
                settings.forget_typed(store, line.text)
            store.erase_message(room, message, MessageKind.EXPIRED)
    store.remove_traces()
    return [MessagesExpired(room, tuple(sorted(found))) for room, found in seqs.items()]
