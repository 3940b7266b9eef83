"""Segments: where they are split, and that changes are detected."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_server.errors import DamageError
from clave_server.rooms.segment import CHUNK_BYTES, Segment, split
from clave_wire.framing import pack
from clave_wire.messages import Done

ROOM = bytes(16)


def frames(count: int) -> list[bytes]:
    return [pack(Done(number * 1000)) for number in range(count)]


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 20))
def test_between_returns_the_entries_asked_for(count: int, after: int, until: int) -> None:
    first = 5
    segment = Segment(ROOM, first, first + count - 1, b"".join(frames(count)))
    wanted = [f for seq, f in enumerate(frames(count), first) if after < seq <= until]
    assert segment.between(after, until) == b"".join(wanted)


def test_splitting_keeps_every_frame_and_the_size_limit() -> None:
    pieces = [bytes(CHUNK_BYTES // 3)] * 7 + [bytes(CHUNK_BYTES * 2)] + [b"x"] * 3
    segments = list(split(ROOM, 10, pieces))
    assert b"".join(segment.frames for segment in segments) == b"".join(pieces)
    assert segments[0].first == 10
    assert segments[-1].last == 10 + len(pieces) - 1
    for before, after in itertools.pairwise(segments):
        assert after.first == before.last + 1
    for segment in segments:
        assert len(segment.frames) <= CHUNK_BYTES or segment.first == segment.last


@given(st.integers(0, 99), st.integers(1, 255))
def test_any_changed_byte_is_detected(place: int, change: int) -> None:
    content = bytearray(b"".join(frames(20)))
    digest = Segment(ROOM, 1, 20, bytes(content)).digest()
    content[place] ^= change
    with pytest.raises(DamageError):
        Segment(ROOM, 1, 20, bytes(content)).verify(digest)


def test_a_segment_with_another_room_or_seq_is_detected() -> None:
    digest = Segment(ROOM, 1, 20, b"frames").digest()
    for moved in (Segment(bytes([1]) * 16, 1, 20, b"frames"), Segment(ROOM, 2, 21, b"frames")):
        with pytest.raises(DamageError):
            moved.verify(digest)
