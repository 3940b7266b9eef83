"""Who is in a room, compared with what others say."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.rooms.policy import check_names_differ
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
