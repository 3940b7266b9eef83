"""The outcomes of requests that changed something, by the request's key: a repeated request changes nothing.

Knows no connection and no request's meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from clave_client.errors import UsageError
from clave_client.store.database import Store

__all__ = ["KEPT_REQUESTS", "MAX_KEY_CHARACTERS", "RequestLog"]

KEPT_REQUESTS: Final = 10_000
"""Most requests kept; the oldest are deleted, and one of them repeated would be done again."""

MAX_KEY_CHARACTERS: Final = 100


class RequestLog:
    """The requests of one profile."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, key: str, content: bytes, find_room: Callable[[], bytes]) -> tuple[bool, bytes]:
        """Note a request before it is done; return whether it was noted before, and the room it is about.

        `content` is the request without its key; `find_room` returns the id of the room it names, which may
        have another name later. Raises `UsageError` when the key is too long, or was another request's, and
        what `find_room` raises.
        """
        if not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise UsageError(f"a request's key has 1 to {MAX_KEY_CHARACTERS} characters")
        digest = hashlib.sha256(content).digest()
        for stored, room in self._store.rows("SELECT digest, room FROM requests WHERE key = ?", key):
            if stored != digest:
                raise UsageError(f"the key {key!r} was used for another request; choose a new one")
            return True, msgspec.convert(room, bytes)
        found = find_room()
        with self._store.transaction():
            self._store.run("INSERT INTO requests(key, digest, room) VALUES (?, ?, ?)", key, digest, found)
            self._store.run(
                "DELETE FROM requests WHERE number <= (SELECT max(number) FROM requests) - ?", KEPT_REQUESTS
            )
        return False, found

    def outcome(self, key: str) -> Any:
        """Return the outcome (JSON values) of a request that was done, or None."""
        for (outcome,) in self._store.rows("SELECT outcome FROM requests WHERE key = ?", key):
            return None if outcome is None else msgspec.json.decode(msgspec.convert(outcome, bytes))
        return None

    def finish(self, key: str, outcome: Any) -> None:
        """Store the outcome (JSON values) of a request that was begun, in the caller's transaction."""
        self._store.run("UPDATE requests SET outcome = ? WHERE key = ?", msgspec.json.encode(outcome), key)
