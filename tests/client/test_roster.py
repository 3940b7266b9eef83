"""Who is in a room, compared with what others say."""

from __future__ import annotations

from pathlib import Path

from client.memory_relay import Member, brings_in, in_one_room


def test_the_relays_member_list_is_compared_with_the_groups(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    mine, other, stranger = red.device, blue.device, b"s" * 32
    assert red.room.roster.compare_routing([mine, other]) == ([], [])
    assert red.room.roster.compare_routing([mine]) == ([other], [])
    assert red.room.roster.compare_routing([mine, other, stranger]) == ([], [stranger])


def test_the_inviter_is_who_signed_the_welcome(tmp_path: Path) -> None:
    log, (_, blue) = in_one_room(tmp_path, "red", "blue")
    green = Member(tmp_path, "green")
    brings_in(log, blue, green)
    invited = green.room.invitation()
    assert invited.inviter.name == "blue"
    assert invited.members == ("red", "blue")
