"""The result of reading one batch of a room's log: events, and work for `sync`. Knows only the room's id."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from clave_client import events
from clave_client.events import Event, Inconsistency, Person

__all__ = ["BatchReport", "BatchResult", "CommitResult"]

_MOST_REPORTED = 1000
"""Senders and reasons remembered, so that each is reported once per run of the program."""


class CommitResult(enum.Enum):
    """What became of this device's commit."""

    APPLIED = "applied"
    LOGGED = "logged"
    SUPERSEDED = "superseded"
    REFUSED = "refused"


@dataclass
class BatchResult:
    """The result of one batch.

    `commit_result` and `reason` say what became of this device's commit, if that was decided.
    `rejoin_requests` are devices of others that cannot follow the group; `epoch_suspect` says that this one
    cannot. `routing_suspect` says that the relay may not route to just the members. `pause` says that the
    relay asked for a pause before the next submission.
    """

    events: list[Event] = field(default_factory=list)
    commit_result: CommitResult | None = None
    reason: str = ""
    rejoin_requests: list[bytes] = field(default_factory=list)
    epoch_suspect: bool = False
    routing_suspect: bool = False
    pause: bool = False

    @property
    def closed_by(self) -> Person | None:
        """Who removed this device, if somebody did."""
        closed = (event.by for event in self.events if isinstance(event, events.RoomClosed))
        return next(closed, None)


class BatchReport:
    """Collects the result of one batch; remembers what was reported before."""

    def __init__(
        self, room: bytes, reported: Iterable[tuple[bytes, str]] = (), *, is_hidden: bool = False
    ) -> None:
        self._room = room
        self._is_hidden = is_hidden
        self.reported = set(reported)
        self.result = BatchResult()

    def next(self) -> BatchReport:
        """Return the report of the next batch, which remembers the same."""
        return BatchReport(self._room, self.reported, is_hidden=self._is_hidden)

    def add(self, event: Event) -> None:
        """Add an event, unless its room is not to be shown."""
        if not self._is_hidden:
            self.result.events.append(event)

    def inconsistency(self, kind: Inconsistency, person: Person | None) -> None:
        """Report an inconsistency of the relay, once per person and kind."""
        if self.is_new(b"" if person is None else person.device, kind.value):
            self.add(events.Diverged(self._room, person, kind))

    def is_new(self, device: bytes, what: str) -> bool:
        """Return whether this is reported for the first time, and remember it."""
        if (device, what) in self.reported or len(self.reported) >= _MOST_REPORTED:
            return False
        self.reported.add((device, what))
        return True

    def forget(self, device: bytes, what: str) -> None:
        """Have this reported again the next time."""
        self.reported.discard((device, what))
