"""One flush: what it changes on disk, and what is said once that is there. Knows no clients' networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import apsw

from clave_server.errors import ServerError, StorageError
from clave_server.observe.mirror import EntryRecord
from clave_server.rooms import segment
from clave_server.rooms.channel import Channel, RoomWrite
from clave_server.rooms.entry_store import RowChanges
from clave_server.rooms.session import Session
from clave_server.storage.db_thread import in_transaction
from clave_wire.messages import CreateRoom, Mend, Resume, Submit

__all__ = ["RequestBatch", "RoomMessage", "Step", "WriteBatch"]

RoomMessage = CreateRoom | Resume | Submit | Mend

Step = Callable[[apsw.Connection], Any]
"""Work inside a flush that does not concern rooms; its result goes to its own callback, typed there."""


_DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""What concerns all of a transaction, not the one step that met it."""

_SAVE_ENTRIES: Final = 4096
"""Entries of a room after which its own rows are written anew: loading it reads no more than these again."""


@dataclass(slots=True, eq=False)
class RequestBatch:
    """Room messages of one session that weigh so many bytes.

    `names` are the known ones of the devices that the only message adds, once they are looked up.
    """

    session: Session
    messages: Sequence[RoomMessage]
    weight: int
    names: dict[bytes, str] | ServerError | None = None


@dataclass(slots=True)
class WriteBatch:
    """Everything staged for one transaction.

    `taken` has (session, messages, their weight) for each batch, `taken_back` the devices that became members
    again, by room, and `shown` what the mirror shows one by one, at most `showing` entries. The rows of the
    rooms in `due` are written though nothing else of them changes.
    """

    showing: int
    channels: dict[bytes, Channel] = field(default_factory=dict)
    touched: dict[bytes, Channel] = field(default_factory=dict)
    due: set[bytes] = field(default_factory=set)
    saved: set[bytes] = field(default_factory=set)
    drafts: dict[bytes, RoomWrite] = field(default_factory=dict)
    changes: RowChanges = field(default_factory=RowChanges)
    answers: list[tuple[Session, CreateRoom | Mend]] = field(default_factory=list)
    resumes: list[tuple[Session, Resume]] = field(default_factory=list)
    taken: list[tuple[Session, int, int]] = field(default_factory=list)
    steps: list[tuple[Step, Callable[[Any], None]]] = field(default_factory=list)
    taken_back: dict[bytes, list[bytes]] = field(default_factory=dict)
    invited: dict[bytes, None] = field(default_factory=dict)
    shown: list[EntryRecord] = field(default_factory=list)
    weight: int = 0

    def draft(self, channel: Channel, first: int) -> RoomWrite:
        """Begin the draft for a room that changes, with seq `first`."""
        key = channel.room.room
        draft = self.drafts[key] = RoomWrite(channel, first)
        self.touched[key] = self.channels[key] = channel
        return draft

    def save(self, channel: Channel) -> None:
        """Have the room's own rows written."""
        key = channel.room.room
        self.touched[key] = self.channels[key] = channel
        self.due.add(key)

    @property
    def senders(self) -> dict[bytes, Session]:
        """The sessions that messages were taken of, by device."""
        return {session.device: session for session, _, _ in self.taken}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.touched or self.steps or self.changes.rooms)

    def transaction(self, at: int) -> Callable[[apsw.Connection], list[Any]]:
        """Return the writer's work, entries dated `at` (ms since 1970); it returns the steps' results."""
        for key, channel in self.touched.items():
            room = channel.room
            if key in self.due or room.is_changed or room.seq - room.saved >= _SAVE_ENTRIES:
                self.saved.add(key)
                self.changes.save_room(room)
        for key, draft in self.drafts.items():
            if draft.frames:
                parts = segment.split(key, draft.first, draft.frames)
                self.changes.segments += [(part, at) for part in parts]
        work = partial(_apply, changes=self.changes, steps=[step for step, _ in self.steps])
        return partial(in_transaction, work=work)


def _apply(connection: apsw.Connection, changes: RowChanges, steps: Sequence[Step]) -> list[Any]:
    changes.apply(connection)
    return [_result(connection, step) for step in steps]


def _result(connection: apsw.Connection, step: Step) -> Any:
    """Return what a step returns or why it failed, which is nobody else's failure, unless the disk's."""
    try:
        with connection:  # a savepoint: what a failed step wrote is undone
            return step(connection)
    except ServerError as error:
        return error
    except _DISK_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001  (a defect: whoever asked for the step is told, the log says more)
        failure = StorageError("the relay made a mistake; its log says more")
        failure.__cause__ = error
        return failure
