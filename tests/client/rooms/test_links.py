"""Links in a room's log: who joins by them, who makes them, when they end, what is offered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import PeerError
from clave_client.formats.agreed_state import AgreedState, Role, decode_state
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.room_link import LINK_EXTENSION, RoomLink
from clave_client.rooms.link_offers import make_offer, open_offer
from clave_client.rooms.state_change import StateChange
from clave_crypto.keys import Secret
from clave_wire.messages import Kind
from client.linked_room import (
    DAY,
    Room,
    handed_out,
    joins,
    link_of,
    makes_link,
    opened,
    room,
    told,
    with_state,
)
from client.memory_relay import (
    NOW,
    Member,
    agree,
    brings_in,
    confirm,
    deliver,
    forge,
    in_one_room,
    rekey,
    resume,
    say,
    settle,
)
from client.rooms.test_roles import account, changes

__all__ = ["room"]


def test_who_joins_by_a_link_speaks_before_anybody_is_there(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    assert green.room.awaits_entry
    say(log, green, "is anybody here")
    deliver(log, green)
    from_red, from_blue, from_green = settle(log, red, blue, green)
    for found in (from_red, from_blue):
        (joined,) = told(found, events.MemberJoined)
        assert (joined.person.name, joined.inviter) == ("green", "red")
        (message,) = told(found, events.Message)
        assert message.text == "is anybody here"
        assert found.index(joined) < found.index(message)
    assert [notice.text for notice in told(from_green, events.Notice)] == ["red let this device into friends"]
    assert green.room.joining is None, "red confirmed it, who made the link"
    agree(red, blue, green)
    say(log, blue, "hello green")
    deliver(log, red, green)
    assert green.texts() == ["is anybody here", "hello green"]


def test_who_was_let_in_by_another_is_certain_once_the_inviter_speaks(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    deliver(log, blue)
    confirm(log, blue)
    deliver(log, blue, green)
    green.restarts()
    resume(green, log)
    assert green.room.joining is not None
    assert not green.room.awaits_entry
    say(log, blue, "red sleeps")
    deliver(log, green)
    assert green.room.joining is not None, "blue did not make the link"
    deliver(log, red)
    say(log, red, "I am here")
    (outcome,) = deliver(log, green)
    assert "red is in friends: the link led to the right room" in [
        event.text for event in told(outcome.events, events.Notice)
    ]
    assert green.room.joining is None


def test_two_who_join_at_once_get_in_one_after_the_other(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, secret = room
    white = Member(tmp_path, "white")
    joins(log, green, red, secret)
    joins(log, white, red, secret)
    settle(log, red, blue, green)
    assert red.room.roster.has(green.device)
    assert not red.room.roster.has(white.device)
    deliver(log, white)
    assert white.room.cannot_follow
    joins(log, white, red, secret)
    settle(log, red, blue, green, white)
    agree(red, blue, green, white)


def test_another_device_of_a_member_joins_by_a_link(room: Room, tmp_path: Path) -> None:
    log, red, blue, _, secret = room
    desk = Member(tmp_path, "desk", twin=blue)
    joins(log, desk, red, secret)
    settle(log, red, blue, desk)
    agree(red, blue, desk)
    assert red.room.state.role_of(account(desk)) is Role.MEMBER


def test_a_device_that_lost_its_state_joins_again_in_its_own_place(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    green.store.forget_group(green.room.id)
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    agree(red, blue, green)
    assert len(red.room.roster.devices()) == 3
    found = opened(red, secret)
    assert found.group_info


_PROVED = (b"r" * 16, bytes(32), bytes(32), "green")


# --- who makes links, and when they end ---


def test_only_who_may_makes_links(room: Room) -> None:
    log, red, blue, _, _ = room
    link = link_of(blue, LinkSecret.generate())
    state = StateChange(links=[link]).apply(blue.room.state)
    forged = forge(blue, blue.header(Kind.REKEY), lambda group, covered: with_state(group, state, covered))
    log.append(blue, forged)
    (outcome,) = deliver(log, red)
    (notice,) = told(outcome.events, events.Notice)
    assert "do not fit who is in the room" in notice.text
    deliver(log, blue)
    changes(log, red, StateChange(policies={"link": Role.MEMBER}))
    settle(log, red, blue)
    changes(log, blue, StateChange(links=[link]))
    settle(log, red, blue)
    assert red.room.state.find_link(link.key) == link


Changed = Callable[[Member, RoomLink], AgreedState]


@pytest.mark.parametrize(
    "change",
    [
        lambda red, link: msgspec.structs.replace(
            red.room.state, links=[msgspec.structs.replace(link, uses=9)]
        ),
        lambda red, link: msgspec.structs.replace(
            red.room.state, links=[msgspec.structs.replace(link, not_after=link.not_after + 1)]
        ),
        lambda red, link: msgspec.structs.replace(
            red.room.state,
            links=sorted([link, link_of(red, LinkSecret.generate(), by=bytes(32))], key=lambda x: x.key),
        ),
    ],
    ids=["uses", "expiry", "in another's name"],
)
def test_nobody_changes_a_link_or_makes_one_in_anothers_name(room: Room, change: Changed) -> None:
    log, red, blue, _, secret = room
    link = red.room.state.find_link(secret.key)
    assert link is not None
    state = change(red, link)

    log.append(
        red, forge(red, red.header(Kind.REKEY), lambda group, covered: with_state(group, state, covered))
    )
    (outcome,) = deliver(log, blue)
    (notice,) = told(outcome.events, events.Notice)
    assert "link" in notice.text or "do not fit who is in the room" in notice.text
    assert blue.room.confirmable is None


def test_a_link_ends_with_the_role_of_who_made_it(room: Room, tmp_path: Path) -> None:
    log, red, blue, _, secret = room
    changes(log, red, StateChange(roles={account(blue): Role.ADMIN}))
    settle(log, red, blue)
    other = makes_link(log, blue, red)
    changes(log, red, StateChange(roles={account(blue): Role.MEMBER}))
    from_red, from_blue = settle(log, red, blue)
    assert [link.key for link in red.room.state.links] == [secret.key]
    for found in (from_red, from_blue):
        (changed,) = told(found, events.LinksChanged)
        assert (changed.ended, changed.why) == (1, events.LinkEnd.MAKER)
    assert blue.room.state.find_link(other.key) is None


def test_expired_links_are_offered_to_nobody_and_end_with_the_next_rekey(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    secret = makes_link(log, red, blue, seconds=-1800)
    offer = make_offer(red.room.group, red.room.chain.seen(), NOW)
    assert (offer.links, offer.group_info) == ([], b"")
    for member in (red, blue):
        member.room.clock = lambda: NOW + DAY
    rekey(log, blue)
    from_red, _ = settle(log, red, blue)
    assert red.room.state.find_link(secret.key) is None
    (changed,) = told(from_red, events.LinksChanged)
    assert changed.why is events.LinkEnd.EXPIRED


def test_rooms_without_links_are_as_before(room: Room) -> None:
    log, red, blue, _, secret = room
    kind, data = red.room.state.extension()
    assert kind == LINK_EXTENSION
    assert decode_state(kind, data) == red.room.state
    changes(log, red, StateChange(ended=[secret.key]))
    settle(log, red, blue)
    kind, data = red.room.state.extension()
    assert kind == 0xF0C2
    assert decode_state(kind, data) == red.room.state
    with pytest.raises(PeerError, match="not in its one valid form"):
        decode_state(LINK_EXTENSION, data)


# --- offers ---


def test_an_offer_opens_for_its_links_only(room: Room) -> None:
    _, red, _, _, secret = room
    offer = make_offer(red.room.group, red.room.chain.seen(), NOW)
    found = open_offer(handed_out(offer, secret), secret)
    assert (found.head, found.seen) == (red.room.head, red.room.chain.seen())
    info = red.room.group.group_info()
    assert info[:200] not in offer.group_info
    other = LinkSecret.generate()
    with pytest.raises(Exception, match="does not open"):
        open_offer(handed_out(offer, secret), other)
    broken = msgspec.structs.replace(handed_out(offer, secret), group_info=offer.group_info[:-1])
    with pytest.raises(Exception, match="does not open"):
        open_offer(broken, secret)
    with pytest.raises(PeerError, match="cannot be read"):
        open_offer(msgspec.structs.replace(broken, sealed=b"\x93"), secret)


def test_an_offer_goes_with_what_begins_an_epoch(room: Room, tmp_path: Path) -> None:
    log, red, blue, green, secret = room
    submit = red.room.prepare_commit(())
    assert red.room.offer_for(submit) is None, "its epoch begins when another confirms it"
    log.append(red, submit)
    deliver(log, red, blue)
    waiting = blue.room.confirmable
    assert waiting is not None
    confirmed = blue.room.prepare_confirm(waiting)
    offer = blue.room.offer_for(confirmed)
    assert offer is not None
    assert offer.submission == confirmed.submission
    log.append(blue, confirmed)
    deliver(log, red, blue)
    assert open_offer(handed_out(offer, secret), secret).head == red.room.head
    added = red.room.prepare_commit([green.add()])
    offer = red.room.offer_for(added)
    assert offer is not None
    log.append(red, added)
    deliver(log, red)
    assert open_offer(handed_out(offer, secret), secret).head == red.room.head
    say(log, red, "hello")
    white = Member(tmp_path, "white")
    brings_in(log, red, white)
    assert white.room.state == red.room.state


def test_the_secret_of_a_link_is_shown_nowhere() -> None:
    secret = LinkSecret(Secret(b"s" * 16))
    assert "ssss" not in repr(secret)
    assert b"s" * 16 not in secret.prove(*_PROVED).encode()
