"""Deletes messages whose time is over, in all rooms. Knows the store, and no timer."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from clave_client.events import MessageKind, MessagesExpired
from clave_client.store.database import Store

__all__ = ["expire_messages"]

_SLICE: Final = 50
"""Messages that are deleted in one transaction."""


def expire_messages(store: Store, now: int) -> list[MessagesExpired]:
    """Delete the messages that are due at `now`, in milliseconds since 1970; return what to report.

    What they said is deleted from the history with its index, from the stored events, from the lines typed
    and from the write-ahead log. Their ids stay, so that none comes again.
    """
    seqs: defaultdict[bytes, list[int]] = defaultdict(list)
    while due := store.due_messages(now, _SLICE):
        with store.transaction():
            for room, message in due:
                line = store.message(room, message)
                if line is not None:
                    seqs[room].append(line.seq)
                store.erase_message(room, message, MessageKind.EXPIRED)
    store.remove_traces()
    return [MessagesExpired(room, tuple(sorted(found))) for room, found in seqs.items()]
