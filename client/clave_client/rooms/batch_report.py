"""What comes of reading a room's log: for people, and for the session. Knows no room but its id."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from clave_client import events
from clave_client.events import Event, Inconsistency, Person

__all__ = ["BatchReport", "BatchResult", "CommitResult"]

_MOST_REPORTED = 1000
"""Senders and reasons remembered as told of: each is told once in a session."""


class CommitResult(enum.Enum):
    """What became of this device's commit."""

    APPLIED = "applied"
    LOGGED = "logged"
    SUPERSEDED = "superseded"
    REFUSED = "refused"


@dataclass
class BatchResult:
    """What came of one batch.

    `events` are for people. `settled` and `reason` say what became of this device's commit, if that was
    decided. `lost` are other devices that cannot follow; `cry` says that this device cannot. `strangers` says
    that the relay may route to others than the members. `wait` says that the relay wants a pause.
    """

    events: list[Event] = field(default_factory=list)
    commit_result: CommitResult | None = None
    reason: str = ""
    rejoin_requests: list[bytes] = field(default_factory=list)
    needs_rejoin: bool = False
    routing_suspect: bool = False
    pause: bool = False


class BatchReport:
    """The result of one batch in the making, and what was told in this session by then."""

    def __init__(self, room: bytes, told: Iterable[tuple[bytes, str]] = ()) -> None:
        self._room = room
        self._told = set(told)
        self.result = BatchResult()

    def next(self) -> BatchReport:
        """Return a report of the next batch, which tells nothing again."""
        return BatchReport(self._room, self._told)

    def add(self, event: Event) -> None:
        """Tell something."""
        self.result.events.append(event)

    def inconsistency(self, kind: Inconsistency, person: Person | None) -> None:
        """Tell, once of each person and kind, that what the relay shows cannot be true."""
        if self.is_new(b"" if person is None else person.device, kind.value):
            self.add(events.Diverged(self._room, person, kind))

    def is_new(self, device: bytes, what: str) -> bool:
        """Whether this is told the first time in this session."""
        if (device, what) in self._told or len(self._told) >= _MOST_REPORTED:
            return False
        self._told.add((device, what))
        return True

    def forget(self, device: bytes, what: str) -> None:
        """Have this told once more if it happens again."""
        self._told.discard((device, what))
