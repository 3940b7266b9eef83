from __future__ import annotations

import pytest

from clave_crypto.mls import pad_to_bucket
from clave_crypto.mls.padding import MIN_PADDED
from groupkit import form


@pytest.mark.parametrize("length", [0, 1, 63, 64, 180, 190, 200, 1000, 16_300, 16_384, 70_000])
@pytest.mark.parametrize("authenticated", [0, 45, 64])
def test_a_message_has_the_size_that_was_measured(length: int, authenticated: int) -> None:
    red, _ = form("red", "blue")
    data, bound = bytes(length), bytes(authenticated)
    before = red.group.state()
    size = red.group.measure(data, authenticated_data=bound)
    assert red.group.state() == before, "no key is used up"
    assert size.padded == pad_to_bucket(size.content) >= MIN_PADDED
    assert size.message == len(red.group.encrypt(data, authenticated_data=bound))
    bare = red.group.measure(data, authenticated_data=bound, padding=lambda _: 0)
    assert bare.padded == bare.content == size.content
    assert bare.message == len(red.group.encrypt(data, authenticated_data=bound, padding=lambda _: 0))
