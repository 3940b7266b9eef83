"""Joins by links that other changes precede, or seem to; and what members let in first."""

from __future__ import annotations

from pathlib import Path

from clave_client import events
from clave_client.formats.agreed_state import Role
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import sign_payload
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import Remove
from clave_wire.messages import Kind
from client.linked_room import (
    Room,
    enters,
    joins,
    link_of,
    opened,
    room,
    told,
)
from client.memory_relay import (
    Forged,
    agree,
    deliver,
    in_one_room,
    resume,
    say,
    settle,
)
from client.rooms.test_roles import account, changes

__all__ = ["room"]


def test_a_change_that_came_before_is_noticed_at_once(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    changes(log, red, StateChange(topic="changed"))
    settle(log, red, blue)
    enters(log, green, red, found, secret)
    assert green.room.cannot_follow
    assert green.room.joining is not None
    assert green.room.joining.superseded
    assert not green.room.may_send


def test_what_was_said_before_another_change_came_first_is_said_again(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    enters(log, green, red, found, secret)
    say(log, green, "said in vain")
    deliver(log, green, red)
    changes(log, red, StateChange(topic="changed"))
    deliver(log, blue, green)
    green.restarts()
    resume(green, log)
    theirs = blue.room.rekeys.of(account(red))
    assert theirs is not None
    log.append(blue, blue.room.prepare_confirm(theirs))
    (outcome,) = deliver(log, green)
    assert outcome.epoch_suspect
    assert green.room.cannot_follow
    settle(log, red, blue)
    enters(log, green, red, opened(red, secret), secret, former=green.room)
    settle(log, red, blue, green)
    agree(red, blue, green)
    assert red.texts() == blue.texts() == ["said in vain"]


def test_a_confirmation_of_nothing_puts_nobody_out(room: Room) -> None:
    log, red, blue, green, secret = room
    enters(log, green, red, opened(red, secret), secret)
    header = blue.header(Kind.CONFIRM, ref=bytes(32))
    log.append(blue, Forged(Kind.CONFIRM, sign_payload(blue.room.id, header, blue.account.device)))
    deliver(log, green)
    assert not green.room.cannot_follow
    settle(log, red, blue, green)
    agree(red, blue, green)


def test_who_has_a_rekey_in_the_log_speaks_in_its_epoch_and_puts_nobody_out(room: Room) -> None:
    log, red, _, green, secret = room
    found = opened(red, secret)
    changes(log, red, StateChange(topic="changed"))
    deliver(log, red)
    enters(log, green, red, found, secret)
    say(log, red, "said in an epoch that nobody confirmed yet")
    deliver(log, green)
    assert not green.room.cannot_follow


def test_what_a_joiner_said_survives_a_restart_of_a_member(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    say(log, green, "is anybody here")
    deliver(log, green, red, blue)
    red.restarts()
    resume(red, log)
    settle(log, red, blue, green)
    assert red.texts() == blue.texts() == ["is anybody here"]


def test_nobody_is_let_in_before_who_left_is_taken_out(room: Room) -> None:
    log, red, blue, green, secret = room
    found = opened(red, secret)
    blue.room.start_leaving()
    log.append(blue, blue.room.prepare_leave())
    enters(log, green, red, found, secret)
    settle(log, red)
    assert red.room.roster.accounts == {account(red)}
    deliver(log, green)
    assert green.room.cannot_follow
    enters(log, green, red, opened(red, secret), secret, former=green.room)
    settle(log, red, green)
    agree(red, green)


def test_who_returns_in_the_place_of_its_leaving_is_not_taken_out(room: Room) -> None:
    log, red, blue, green, secret = room
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    green.room.start_leaving()
    log.append(green, green.room.prepare_leave())
    deliver(log, green, red, blue)
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    agree(red, blue, green)
    assert red.room.roster.has(green.device)


def test_a_link_that_waited_is_not_made_after_a_removal(tmp_path: Path) -> None:
    log, (red, blue, mole) = in_one_room(tmp_path, "red", "blue", "mole")
    changes(log, red, StateChange(roles={account(blue): Role.OWNER}))
    settle(log, red, blue, mole)
    secret = LinkSecret.generate()
    changes(log, red, StateChange(links=[link_of(red, secret)]))
    deliver(log, red, blue, mole)
    changes(log, blue, StateChange(), Remove(blue.leaf_of(mole)))
    deliver(log, red)
    theirs = red.room.rekeys.of(account(blue))
    assert theirs is not None
    log.append(red, red.room.prepare_confirm(theirs))
    from_red, _ = settle(log, red, blue)
    assert red.room.state.links == []
    assert any("is not made, as somebody was removed" in each.text for each in told(from_red, events.Notice))


def test_what_a_change_begins_is_offered_again_after_a_thousand_entries(room: Room) -> None:
    _, red, _, _, _ = room
    red.room.set(cursor=red.room.offered_at + 1000)
    found = [red.room.must_offer]
    red.room.set(cursor=red.room.offered_at + 1001)
    found.append(red.room.must_offer)
    with red.room.changing():
        red.room.note_offered()
    assert [*found, red.room.must_offer] == [False, True, False]
