"""Answers `FindLink`: the room of a link, if the link lets a device in, with an offer. Knows no SQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import apsw

from clave_host.clock import now_ms
from clave_server.errors import Refusal, ServerError
from clave_server.relay.context import RelayContext
from clave_server.rooms import offers
from clave_server.rooms.entry_store import load_room
from clave_server.rooms.links import Link, check_link
from clave_server.rooms.room_state import RoomState
from clave_wire.messages import Code, FindLink, LinkOffer

__all__ = ["find_link"]


class _Standing(NamedTuple):
    """Where a room stands for one device, and one of its links."""

    link: Link | None
    handshake: int
    submission: int
    is_member: bool

    @classmethod
    def of(cls, room: RoomState, device: bytes, link: bytes) -> Self:
        return cls(
            room.links.get(link),
            room.durable_handshake,
            room.highest_submission(device),
            device in room.members,
        )


def find_link(
    context: RelayContext, device: bytes, request: FindLink, done: Callable[[LinkOffer | ServerError], None]
) -> None:
    """Call `done` with the offer that `device` asks for, or with why there is none.

    A room in memory is ahead of its rows, which say nothing of the last messages; another is loaded.
    """

    def found(outcome: bytes | ServerError) -> None:
        if isinstance(outcome, ServerError):
            done(outcome)
            return
        room = context.sequencer.loaded_room(outcome)
        standing = None if room is None else _Standing.of(room, device, request.link)
        read = partial(_read, key=outcome, device=device, request=request, standing=standing)
        context.reader.submit(read, done)

    context.reader.submit(partial(offers.find_room, link=request.link), found)


def _read(
    connection: apsw.Connection, key: bytes, device: bytes, request: FindLink, standing: _Standing | None
) -> LinkOffer:
    """Read an offer to the room `key`, and where that stands if it is not known. Raises `ServerError`."""
    if standing is None:
        room = load_room(connection, key)
        if room is None:
            raise Refusal(Code.NO_SUCH_LINK, "there is no such link")
        standing = _Standing.of(room, device, request.link)
    check_link(standing.link, now_ms() // 1000, is_member=standing.is_member)
    offer = offers.read_offer(connection, key, request.link, request.place)
    return LinkOffer(
        request.id, key, standing.handshake, standing.submission, offer.offers, offer.sealed, offer.group_info
    )
