"""The agreed state: one encoding, roles, and what follows from who is in the room."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.errors import PeerError
from clave_client.formats.agreed_state import (
    AGREED_STATE_EXTENSION,
    EXTENSION_TYPES,
    AgreedState,
    Role,
    decode_state,
)

A, B, C, D = (letter * 32 for letter in (b"a", b"b", b"c", b"d"))
STATE = AgreedState(2, "friends", "where to meet", owners=[A], admins=[B], guests=[C], banned=[D])


def encoded(state: AgreedState) -> bytes:
    return msgspec.msgpack.encode(state)


def test_a_state_is_decoded_as_encoded() -> None:
    kind, data = STATE.extension()
    assert kind == AGREED_STATE_EXTENSION
    assert decode_state(kind, data) == STATE
    assert [STATE.role_of(each) for each in (A, B, C, D)] == [
        Role.OWNER,
        Role.ADMIN,
        Role.GUEST,
        Role.MEMBER,
    ]


@pytest.mark.parametrize(
    "state",
    [
        msgspec.structs.replace(STATE, version=1),
        msgspec.structs.replace(STATE, version=3),
        msgspec.structs.replace(STATE, title=""),
        msgspec.structs.replace(STATE, title="x" * 65),
        msgspec.structs.replace(STATE, topic="x" * 301),
        msgspec.structs.replace(STATE, owners=[]),
        msgspec.structs.replace(STATE, owners=[B, A]),
        msgspec.structs.replace(STATE, owners=[A, A]),
        msgspec.structs.replace(STATE, owners=[b"short"]),
        msgspec.structs.replace(STATE, admins=[A]),
        msgspec.structs.replace(STATE, guests=[B]),
        msgspec.structs.replace(STATE, banned=[D, C]),
        msgspec.structs.replace(STATE, banned=[bytes([0, number]) * 16 for number in range(201)]),
        msgspec.structs.replace(STATE, add=Role.GUEST),
        msgspec.structs.replace(STATE, pin=Role.GUEST),
        msgspec.structs.replace(STATE, pinned=[D, C]),
        msgspec.structs.replace(STATE, pinned=[b"short"]),
        msgspec.structs.replace(STATE, pinned=[bytes([0, number]) * 16 for number in range(21)]),
        msgspec.structs.replace(STATE, expiry=-1),
        msgspec.structs.replace(STATE, expiry=366 * 86_400),
        msgspec.structs.replace(STATE, direct=[A, B, C]),
        msgspec.structs.replace(STATE, direct=[B, A]),
    ],
)
def test_other_states_are_refused(state: AgreedState) -> None:
    with pytest.raises(PeerError, match="agreed state"):
        decode_state(AGREED_STATE_EXTENSION, encoded(state))


@pytest.mark.parametrize("data", [b"", encoded(STATE) + b"\0", b"\x9d\xcc\x02" + encoded(STATE)[2:], b"\xff"])
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="agreed state"):
        decode_state(AGREED_STATE_EXTENSION, data)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(EXTENSION_TYPES), st.binary(max_size=300))
def test_bytes_of_anybody_are_a_peer_error_or_one_encoding(kind: int, data: bytes) -> None:
    try:
        state = decode_state(kind, data)
    except PeerError:
        return
    assert state.extension() == (kind, data)


@pytest.mark.parametrize(
    ("accounts", "owners"),
    [
        ([A, B, C], [A]),
        ([C, D, B], [B]),  # the admin, wherever its leaf is
        ([C, D, b"e" * 32], [D]),  # the first member, not the guest before it
        ([C], [C]),
    ],
)
def test_the_last_owner_has_an_heir(accounts: list[bytes], owners: list[bytes]) -> None:
    state = STATE.settled(accounts)
    assert state.owners == owners
    assert not {*state.admins, *state.guests}.difference(accounts)
    assert state.banned == STATE.banned
    assert state.settled(accounts) == state


def test_a_room_between_two_keeps_the_role_of_who_has_not_come() -> None:
    state = AgreedState(2, "a and b", owners=[A, B], direct=[A, B])
    assert state.settled([A]) == state


def test_the_admins_of_a_former_state_become_owners() -> None:
    former = AgreedState(1, "friends", admins=[A, B], add=Role.ADMIN)
    state = former.upgraded()
    assert (state.is_former, state.owners, state.admins, state.add) == (False, [A, B], [], Role.ADMIN)
    assert former.settled([C]) == former, "members of earlier versions judge by other rules"
