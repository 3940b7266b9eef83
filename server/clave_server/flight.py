"""One flush: what it changes on disk, and what is said once that is there. Knows no clients' networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apsw

from clave_server import segment
from clave_server.channel import Channel, Draft
from clave_server.errors import Refusal, RelayError
from clave_server.log import Changes
from clave_server.mirror import EntryRecord
from clave_server.session import Session
from clave_server.worker import in_transaction
from clave_wire.messages import CreateRoom, Mend, Report, Resume, Submit

__all__ = ["Flight", "Request", "RoomMessage", "Step"]

RoomMessage = CreateRoom | Resume | Submit | Report | Mend

Step = Callable[[apsw.Connection], Any]
"""Work inside a flush that does not concern rooms; its result goes to its own callback, typed there."""


@dataclass(slots=True, eq=False)
class Request:
    """A room message and who sent it; `names` are the known ones of the devices it adds, once looked up."""

    session: Session
    message: RoomMessage
    names: dict[bytes, str] | RelayError | None = None


@dataclass(slots=True)
class Flight:
    """Everything staged for one transaction."""

    channels: dict[bytes, Channel] = field(default_factory=dict)
    touched: dict[bytes, Channel] = field(default_factory=dict)
    drafts: dict[bytes, Draft] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    answers: list[tuple[Session, CreateRoom | Report | Mend]] = field(default_factory=list)
    submits: list[tuple[Session, Submit]] = field(default_factory=list)
    resumes: list[tuple[Session, Resume]] = field(default_factory=list)
    steps: list[tuple[Step, Callable[[Any], None]]] = field(default_factory=list)
    invited: set[bytes] = field(default_factory=set)
    shown: list[EntryRecord] = field(default_factory=list)
    payload_bytes: int = 0

    def draft(self, channel: Channel, first: int) -> Draft:
        """Return the draft for a room that changed, beginning it with seq `first` if need be."""
        key = channel.room.room
        draft = self.drafts.get(key)
        if draft is None:
            draft = self.drafts[key] = Draft(channel, first)
            self.touched[key] = channel
        return draft

    def transaction(self, at: int) -> Callable[[apsw.Connection], list[Any]]:
        """Return the writer's work, entries dated `at` (ms since 1970); it returns the steps' results."""
        for channel in self.touched.values():
            self.changes.add_room(channel.room)
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
        except Refusal as refusal:
            results.append(refusal)
    return results
