from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.errors import PeerError
from clave_client.formats.agreed_state import Role, decode_state
from clave_client.formats.former_content import (
    FormerContent,
    FormerKind,
    decode_former,
    decode_protocol_3,
    encode_former,
)
from clave_client.formats.former_state import (
    FORMER_STATE_EXTENSION,
    FormerRole,
    FormerState,
    decode_former_state,
)

CONTENT = FormerContent(b"i" * 16, FormerKind.TEXT, "hello", b"", 5)
STATE = FormerState(
    1, "friends", [b"a" * 32, b"b" * 32], FormerRole.MEMBER, FormerRole.ADMIN, FormerRole.ADMIN
)


def test_content_is_decoded_as_encoded() -> None:
    assert decode_former(encode_former(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "fields",
    [
        {"id": b"short"},
        {"kind": 99},
        {"reply_to": b"x" * 17},
        {"sent_at": -1},
        {"body": "x" * 65_537},
        {"body": b"bytes"},
    ],
)
def test_content_out_of_bounds_is_refused(fields: dict[str, object]) -> None:
    values = list(msgspec.to_builtins(CONTENT, builtin_types=(bytes,)))
    for name, value in fields.items():
        values[FormerContent.__struct_fields__.index(name)] = value
    with pytest.raises(PeerError):
        decode_former(msgspec.msgpack.encode(values))


def test_content_of_protocol_3_holds_its_senders_view() -> None:
    values = list(msgspec.to_builtins(CONTENT, builtin_types=(bytes,)))
    before = msgspec.msgpack.encode([*values, [3, b"h" * 32]])
    read = decode_protocol_3(before)
    assert (read.id, read.kind, read.body, read.sent_at) == (CONTENT.id, CONTENT.kind, CONTENT.body, 5)
    with pytest.raises(PeerError):
        decode_former(before)
    with pytest.raises(PeerError):
        decode_protocol_3(encode_former(CONTENT))


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_undecodable_content_is_a_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_former(data)
    with pytest.raises(PeerError):
        decode_protocol_3(data)
    with pytest.raises(PeerError):
        decode_former_state(data)


def test_a_former_state_is_decoded_as_encoded() -> None:
    assert decode_former_state(STATE.encode()) == STATE
    read = decode_state(FORMER_STATE_EXTENSION, STATE.encode())
    assert read.extension() == (FORMER_STATE_EXTENSION, STATE.encode())
    assert [read.role_of(each) for each in (b"a" * 32, b"x" * 32)] == [Role.ADMIN, Role.MEMBER]


def test_agreed_state_has_one_encoding() -> None:
    unsorted = msgspec.structs.replace(STATE, admins=[b"b" * 32, b"a" * 32])
    twice = msgspec.structs.replace(STATE, admins=[b"a" * 32, b"a" * 32])
    longer = STATE.encode() + b"\x00"
    wide_integer = b"\x96\xcc\x01" + STATE.encode()[2:]
    for data in (unsorted.encode(), twice.encode(), longer, wide_integer):
        with pytest.raises(PeerError):
            decode_former_state(data)


def test_a_time_no_calendar_can_show_is_refused() -> None:
    late = msgspec.structs.replace(CONTENT, sent_at=2**62)
    with pytest.raises(PeerError):
        decode_former(encode_former(late))
