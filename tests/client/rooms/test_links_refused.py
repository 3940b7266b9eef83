"""Joins by links that members refuse, all alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import rekey_id
from clave_client.formats.room_link import link_extension
from clave_client.rooms.link_offers import OpenedOffer, make_offer
from clave_client.rooms.policy import state_proposal
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import Group, PolicyRejected, Proposal, Remove
from clave_wire.links import LinkProof
from clave_wire.messages import Kind
from client.linked_room import (
    Room,
    built,
    external,
    joins,
    link_of,
    makes_link,
    opened,
    refused,
    room,
    told,
    with_state,
)
from client.memory_relay import (
    NOW,
    Member,
    deliver,
    forge,
    in_one_room,
    settle,
)
from client.rooms.test_roles import account, changes

__all__ = ["room"]


def test_nobody_joins_without_a_link(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    why = refused(log, green, external(green, found), red, blue)
    assert why == ["green tried to join without being added"] * 2


def test_nobody_joins_by_a_link_that_they_do_not_hold(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    proof = LinkSecret.generate().prove(b"r" * 16, found.head, green.device, "green")
    lying = LinkProof(secret.key, proof.signature)
    why = refused(log, green, external(green, found, link_extension(lying)), red, blue)
    assert why == ["green does not hold the link that they named"] * 2


@pytest.mark.parametrize("what", ["room", "head", "device", "name"])
def test_a_proof_is_of_one_room_epoch_device_and_name(room: Room, what: str) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    signed: dict[str, Any] = {"room": b"r" * 16, "head": found.head, "device": green.device, "name": "green"}
    signed[what] = "white" if what == "name" else bytes(len(signed[what]))
    proof = secret.prove(signed["room"], signed["head"], signed["device"], signed["name"])
    why = refused(log, green, external(green, found, link_extension(proof)), red, blue)
    assert why == ["green does not hold the link that they named"] * 2


def test_nobody_joins_by_a_link_that_was_revoked(room: Room) -> None:
    log, red, blue, green, secret = room
    other = makes_link(log, red, blue)
    changes(log, blue, StateChange(ended=[secret.key]))
    found = settle(log, red, blue)
    for each in found:
        (changed,) = told(each, events.LinksChanged)
        assert (changed.ended, changed.why, changed.by.name) == (1, events.LinkEnd.REVOKED, "blue")
    offered = opened(red, other)
    with pytest.raises(PolicyRejected, match="the link was revoked"):
        built(green, offered, secret)
    proof = secret.prove(b"r" * 16, offered.head, green.device, "green")
    why = refused(log, green, external(green, offered, link_extension(proof)), red, blue)
    assert why == ["the link was revoked"] * 2


def test_a_link_lets_in_as_many_as_it_says(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    secret = makes_link(log, red, blue, uses=1)
    green, white = Member(tmp_path, "green"), Member(tmp_path, "white")
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    offer = make_offer(red.room.group, red.room.chain.seen(), NOW)
    assert [(link.uses, link.sealed, offer.group_info) for link in offer.links] == [(0, b"", b"")]
    other = makes_link(log, red, blue, green)
    found = opened(red, other)
    with pytest.raises(PolicyRejected, match="the link is used up"):
        built(white, found, secret)
    proof = secret.prove(b"r" * 16, found.head, white.device, "white")
    forged = external(white, found, link_extension(proof))
    assert refused(log, white, forged, red, blue, green) == ["the link is used up"] * 3


def test_who_leaves_makes_no_place_for_another(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    secret = makes_link(log, red, blue, uses=2)
    green, white = Member(tmp_path, "green"), Member(tmp_path, "white")
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    green.room.start_leaving()
    deliver(log, green)
    log.append(green, green.room.prepare_leave())
    settle(log, red, blue)
    assert not red.room.roster.has(green.device)
    link = red.room.state.find_link(secret.key)
    assert link is not None
    assert link.uses == 1
    joins(log, white, red, secret)
    settle(log, red, blue, white)
    offer = make_offer(red.room.group, red.room.chain.seen(), NOW)
    assert [each.uses for each in offer.links] == [0]


def test_a_commit_that_takes_out_who_joined_has_to_lower_the_uses(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    secret = makes_link(log, red, blue)
    green = Member(tmp_path, "green")
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    green.room.start_leaving()
    deliver(log, green)
    log.append(green, green.room.prepare_leave())
    deliver(log, red, blue)

    def make(group: Group, covered: bytes) -> bytes:
        return group.commit([], now=int(NOW), authenticated_data=covered).message

    header = blue.header(Kind.REKEY, remove=[green.device])
    log.append(blue, forge(blue, header, make))
    (outcome,) = deliver(log, red)
    (notice,) = told(outcome.events, events.Notice)
    assert "blue changed a link, or how many join by it" in notice.text


def test_the_banned_do_not_join_and_a_removal_ends_all_links(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    makes_link(log, red, blue, green)
    changes(log, red, StateChange(banned=[account(green)]), Remove(red.leaf_of(green)))
    from_red, from_blue, _ = settle(log, red, blue, green)
    assert red.room.state.links == []
    for happened in (from_red, from_blue):
        (changed,) = told(happened, events.LinksChanged)
        assert (changed.ended, changed.why) == (2, events.LinkEnd.REMOVAL)
    other = makes_link(log, red, blue)
    found = opened(red, other)
    with pytest.raises(PolicyRejected, match="green is banned from this room"):
        built(green, found, other)
    proof = other.prove(b"r" * 16, found.head, green.device, "green")
    forged = external(green, found, link_extension(proof))
    assert refused(log, green, forged, red, blue) == ["green is banned from this room"] * 2


def test_nobody_joins_under_a_name_that_looks_like_a_members(room: Room, tmp_path: Path) -> None:
    log, red, blue, _, secret = room
    double = Member(tmp_path, "bIue")
    found = opened(red, secret)
    with pytest.raises(PolicyRejected, match="has a member whose name looks like bIue"):
        built(double, found, secret)
    proof = secret.prove(b"r" * 16, found.head, double.device, "bIue")
    why = refused(log, double, external(double, found, link_extension(proof)), red, blue)
    assert why == ["the room has a member whose name looks like bIue"] * 2


def test_who_holds_a_link_cannot_take_a_members_place(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    proof = secret.prove(b"r" * 16, found.head, green.device, "green")
    forged = external(green, found, link_extension(proof), removes=red.leaf_of(blue))
    why = refused(log, green, forged, red, blue)
    assert why == ["blue tried to change identity"] * 2


def test_nobody_changes_by_which_link_they_joined(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    info = red.room.group.group_info()
    forged = external(
        green, OpenedOffer(red.room.head, red.room.chain.seen(), info), removes=red.leaf_of(green)
    )
    entry = log.append(green, forged)
    outcomes = deliver(log, red, blue)
    for outcome in outcomes:
        (notice,) = told(outcome.events, events.Notice)
        assert "green tried to change by which link they joined" in notice.text
    assert red.room.rekeys.find(rekey_id(entry.payload)) is None


@pytest.mark.parametrize("length", [33, 1216])
def test_nobody_makes_a_link_to_whose_key_nobody_can_seal(room: Room, length: int) -> None:
    log, red, blue, _, _ = room
    link = link_of(red, LinkSecret.generate(), kem_key=bytes(length))
    with pytest.raises(PolicyRejected, match="red made a link whose key is not valid"):
        changes(log, red, StateChange(links=[link]))
    red.room.cancel_commit()
    state = StateChange(links=[link]).apply(red.room.state)
    header = red.header(Kind.REKEY)
    log.append(red, forge(red, header, lambda group, covered: with_state(group, state, covered)))
    (outcome,) = deliver(log, blue)
    (notice,) = told(outcome.events, events.Notice)
    assert "red made a link whose key is not valid" in notice.text
    assert blue.room.confirmable is None


def test_nobody_makes_a_link_with_a_removal(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    change = StateChange(links=[link_of(red, LinkSecret.generate())], ended=[secret.key])
    state = change.apply(red.room.state)
    leaf = red.leaf_of(green)

    def make(group: Group, covered: bytes) -> bytes:
        proposals: list[Proposal] = [Remove(leaf), state_proposal(group.extensions, state)]
        return group.commit(proposals, now=int(NOW), authenticated_data=covered).message

    log.append(red, forge(red, red.header(Kind.REKEY, remove=[green.device]), make))
    (outcome,) = deliver(log, blue)
    (notice,) = told(outcome.events, events.Notice)
    assert "red made a link while somebody was removed, who may know it" in notice.text


def test_a_key_package_cannot_name_a_link(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    _, red, _, green, secret = room
    add = green.add()
    leaf = add.key_package.leaf_node
    monkeypatch.setattr(
        type(leaf), "extensions", property(lambda _: (link_extension(secret.prove(*_PROVED)),)), raising=False
    )
    with pytest.raises(PolicyRejected, match="cannot be added as one who joined by a link"):
        red.room.prepare_commit([add])


_PROVED = (b"r" * 16, bytes(32), bytes(32), "green")
