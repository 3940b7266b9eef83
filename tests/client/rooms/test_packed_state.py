"""A group's pages are stored behind its epoch; what earlier versions stored has none."""

from __future__ import annotations

import pytest

from clave_client.rooms.packed_state import pack_epoch, unpack_state
from clave_crypto.mls import GroupState, StateError, check_readable
from groupkit import form


def test_a_state_is_unpacked_as_it_was_packed() -> None:
    red, _ = form("red", "blue")
    state = red.group.state()
    packed = pack_epoch(state)
    assert unpack_state(packed, state.ratchets) == state
    assert packed.startswith(state.epoch)
    check_readable(packed[:16])
    for damaged in (packed[:-1], packed + b"\0", packed[:-40] + packed[-4:], b"", b"\0\3"):
        with pytest.raises(StateError):
            unpack_state(damaged, state.ratchets)


@pytest.mark.parametrize("version", [b"\0\1", b"\0\2"])
def test_what_earlier_versions_stored_is_taken_as_it_is(version: bytes) -> None:
    assert unpack_state(version + b"whole", b"ratchets") == GroupState(version + b"whole", b"ratchets")
