"""One flush: what it changes on disk, and what is said once that is there. Knows no clients' networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import apsw

from clave_server import segment
from clave_server.channel import Channel, Draft
from clave_server.errors import DamageError, Refusal, RelayError
from clave_server.log import Changes
from clave_server.mirror import EntryRecord
from clave_server.session import Session
from clave_server.worker import in_transaction
from clave_wire.messages import CreateRoom, Mend, Report, Resume, Submit

__all__ = ["Batch", "Flight", "RoomMessage", "Step"]

RoomMessage = CreateRoom | Resume | Submit | Report | Mend

Step = Callable[[apsw.Connection], Any]
"""Work inside a flush that does not concern rooms; its result goes to its own callback, typed there."""


_SAVE_ENTRIES: Final = 4096
"""Entries of a room after which its own rows are written anew: loading it reads no more than these again."""


@dataclass(slots=True, eq=False)
class Batch:
    """Room messages of one session that weigh so many bytes.

    `names` are the known ones of the devices that the only message adds, once they are looked up.
    """

    session: Session
    messages: Sequence[RoomMessage]
    weight: int
    names: dict[bytes, str] | RelayError | None = None


@dataclass(slots=True)
class Flight:
    """Everything staged for one transaction.

    `taken` has (session, messages, their weight) for each batch, `taken_back` the devices that became members
    again, by room, and `shown` what the mirror shows one by one, at most `showing` entries.
    """

    showing: int
    channels: dict[bytes, Channel] = field(default_factory=dict)
    touched: dict[bytes, Channel] = field(default_factory=dict)
    saved: set[bytes] = field(default_factory=set)
    drafts: dict[bytes, Draft] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    answers: list[tuple[Session, CreateRoom | Report | Mend]] = field(default_factory=list)
    resumes: list[tuple[Session, Resume]] = field(default_factory=list)
    taken: list[tuple[Session, int, int]] = field(default_factory=list)
    steps: list[tuple[Step, Callable[[Any], None]]] = field(default_factory=list)
    taken_back: dict[bytes, list[bytes]] = field(default_factory=dict)
    invited: set[bytes] = field(default_factory=set)
    shown: list[EntryRecord] = field(default_factory=list)
    weight: int = 0

    def draft(self, channel: Channel, first: int) -> Draft:
        """Begin the draft for a room that changes, with seq `first`."""
        key = channel.room.room
        draft = self.drafts[key] = Draft(channel, first)
        self.touched[key] = self.channels[key] = channel
        return draft

    def transaction(self, at: int) -> Callable[[apsw.Connection], list[Any]]:
        """Return the writer's work, entries dated `at` (ms since 1970); it returns the steps' results."""
        for key, channel in self.touched.items():
            room = channel.room
            if room.is_changed or room.seq - room.saved >= _SAVE_ENTRIES:
                self.saved.add(key)
                self.changes.save_room(room)
        for key, draft in self.drafts.items():
            if draft.frames:
                parts = segment.split(key, draft.first, draft.frames)
                self.changes.segments += [(part, at) for part in parts]
        work = partial(_apply, changes=self.changes, steps=[step for step, _ in self.steps])
        return partial(in_transaction, work=work)


def _apply(connection: apsw.Connection, changes: Changes, steps: Sequence[Step]) -> list[Any]:
    changes.apply(connection)
    results: list[Any] = []
    for step in steps:
        try:
            with connection:  # a savepoint: what a refused step wrote is undone
                results.append(step(connection))
        except (Refusal, DamageError) as error:
            results.append(error)
        except (apsw.CorruptError, UnicodeDecodeError) as error:
            results.append(DamageError(str(error)))
    return results
