"""Frames: in any pieces, and with any fault."""

from __future__ import annotations

import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_wire import messages as m
from clave_wire.errors import MisuseError, RemoteError
from clave_wire.framing import (
    DECODE_ERRORS,
    FrameBuffer,
    malformed,
    pack,
    to_client,
    to_relay,
    unpack_to_client,
)
from clave_wire.limits import MAX_FRAME

MESSAGES: list[m.ToRelay] = [
    m.Goodbye(),
    m.Lookup(7, "blue"),
    m.Submit(bytes(16), 1, 2, m.Kind.COMMIT, b"x" * 300),
]


def frames_of(data: bytes, sizes: list[int], limit: int = MAX_FRAME) -> list[bytes]:
    buffer = FrameBuffer(limit)
    bodies: list[bytes] = []
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        bodies += buffer.cut(piece)
    return bodies


@given(st.lists(st.integers(0, 40)))
def test_any_chunking_gives_the_same_messages(sizes: list[int]) -> None:
    data = b"".join(pack(message) for message in MESSAGES)
    assert [to_relay.decode(body) for body in frames_of(data, sizes)] == MESSAGES


def test_a_frame_fed_byte_by_byte_takes_linear_time() -> None:
    body = bytes(2**20)
    data = len(body).to_bytes(4, "big") + body
    buffer, started = FrameBuffer(MAX_FRAME), time.process_time()
    for i in range(len(data) - 1):
        assert list(buffer.cut(data[i : i + 1])) == []
    assert list(buffer.cut(data[-1:])) == [body]
    assert time.process_time() - started < 20  # quadratic copying would take hours


def test_length_above_the_limit_is_refused_before_the_body_arrives() -> None:
    buffer = FrameBuffer(100)
    with pytest.raises(RemoteError) as caught:
        list(buffer.cut((101).to_bytes(4, "big")))
    assert caught.value.code is m.Code.TOO_LARGE


def test_length_at_the_limit_is_accepted() -> None:
    assert frames_of((100).to_bytes(4, "big") + bytes(100), [], limit=100) == [bytes(100)]


@pytest.mark.parametrize("cut", [1, 3, 4, 10])
def test_partial_reports_an_unfinished_frame(cut: int) -> None:
    buffer = FrameBuffer(100)
    assert list(buffer.cut(pack(m.Lookup(7, "blue"))[:cut])) == []
    assert buffer.partial == cut


def body_of(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        body_of(),
        body_of(99, 1),
        body_of("Goodbye"),
        body_of(42, "unknown field"),
        body_of(21, 7),
        body_of(21, -1, "blue"),
        body_of(21, 2**53, "blue"),
        body_of(21, 7, b"blue"),
        body_of(21, 7, "b" * 65),
        body_of(30, 7, bytes(15)),
        body_of(30, 7, bytes(17)),
        body_of(33, bytes(16), 0, 0, 1, b""),
        body_of(33, bytes(16), 1, 0, 9, b""),
        body_of(33, bytes(16), 1, 0, 1, b"", [bytes(32)] * 1001),
        body_of(2, 1, bytes(32), "relay", 5),  # a relay's message
        pack(m.Lookup(7, "blue"))[4:] + b"\x00",
        pack(m.Lookup(7, "blue"))[4:-1],
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x2a\xdb\xff\xff\xff\xff",
        b"\x93\x15\x07\xa1\xff",  # a name that is not UTF-8
    ],
)
def test_bytes_that_are_not_a_message_are_malformed(body: bytes) -> None:
    with pytest.raises(DECODE_ERRORS) as caught:
        to_relay.decode(body)
    refusal = malformed(caught.value)
    assert refusal.code is m.Code.MALFORMED
    assert "\n" not in str(refusal)


@given(st.binary(max_size=200))
def test_random_bytes_give_a_message_or_a_typed_error(body: bytes) -> None:
    for decoder in (to_relay, to_client):
        with contextlib.suppress(*DECODE_ERRORS):
            decoder.decode(body)


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_gives_a_message_or_a_typed_error(place: int, value: int) -> None:
    body = bytearray(
        pack(
            m.Resumed(1, bytes(16), 2, 2, 3, 4, [(bytes(16), 5)], [(bytes(32), "red"), (bytes(32), "blue")])
        )[4:]
    )
    body[place % len(body)] = value
    with contextlib.suppress(RemoteError):
        unpack_to_client(bytes(body))


def test_frame_above_the_largest_limit_is_not_packed() -> None:
    with pytest.raises(MisuseError):
        pack(m.Submit(bytes(16), 1, 0, m.Kind.APPLICATION, bytes(MAX_FRAME)))
