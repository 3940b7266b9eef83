"""Finds the room that a typed title or start of an id means. Knows records, no groups.

Titles are chosen by others, so a title is never taken for the id of another room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from clave_client.errors import RoomNotFound, UsageError
from clave_client.store.database import RoomRecord
from clave_client.store.pins import are_confusable
from clave_client.values import Phase
from clave_wire.text import sanitize

__all__ = ["resolve_room", "similar_room", "stored_room"]

MIN_ID_DIGITS = 8
"""Least hexadecimal digits that are taken for the start of a room's id."""


def resolve_room(words: str, rooms: Iterable[RoomRecord], *, invited: bool = False) -> bytes | None:
    """Return the id of the room that `words` means, or None; joined rooms come before invitations.

    With `invited`, look at invitations only. Raises `UsageError` when several rooms match.
    """
    every = list(rooms)
    open_invitations = [room for room in every if room.phase is Phase.INVITED]
    others = [] if invited else [room for room in every if room.phase is not Phase.INVITED]
    for group in (others, open_invitations):
        found = _matching(words, group)
        if len(found) > 1:
            ids = ", ".join(f"{_unambiguous_id(room, every)} ({room.title})" for room in found)
            raise UsageError(f"several rooms fit {sanitize(words)}; use the id: {ids}")
        if found:
            return found[0].id
    return None


def stored_room(words: str, rooms: Iterable[RoomRecord]) -> RoomRecord:
    """Return the record that `words` means; one that this device has left only if there is no other.

    Raises `RoomNotFound`, or `UsageError` when several rooms match.
    """
    every = list(rooms)
    for among in ([room for room in every if room.phase is not Phase.CLOSED], every):
        found = resolve_room(words, among)
        if found is not None:
            return next(room for room in every if room.id == found)
    raise RoomNotFound(f"nothing is stored of a room called {sanitize(words)}")


def similar_room(room: RoomRecord, rooms: Iterable[RoomRecord]) -> RoomRecord | None:
    """Return another room, not an invitation, whose title is confusable with that of `room`."""
    for other in rooms:
        if (
            other.id != room.id
            and other.phase is not Phase.INVITED
            and are_confusable(other.title, room.title)
        ):
            return other
    return None


def _matching(words: str, rooms: Collection[RoomRecord]) -> list[RoomRecord]:
    folded = words.casefold()
    whole = [room for room in rooms if room.id.hex() == folded]
    if whole:
        return whole
    titled = [room for room in rooms if room.title == words]
    titled = titled or [room for room in rooms if room.title.casefold() == folded]
    begun = [r for r in rooms if len(words) >= MIN_ID_DIGITS and r.id.hex().startswith(folded)]
    return titled + [room for room in begun if room not in titled]


def _unambiguous_id(room: RoomRecord, rooms: Collection[RoomRecord]) -> str:
    """Return the start of a room's id, or all of it if the start is ambiguous."""
    start = room.id.hex()[:MIN_ID_DIGITS]
    fits = [r for r in rooms if r.id.hex().startswith(start) or r.title.casefold() == start]
    return start if fits == [room] else room.id.hex()
