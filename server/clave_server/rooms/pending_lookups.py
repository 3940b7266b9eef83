"""Room messages that wait for the database: for their room's state or for account names. Knows no flush."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from clave_server.accounts import directory
from clave_server.errors import Refusal, ServerError
from clave_server.rooms import entry_store
from clave_server.rooms.channel import Channel
from clave_server.rooms.header_checks import read_header
from clave_server.rooms.room_state import RoomState
from clave_server.rooms.write_batch import RequestBatch, RoomMessage
from clave_server.storage.db_thread import DbThread
from clave_wire.messages import Code, CreateRoom, Kind, Mend, Submit

__all__ = ["PendingLookups", "known_names", "wanted_names"]


class PendingLookups:
    """Messages that wait, by room. While one waits, later ones of its room do too, to keep their order.

    `resume` is called with the batches that can go on, in order, and `refuse` with each one that cannot.
    """

    def __init__(
        self,
        reader: DbThread,
        channels: dict[bytes, Channel],
        resume: Callable[[Sequence[RequestBatch]], None],
        refuse: Callable[[RequestBatch, ServerError], None],
    ) -> None:
        self._reader = reader
        self._channels = channels
        self._resume = resume
        self._refuse = refuse
        self._waiting: dict[bytes, list[RequestBatch]] = {}
        self._kept_from: dict[bytes, int] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._waiting

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[RequestBatch]:
        for batches in self._waiting.values():
            yield from batches

    def note_pruned(self, key: bytes, seq: int) -> None:
        """Note the first entry kept of a room that is being loaded."""
        if key in self._waiting:
            self._kept_from[key] = seq

    def add(self, batch: RequestBatch) -> None:
        """Have a batch of one message wait, and start the lookup it needs."""
        (message,) = batch.messages
        key = message.room
        if key in self._waiting:
            self._waiting[key].append(batch)
            return
        self._waiting[key] = [batch]
        channel = self._channels.get(key)
        if channel is None:
            self._reader.submit(partial(entry_store.load_room, key=key), partial(self._loaded, key))
        else:
            work = partial(directory.resolve, devices=wanted_names(message))
            self._reader.submit(work, partial(self._named, key, batch))

    def _loaded(self, key: bytes, outcome: RoomState | ServerError | None) -> None:
        batches = self._waiting.pop(key)
        kept_from = self._kept_from.pop(key, 1)
        creating = any(isinstance(batch.messages[0], CreateRoom) for batch in batches)
        if isinstance(outcome, RoomState):
            outcome.kept_from = max(outcome.kept_from, kept_from)
            self._channels[key] = Channel(outcome)
        elif outcome is None and creating:
            self._channels[key] = Channel(RoomState(key))
        else:
            error = outcome or Refusal(Code.NO_SUCH_ROOM, "there is no such room")
            for batch in batches:
                self._refuse(batch, error)
            batches = []
        self._resume(batches)

    def _named(self, key: bytes, batch: RequestBatch, outcome: dict[bytes, str] | ServerError) -> None:
        batch.names = outcome
        self._kept_from.pop(key, None)
        self._resume(self._waiting.pop(key))


def wanted_names(message: RoomMessage) -> Sequence[bytes]:
    """Return the devices that a message adds to a room, whose account names are needed to check it."""
    if isinstance(message, Submit):
        if message.kind is not Kind.COMMIT:
            return ()
        with contextlib.suppress(Refusal):  # it is refused when it is staged
            return read_header(message).add
        return ()
    return message.add if isinstance(message, Mend) else ()


def known_names(names: dict[bytes, str] | ServerError | None) -> dict[bytes, str]:
    """Return the account names that were looked up, {} for no lookup. Raises the error of the lookup."""
    if isinstance(names, ServerError):
        raise names
    return names or {}
