from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from msgspec import structs

from clave_client.formats.room_code import code_lines, code_words
from clave_client.formats.room_words import room_words
from clave_client.rooms.room_info import room_info
from clave_client.ui.display import room_info_lines
from clave_crypto.mls import Remove
from client.memory_relay import Member, confirm, deliver, in_one_room

GROUP, AUTHENTICATOR = bytes(range(16)), bytes(range(32))
EXPECTED = "cattle scale awake property just faith joy know ramp advance lumber column"


def test_the_words_are_2048_and_nobody_mistakes_one_for_another() -> None:
    words = room_words()
    assert len(words) == len(set(words)) == 2048
    assert list(words) == sorted(words)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert all(3 <= len(word) <= 8 for word in words)
    assert len({word[:4] for word in words}) == 2048


def test_the_words_are_those_of_bip_39_which_all_clients_share() -> None:
    listed = "\n".join(room_words()) + "\n"
    known = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
    assert hashlib.sha256(listed.encode()).hexdigest() == known


def test_a_code_is_the_first_132_bits_of_the_hash_in_words() -> None:
    words = code_words(GROUP, 7, AUTHENTICATOR)
    hashed = hashlib.sha256(b"clave 1 room code" + GROUP + bytes(7) + b"\x07" + AUTHENTICATOR).digest()
    bits = "".join(f"{byte:08b}" for byte in hashed)
    assert [f"{room_words().index(word):011b}" for word in words] == [
        bits[at : at + 11] for at in range(0, 132, 11)
    ]
    assert " ".join(words) == EXPECTED


@pytest.mark.parametrize(
    "other",
    [
        (GROUP[:-1] + b"x", 7, AUTHENTICATOR),
        (GROUP, 8, AUTHENTICATOR),
        (GROUP, 7, AUTHENTICATOR[:-1] + b"x"),
    ],
    ids=["group", "epoch", "authenticator"],
)
def test_a_code_is_of_one_group_one_epoch_and_its_keys(other: tuple[bytes, int, bytes]) -> None:
    assert code_words(*other) != code_words(GROUP, 7, AUTHENTICATOR)


def test_a_code_is_read_in_two_lines_of_six_words() -> None:
    lines = code_lines(code_words(GROUP, 7, AUTHENTICATOR))
    assert [len(line.split()) for line in lines] == [6, 6]
    assert " ".join(lines) == EXPECTED


def test_members_of_one_epoch_see_one_code_and_every_change_gives_another(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    first = {code_of(each) for each in (red, blue, green)}
    assert len(first) == 1
    log.append(red, red.room.prepare_commit([Remove(red.leaf_of(green))]))
    deliver(log, red, blue, green)
    assert {code_of(each) for each in (red, blue, green)} == first, "it does not count yet"
    confirm(log, blue)
    deliver(log, red, blue)
    assert code_of(red) == code_of(blue) not in first
    assert code_of(green) in first, "who has not read on is in the epoch before"


def test_two_groups_that_look_alike_have_two_codes(tmp_path: Path) -> None:
    """As when a relay gives each of two people a key of its own for the other."""
    (tmp_path / "other").mkdir()
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    _, (_, blue) = in_one_room(tmp_path / "other", "red", "blue")
    theirs, ours = room_info(red.room, red.room.account), room_info(blue.room, blue.room.account)
    assert (theirs.id, theirs.title, theirs.epoch) == (ours.id, ours.title, ours.epoch)
    assert theirs.code != ours.code


def test_a_device_that_cannot_follow_shows_no_code(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    with red.room.changing():
        red.room.set(lost=1)
    assert code_of(red) == ()


def test_the_summary_has_the_code_in_lines_of_six_and_says_what_it_is_for(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    info = room_info(red.room, red.room.account)
    lines = room_info_lines(info)
    (place,) = [place for place, line in enumerate(lines) if line.startswith("code of this moment: ")]
    assert lines[place].split()[-6:] == list(info.code[:6])
    assert lines[place + 1].split() == list(info.code[6:])
    assert "is in this room with you" in lines[place + 2]
    assert "every change of the room gives it other words" in lines[place + 2]
    assert not any("code of" in line for line in room_info_lines(structs.replace(info, code=())))


def code_of(member: Member) -> tuple[str, ...]:
    return room_info(member.room, member.room.account).code
