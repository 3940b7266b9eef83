"""Links and offers of rooms in the database: store, find, read, drop. Runs on the database threads.

Of each account the last offer to a room is kept, and at most 8 offers of a room. They are served in an order:
those that came with a new epoch first, and then the latest first. An offer's group info counts as stored by
its account until the offer is replaced or dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec
import structlog

from clave_server.accounts.directory import add_stored
from clave_server.errors import DamageError, Refusal
from clave_server.rooms.links import Link, Links
from clave_server.storage.seals import LINK, OFFER
from clave_wire.messages import Code, Offer, OfferedLink

__all__ = [
    "MAX_OFFERS",
    "OfferRow",
    "ServedOffer",
    "add_offers",
    "drop_offers",
    "find_room",
    "read_links",
    "read_offer",
    "save_links",
]

MAX_OFFERS: Final = 8
"""Offers kept of one room."""

_SAVE_LINK: Final = (
    "INSERT INTO links(room, link, not_after, uses, revoked, seal)"
    " VALUES (?1, ?2, ?3, ?4, ?5, seal('link', ?1, ?2, ?3, ?4, ?5))"
    " ON CONFLICT DO UPDATE SET not_after = ?3, uses = ?4, revoked = ?5, seal = excluded.seal"
)
_LINKS: Final = f"SELECT link, not_after, uses, revoked, seal = {LINK} FROM links WHERE room = ? ORDER BY id"  # noqa: S608
_ROOM: Final = f"SELECT room, seal = {LINK} FROM links WHERE link = ? ORDER BY id LIMIT 1"  # noqa: S608  (a constant)

_STORE: Final = (
    "INSERT INTO offers(room, account, settled, seq, keys, group_info, seal)"
    " SELECT ?1, id, ?3, ?4, ?5, ?6, seal('offer', ?1, id, ?3, ?4, ?5, ?6) FROM accounts WHERE account = ?2"
)
_OFFERS: Final = (
    f"SELECT id, keys, seal = {OFFER} FROM offers WHERE room = ?"  # noqa: S608  (a constant)
    " ORDER BY settled DESC, seq DESC, id DESC"
)
_FORMER: Final = "room = ?1 AND account = (SELECT id FROM accounts WHERE account = ?2)"
_DEPARTED: Final = (
    "room = ?1 AND NOT EXISTS (SELECT 1 FROM devices JOIN stays USING (device)"
    " WHERE devices.account = offers.account AND stays.room = ?1 AND stays.left IS NULL)"
)
_EXCESS: Final = (
    "id IN (SELECT id FROM offers WHERE room = ?1 ORDER BY settled DESC, seq DESC, id DESC"  # noqa: S608
    f" LIMIT -1 OFFSET {MAX_OFFERS})"
)

_log = structlog.get_logger()


class OfferRow(NamedTuple):
    """An offer to `room` by `account`, a public key, kept when the room was at `seq`.

    `settled` says that it came with the beginning of an epoch; `keys` are the sealed keys of its group info.
    """

    room: bytes
    account: bytes
    settled: bool
    seq: int
    keys: bytes
    group_info: bytes

    @classmethod
    def of(cls, offer: Offer, account: bytes, seq: int, *, settled: bool) -> OfferRow:
        """Return the row of an offer that `account` made."""
        return cls(offer.room, account, settled, seq, _pack_keys(offer.links), offer.group_info)


class ServedOffer(NamedTuple):
    """One of a number of `offers` that list a link, with the key of its group info that is sealed to it."""

    offers: int
    sealed: bytes
    group_info: bytes


def _pack_keys(links: Iterable[OfferedLink]) -> bytes:
    """Encode (link, sealed key) of the links that an offer serves."""
    return msgspec.msgpack.encode([(link.key, link.sealed) for link in links if link.sealed])


# --- links ---------------------------------------------------------------------------------------------


def save_links(
    connection: apsw.Connection,
    dropped: Sequence[tuple[bytes, bytes]],
    links: Sequence[tuple[bytes, bytes, int, int, bool]],
) -> None:
    """Delete (room, link)s and store links: (room, link, not_after, uses, revoked)."""
    if dropped:
        connection.executemany("DELETE FROM links WHERE room = ? AND link = ?", dropped)
    if links:
        connection.executemany(_SAVE_LINK, links)


def read_links(connection: apsw.Connection, room: bytes) -> Links:
    """Read a room's links, the oldest first. Raises `DamageError`."""
    links: dict[bytes, Link] = {}
    rows: list[Any] = connection.execute(_LINKS, (room,)).fetchall()
    for link, not_after, uses, revoked, whole in rows:
        _check(whole, room)
        links[link] = Link(not_after, uses, bool(revoked))
    return links


def find_room(connection: apsw.Connection, link: bytes) -> bytes:
    """Return the room that a link is of; if it is of several, the one that had it first.

    Raises `Refusal` and `DamageError`.
    """
    row = connection.execute(_ROOM, (link,)).get
    if row is None:
        raise Refusal(Code.NO_SUCH_LINK, "there is no such link")
    room, whole = row
    _check(whole, room)
    return bytes(room)


def _check(whole: int, room: bytes) -> None:
    if not whole:
        raise DamageError(f"a link of room {room.hex()} is damaged on disk")


# --- offers --------------------------------------------------------------------------------------------


def add_offers(
    connection: apsw.Connection, offers: Sequence[OfferRow], settled: Iterable[bytes]
) -> Counter[bytes]:
    """Store offers, each in place of its account's former one to the room.

    Of the rooms in `settled`, the offers of accounts that the room is not routed to any more are deleted.
    Returns the bytes of group infos deleted, by account.
    """
    released = Counter[bytes]()
    for offer in offers:
        released += _delete(connection, _FORMER, (offer.room, offer.account))
        connection.execute(_STORE, offer)
        add_stored(connection, offer.account, len(offer.group_info))
    for room in settled:
        released += _delete(connection, _DEPARTED, (room,))
    for room in {offer.room for offer in offers}:
        released += _delete(connection, _EXCESS, (room,))
    return released


def drop_offers(connection: apsw.Connection, room: bytes) -> Counter[bytes]:
    """Delete a room's links and offers; return the bytes of group infos deleted, by account."""
    connection.execute("DELETE FROM links WHERE room = ?", (room,))
    return _delete(connection, "room = ?1", (room,))


def _delete(connection: apsw.Connection, which: str, bindings: tuple[bytes, ...]) -> Counter[bytes]:
    """Delete the offers that `which` selects, and subtract their bytes from what accounts have stored."""
    rows: list[Any] = connection.execute(
        "SELECT accounts.account, length(group_info), offers.id FROM offers"  # noqa: S608  (constants)
        " JOIN accounts ON accounts.id = offers.account WHERE offers.id IN"
        f" (SELECT id FROM offers WHERE {which})",
        bindings,
    ).fetchall()
    released = Counter[bytes]()
    for account, size, number in rows:
        connection.execute("DELETE FROM offers WHERE id = ?", (number,))
        add_stored(connection, account, -size)
        released[account] += size
    return released


def read_offer(connection: apsw.Connection, room: bytes, link: bytes, place: int) -> ServedOffer:
    """Read the offer at `place`, from 0, of those to a room that list a link.

    A damaged one is logged and left out. Raises `Refusal` if there are no more.
    """
    served: list[tuple[int, bytes]] = []
    rows: list[Any] = connection.execute(_OFFERS, (room,)).fetchall()
    for number, packed, whole in rows:
        if not whole:
            _log.error("offer not served: it is damaged on disk", room=room.hex(), id=number)
            continue
        keys = dict(msgspec.msgpack.decode(packed, type=list[tuple[bytes, bytes]]))
        if link in keys:
            served.append((number, keys[link]))
    if place >= len(served):
        raise Refusal(Code.NO_SUCH_LINK, f"there are no more than {len(served)} offers of this link's room")
    number, sealed = served[place]
    group_info = connection.execute("SELECT group_info FROM offers WHERE id = ?", (number,)).get
    return ServedOffer(len(served), sealed, group_info)
