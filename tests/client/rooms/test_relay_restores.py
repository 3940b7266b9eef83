"""How far the logs of two incarnations of a relay are one."""

from __future__ import annotations

import pytest

from clave_client.errors import StoreDamaged
from clave_client.rooms.relay_restores import common_log_end, decode_restores, encode_restores

A, B, C, D = (letter * 16 for letter in (b"a", b"b", b"c", b"d"))


@pytest.mark.parametrize(
    ("former", "before", "present", "now", "shared"),
    [
        (A, [], B, [(A, 5)], 5),
        (A, [], C, [(A, 5), (B, 9)], 5),
        (B, [(A, 5)], C, [(A, 5), (B, 9)], 9),
        (B, [(A, 5)], C, [(A, 5)], 5),
        (B, [(A, 5)], C, [(A, 3)], 3),
        (B, [(A, 5)], A, [], 5),
        (D, [(A, 5), (B, 9)], C, [(A, 5), (B, 7)], 7),
        (A, [], B, [], 0),
        (C, None, D, [(A, 3), (B, 5)], 5),
        (A, None, D, [(A, 3), (B, 5)], 3),
        (A, None, B, [], 0),
        (A, [], C, [(B, 4)], 0),
    ],
)
def test_two_logs_agree_up_to_the_last_common_restore(
    former: bytes,
    before: list[tuple[bytes, int]] | None,
    present: bytes,
    now: list[tuple[bytes, int]],
    shared: int,
) -> None:
    assert common_log_end(former, before, present, now) == shared


def test_restores_are_decoded_as_encoded_or_refused() -> None:
    restores = [(A, 5), (B, 2**53 - 1)]
    assert decode_restores(encode_restores(restores)) == restores
    with pytest.raises(StoreDamaged, match="restore a backup"):
        decode_restores(b"\x93")
