"""Finding the room that a typed title or start of an id means."""

from __future__ import annotations

import pytest

from clave_client.errors import UsageError
from clave_client.rooms.room_names import resolve_room, similar_room
from clave_client.store.database import RoomRecord
from clave_client.values import Phase

A, B, C = (bytes.fromhex(start + "0" * 24) for start in ("aaaaaaaa", "bbbbbbbb", "aaaaaaaa"[:7] + "c"))


def record(room: bytes, title: str, phase: Phase = Phase.JOINED) -> RoomRecord:
    return RoomRecord(room, phase, title, 1, 1, 1)


def test_a_room_is_found_by_its_title_or_the_start_of_its_id() -> None:
    rooms = [record(A, "friends"), record(B, "Work")]
    assert resolve_room("friends", rooms) == A
    assert resolve_room("Friends", rooms) == A
    assert resolve_room("work", rooms) == B
    assert resolve_room("aaaaaaaa", rooms) == A
    assert resolve_room(A.hex().upper(), rooms) == A
    assert resolve_room("aaaaaaa", rooms) is None, "seven digits are no id"
    assert resolve_room("strangers", rooms) is None


def test_a_title_is_never_taken_for_the_id_of_another_room() -> None:
    rooms = [record(A, "friends"), record(B, A.hex()[:8])]
    with pytest.raises(UsageError) as caught:
        resolve_room("aaaaaaaa", rooms)
    told = f"several rooms fit aaaaaaaa; use the id: bbbbbbbb (aaaaaaaa), {A.hex()} (friends)"
    assert str(caught.value) == told
    assert resolve_room(A.hex(), rooms) == A
    assert resolve_room(A.hex(), [record(A, "friends"), record(B, A.hex())]) == A
    assert resolve_room("bbbbbbbb", rooms) == B


def test_rooms_of_one_title_are_distinguished_by_id() -> None:
    with pytest.raises(UsageError, match=r"use the id: aaaaaaaa \(friends\), bbbbbbbb \(friends\)"):
        resolve_room("friends", [record(A, "friends"), record(B, "friends")])
    assert resolve_room("friends", [record(A, "friends"), record(B, "Friends")]) == A
    alike = [record(A, "one"), record(A[:-1] + b"\1", "two")]
    with pytest.raises(UsageError, match=A.hex()):
        resolve_room("aaaaaaaa", alike)


def test_joined_rooms_come_before_invitations() -> None:
    own, strangers = record(A, "Friends"), record(B, "friends", Phase.INVITED)
    assert resolve_room("friends", [strangers, own]) == A
    assert resolve_room("friends", [strangers, own], invited=True) == B
    assert resolve_room("friends", [strangers]) == B
    assert resolve_room("Friends", [own], invited=True) is None
    posing = record(A[:-1] + b"\1", A.hex()[:8], Phase.INVITED)
    assert resolve_room("aaaaaaaa", [own, posing]) == A


def test_an_invitation_with_the_title_of_a_joined_room_is_noticed() -> None:
    own, strangers = record(A, "friends"), record(B, "fri\u0435nds", Phase.INVITED)
    assert similar_room(strangers, [own, strangers]) == own
    assert similar_room(own, [own, strangers]) is None
    assert similar_room(record(B, "work", Phase.INVITED), [own]) is None
