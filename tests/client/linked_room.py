"""A room with a link, and what tests need to join it and to forge joins. Knows no story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from clave_client import events
from clave_client.formats.agreed_state import AgreedState
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import header_digest, rekey_id
from clave_client.formats.room_link import LINK_EXTENSION, RoomLink
from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.commit_builder import LinkJoin, build_link_join
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.link_offers import OpenedOffer, make_offer, open_offer
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import state_proposal
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import Extension, Group, NoPolicy
from clave_wire.header import Header, pack_header
from clave_wire.messages import Entry, Kind, LinkOffer, Offer
from client.memory_relay import (
    NOW,
    Forged,
    Log,
    Member,
    clock,
    deliver,
    in_one_room,
    resume,
    settle,
)
from client.rooms.test_roles import account, changes

DAY = 86_400


def link_of(
    member: Member, secret: LinkSecret, *, uses: int = 2, seconds: int = DAY, **fields: Any
) -> RoomLink:
    """Return a link of a member's, as a room holds it."""
    kem_key = secret.kem_keys(member.room.group.suite)[1]
    link = RoomLink(secret.key, kem_key, account(member), int(NOW) + seconds, uses)
    return msgspec.structs.replace(link, **fields)


def makes_link(log: Log, member: Member, *others: Member, uses: int = 2, seconds: int = DAY) -> LinkSecret:
    """Have a member make a link that all members confirm."""
    secret = LinkSecret.generate()
    changes(log, member, StateChange(links=[link_of(member, secret, uses=uses, seconds=seconds)]))
    settle(log, member, *others)
    assert member.room.state.find_link(secret.key) is not None
    return secret


def handed_out(offer: Offer, secret: LinkSecret) -> LinkOffer:
    """Return an offer as the relay hands it to a holder of a link."""
    (sealed,) = (link.sealed for link in offer.links if link.key == secret.key)
    return LinkOffer(1, offer.room, 0, 0, 1, sealed, offer.group_info)


def opened(member: Member, secret: LinkSecret) -> OpenedOffer:
    """Return what a member offers now, as a holder of a link reads it."""
    offer = make_offer(member.room.group, member.room.chain.seen(), NOW)
    return open_offer(handed_out(offer, secret), secret)


def built(joiner: Member, found: OpenedOffer, secret: LinkSecret) -> LinkJoin:
    return build_link_join(
        found.group_info,
        secret,
        head=found.head,
        seen=found.seen,
        account=joiner.account.verified,
        identity=joiner.account.identity,
        device=joiner.account.device,
    )


def joins(log: Log, joiner: Member, member: Member, secret: LinkSecret) -> Entry:
    """Have somebody join by what a member offers, and the relay take it."""
    found = opened(member, secret)
    join = built(joiner, found, secret)
    number = log.last(joiner) + 1
    seq = len(log.entries) + 1
    entry = Entry(b"r" * 16, seq, joiner.device, number, Kind.REKEY, 0, join.payload)
    log.entries.append(entry)
    joining = JoinRecord(bytes(secret.seed), account(member), rekey_id(join.payload), found.head)
    point = JoinPoint(found.seen, seq)
    joiner.opens(LocalRoom.join_by_link(joiner.store, join.group, point, joining, number, clock))
    resume(joiner, log)
    deliver(log, joiner)
    return entry


@pytest.fixture
def room(tmp_path: Path) -> tuple[Log, Member, Member, Member, LinkSecret]:
    """Return a room with red, its owner, blue, a member, and green, who is not in it but has its link."""
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    secret = makes_link(log, red, blue)
    return log, red, blue, Member(tmp_path, "green"), secret


Room = tuple[Log, Member, Member, Member, LinkSecret]


def told(found: list[events.Event], kind: type[events.Event]) -> list[Any]:
    return [event for event in found if isinstance(event, kind)]


def external(
    joiner: Member,
    found: OpenedOffer,
    *extensions: Extension,
    removes: int | None = None,
) -> Forged:
    """Return an external commit that no rules were asked about."""
    header = pack_header(Header(Kind.REKEY, found.head, found.seen))
    _, message = Group.join_externally(
        found.group_info,
        joiner.account.identity,
        joiner.account.device.secret,
        policy=NoPolicy(),
        removes=removes,
        other_groups=(),
        authenticated_data=header_digest(header),
        extension_types=(0xF0C1, 0xF0C2, LINK_EXTENSION),
        leaf_extensions=extensions,
    )
    return Forged(Kind.REKEY, header + message)


def refused(log: Log, joiner: Member, forged: Forged, *members: Member) -> list[str]:
    """Have the relay take an entry of a stranger; return why members say that it does not count."""
    entry = Entry(b"r" * 16, len(log.entries) + 1, joiner.device, 1, forged.kind, 0, forged.payload)
    log.entries.append(entry)
    before = [member.room.head for member in members]
    why = []
    for outcome in deliver(log, *members):
        (notice,) = told(outcome.events, events.Notice)
        why.append(notice.text.rpartition("does not count: ")[2])
    assert [member.room.head for member in members] == before
    assert all(member.room.confirmable is None for member in members)
    return why


def with_state(group: Group, state: AgreedState, covered: bytes) -> bytes:
    """Return a commit of another agreed state that no rules were asked about."""
    proposal = state_proposal(group.extensions, state)
    return group.commit([proposal], now=int(NOW), authenticated_data=covered).message


def enters(
    log: Log, joiner: Member, member: Member, found: OpenedOffer, secret: LinkSecret, **more: Any
) -> None:
    """Have somebody join by what was offered before, and the relay take it."""
    join, number, seq = built(joiner, found, secret), log.last(joiner) + 1, len(log.entries) + 1
    log.entries.append(Entry(b"r" * 16, seq, joiner.device, number, Kind.REKEY, 0, join.payload))
    joining = JoinRecord(bytes(secret.seed), account(member), rekey_id(join.payload), found.head)
    point = JoinPoint(found.seen, seq)
    room = LocalRoom.join_by_link(joiner.store, join.group, point, joining, number, clock, **more)
    joiner.opens(room)
    resume(joiner, log)
    deliver(log, joiner)
