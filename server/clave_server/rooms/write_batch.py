"""A write batch: what one transaction writes, how much it takes, and what is sent once it is on disk.

Knows no networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import apsw

from clave_server.errors import ServerError, StorageError
from clave_server.limits.quotas import Usage
from clave_server.rooms import segment
from clave_server.rooms.channel import Channel, RoomWrite
from clave_server.rooms.entry_store import RowChanges
from clave_server.rooms.session import Session
from clave_server.storage.db_thread import in_transaction
from clave_wire.messages import CreateRoom, Kind, Mend, Offer, Resume, Submit

__all__ = ["MAX_BATCH_BYTES", "MAX_STEPS", "RequestBatch", "RoomMessage", "Step", "WriteBatch"]

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of messages at which a write batch takes no more."""

MAX_STEPS: Final = 64
"""Steps of one write batch; each may return some hundred kilobytes."""

RoomMessage = CreateRoom | Resume | Submit | Mend | Offer

Step = Callable[[apsw.Connection], Any]
"""Work in the transaction that does not concern rooms; its own callback gets the result, typed there."""


_DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""Errors that fail the whole transaction, not only the step that met them."""

_SAVE_ENTRIES: Final = 4096
"""Entries after which a room's own rows are written again; so loading replays no more than these."""


@dataclass(slots=True, eq=False)
class RequestBatch:
    """Room messages of one session, together of `weight` bytes.

    `names` has the registered accounts of the devices that the only message adds, once they are looked up.
    """

    session: Session
    messages: Sequence[RoomMessage]
    weight: int
    names: dict[bytes, str] | ServerError | None = None


@dataclass(slots=True)
class WriteBatch:
    """Everything staged for one transaction.

    `taken` has (session, messages, weight in bytes) for each request batch, `readmitted` the devices that
    became members again, by room, and `shown` the (session, room, seq, kind, size, end of payload) of entries
    for the mirror, at most `showing`. `offers` has (usage, bytes) of each offer's group info. The rows of
    rooms in `due` are written even if nothing else of them changes. `at` is when its entries are accepted, in
    ms since 1970.
    """

    showing: int
    channels: dict[bytes, Channel] = field(default_factory=dict)
    touched: dict[bytes, Channel] = field(default_factory=dict)
    due: set[bytes] = field(default_factory=set)
    saved: set[bytes] = field(default_factory=set)
    writes: dict[bytes, RoomWrite] = field(default_factory=dict)
    changes: RowChanges = field(default_factory=RowChanges)
    answers: list[tuple[Session, CreateRoom | Mend]] = field(default_factory=list)
    resumes: list[tuple[Session, Resume]] = field(default_factory=list)
    taken: list[tuple[Session, int, int]] = field(default_factory=list)
    steps: list[tuple[Step, Callable[[Any], None]]] = field(default_factory=list)
    readmitted: dict[bytes, list[bytes]] = field(default_factory=dict)
    invited: dict[bytes, None] = field(default_factory=dict)
    offers: list[tuple[Usage, int]] = field(default_factory=list)
    shown: list[tuple[Session, bytes, int, Kind, int, bytes]] = field(default_factory=list)
    weight: int = 0
    at: int = 0

    def begin_write(self, channel: Channel, first: int) -> RoomWrite:
        """Begin to write to a room, with seq `first`."""
        key = channel.room.id
        write = self.writes[key] = RoomWrite(channel, first)
        self.touch(channel)
        return write

    def touch(self, channel: Channel) -> None:
        """Note that something of a room is staged."""
        key = channel.room.id
        self.touched[key] = self.channels[key] = channel

    def save(self, channel: Channel) -> None:
        """Write the room's own rows."""
        self.touch(channel)
        self.due.add(channel.room.id)

    @property
    def senders(self) -> dict[bytes, Session]:
        """The sessions that messages were taken from, by device."""
        return {session.device: session for session, _, _ in self.taken}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.touched or self.steps or self.changes.rooms)

    def transaction(self, at: int) -> Callable[[apsw.Connection], list[Any]]:
        """Return the work for the writing thread; entries get the time `at` (ms since 1970).

        The work returns the steps' results.
        """
        self.at = at
        for key, channel in self.touched.items():
            room = channel.room
            if key in self.due or room.has_staged_changes or room.seq - room.saved >= _SAVE_ENTRIES:
                self.saved.add(key)
                self.changes.save_room(room)
        for key, write in self.writes.items():
            if write.frames:
                parts = segment.split(key, write.first, write.frames)
                self.changes.segments += [(part, at) for part in parts]
        work = partial(_apply, changes=self.changes, steps=[step for step, _ in self.steps])
        return partial(in_transaction, work=work)


def _apply(connection: apsw.Connection, changes: RowChanges, steps: Sequence[Step]) -> list[Any]:
    changes.apply(connection)
    return [_result(connection, step) for step in steps]


def _result(connection: apsw.Connection, step: Step) -> Any:
    """Return a step's result or its error; raise only errors of the disk."""
    try:
        with connection:  # a savepoint: undoes what a failed step wrote
            return step(connection)
    except ServerError as error:
        return error
    except _DISK_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001  (a defect: told to whoever asked for the step, and logged)
        failure = StorageError("the relay made a mistake; its log says more")
        failure.__cause__ = error
        return failure
