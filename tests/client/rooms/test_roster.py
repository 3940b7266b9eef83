"""Who is in a room, compared with what others say."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from clave_client.rooms.policy import check_names_differ
from clave_client.store.pins import Pins
from clave_crypto.mls import PolicyRejected
from client.memory_relay import NOW, Member, brings_in, in_one_room


def test_the_relays_member_list_is_compared_with_the_groups(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    mine, other, stranger = red.device, blue.device, b"s" * 32
    assert red.room.roster.routing_differences([mine, other]) == ([], [])
    assert red.room.roster.routing_differences([mine]) == ([other], [])
    assert red.room.roster.routing_differences([mine, other, stranger]) == ([], [stranger])


def test_the_inviter_is_who_signed_the_welcome(tmp_path: Path) -> None:
    log, (_, blue) = in_one_room(tmp_path, "red", "blue")
    green = Member(tmp_path, "green")
    brings_in(log, blue, green)
    invited = green.room.invitation()
    assert invited.inviter.name == "blue"
    assert invited.members == ("red", "blue")


def test_a_group_with_two_accounts_of_one_name_is_refused(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    check_names_differ(red.room.group)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    impostor = Member(elsewhere, "blue")
    made_up = red.villain()
    made_up.merge(made_up.commit([impostor.add()], now=int(NOW)))
    with pytest.raises(PolicyRejected, match="name looks like blue"):
        check_names_differ(made_up)


def test_members_are_compared_with_their_names_at_the_relay(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    registered = [(red.device, "red"), (blue.device, "mallory"), (b"s" * 32, "stranger")]
    assert red.room.roster.name_differences(registered) == {"blue": "mallory"}


def test_a_person_is_as_the_pins_say_now(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    roster, pins = red.room.roster, Pins(red.store)
    (other,) = (member for member in roster.members().values() if member.name == "blue")
    assert not roster.person(other).verified
    pins.verify("blue", other.account)
    assert roster.person(other).verified
    pins.repin("blue", b"a" * 32)
    assert roster.person(other).known == b"a" * 32
    with contextlib.suppress(ZeroDivisionError), red.store.transaction():
        pins.repin("blue", other.account)
        assert not roster.person(other).known
        raise ZeroDivisionError
    assert roster.person(other).known == b"a" * 32, "what was rolled back is not"
    assert blue.account.verified.account == other.account
