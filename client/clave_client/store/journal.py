"""The stored events of a profile: numbered, kept for a while, and how far each named consumer has read them.

An event is appended in the transaction of what it reports, so whoever reads by number misses none and sees
none twice, also across crashes. Knows no connection.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from clave_client import events
from clave_client.errors import UsageError
from clave_client.events import Event, Person
from clave_client.formats.json_values import dump, type_tag
from clave_client.store.database import Store

__all__ = ["KEPT_EVENTS", "MAX_CONSUMERS", "Journal", "JournalPage", "StoredEvent", "is_stored"]

KEPT_EVENTS: Final = 10_000
"""Most events kept; older ones are deleted, and who has not read them is told so."""

MAX_CONSUMERS: Final = 1000

_MAX_NAME_CHARACTERS: Final = 100
_PAGE: Final = 1000
_PAGE_BYTES: Final = 256 * 1024
"""Most events, and bytes of events, in one page."""

_DELETE_EVERY: Final = 100
"""Events between two deletions of old ones."""


class StoredEvent(NamedTuple):
    """An event as JSON, and its number: they increase by the order of what happened, with gaps."""

    number: int
    event: msgspec.Raw


class JournalPage(NamedTuple):
    """Events, oldest first. Those from `gap` on, unless 0, up to the first one were deleted unread."""

    events: list[StoredEvent]
    gap: int


def is_stored(event: Event) -> bool:
    """Return whether events of this kind are stored: messages, membership, and results of sending.

    Presence, the connection and notices are reported only as they happen.
    """
    live = (
        events.Connected | events.Disconnected | events.PresenceChanged | events.Notice | events.OutboxChanged
    )
    return not isinstance(event, live)


def _encode(event: Event) -> bytes:
    """Return an event as JSON, as `dump` has it."""
    fields = {
        name: _person(value) if isinstance(value, Person) else dump(value)
        for name, value in vars(event).items()
    }
    return msgspec.json.encode({"type": _tag(type(event).__name__), **fields})


@functools.cache
def _tag(name: str) -> str:
    """Return the "type" of events whose class has this name."""
    return type_tag(getattr(events, name))


@functools.lru_cache(maxsize=1024)
def _person(person: Person) -> msgspec.Raw:
    """Return a person as JSON; most events are of few people."""
    return msgspec.Raw(msgspec.json.encode(dump(person)))


class Journal:
    """The stored events of one profile."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, event: Event) -> None:
        """Store an event if its kind is stored. The caller's transaction, if any, covers it."""
        self.append_all((event,))

    def append_all(self, found: Iterable[Event]) -> None:
        """Store the events whose kind is stored, in order. The caller's transaction, if any, covers them."""
        rows = [(_encode(event), getattr(event, "id", None)) for event in found if is_stored(event)]
        if not rows:
            return
        with self._store.transaction():
            self._store.run_all("INSERT INTO events(event, message) VALUES (?, ?)", rows)
            number = self._store.connection.last_insert_rowid()
            if number % _DELETE_EVERY < len(rows):
                self._store.run("DELETE FROM events WHERE number <= ?", number - KEPT_EVENTS)

    def forget_account(self, account: bytes) -> None:
        """Have the stored events of what an account said or did to messages say nothing."""
        whose = account.hex()
        with self._store.transaction():
            for number, raw in self._store.rows("SELECT number, event FROM events"):
                event = msgspec.json.decode(msgspec.convert(raw, bytes))
                person = event.get("sender") or (event.get("person") if "id" in event else None)
                if person is not None and person["account"] == whose:
                    nothing = msgspec.json.encode({"type": "outbox_changed", "room": event["room"]})
                    self._store.run("UPDATE events SET event = ? WHERE number = ?", nothing, number)

    @property
    def head(self) -> int:
        """The number of the last event, 0 for none."""
        return self._number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")

    def read(self, after: int, limit: int) -> JournalPage:
        """Return up to `limit` events with numbers above `after`, fewer if they are large."""
        first = self._number("SELECT coalesce(min(number), 0) FROM events")
        sql = "SELECT number, event FROM events WHERE number > ? ORDER BY number LIMIT ?"
        found: list[StoredEvent] = []
        size = 0
        for number, event in self._store.rows(sql, after, min(limit, _PAGE)):
            raw = msgspec.convert(event, bytes)
            size += len(raw)
            if found and size > _PAGE_BYTES:
                break
            found.append(StoredEvent(msgspec.convert(number, int), msgspec.Raw(raw)))
        return JournalPage(found, after + 1 if after + 1 < first else 0)

    # --- consumers ---

    def consumer(self, name: str) -> int:
        """Return the number that a consumer has read up to; a new one begins with what happens next.

        Raises `UsageError` for a name that is empty or too long, or when there are too many consumers.
        """
        for (number,) in self._store.rows("SELECT number FROM consumers WHERE name = ?", name):
            return msgspec.convert(number, int)
        self.set_consumer(name, self.head)
        return self.head

    def _check_new(self, name: str) -> None:
        """Raise `UsageError` unless there can be a new consumer of this name."""
        if not 0 < len(name) <= _MAX_NAME_CHARACTERS:
            raise UsageError(f"a consumer's name has 1 to {_MAX_NAME_CHARACTERS} characters")
        if self._number("SELECT count(*) FROM consumers") >= MAX_CONSUMERS:
            raise UsageError(f"there are {MAX_CONSUMERS} consumers already; forget some")

    def set_consumer(self, name: str, number: int) -> None:
        """Note that a consumer has read up to `number`. Raises what `consumer` does."""
        number = min(number, self.head)
        if not self._store.rows("SELECT 1 FROM consumers WHERE name = ?", name):
            self._check_new(name)
        self._store.run("INSERT OR REPLACE INTO consumers VALUES (?, ?)", name, number)

    def forget_consumer(self, name: str) -> None:
        """Delete a consumer. One of that name begins anew."""
        self._store.run("DELETE FROM consumers WHERE name = ?", name)

    def _number(self, sql: str) -> int:
        ((number,),) = self._store.rows(sql)
        return msgspec.convert(number, int)
