"""Checks of leaves when joining, in batches and on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from clave_crypto.mls import Add, ValidationError
from clave_crypto.mls.joining import LeavesOfTree
from clave_crypto.mls.ratchet_tree import RatchetTree
from groupkit import Party, assert_agree


def crowd(size: int) -> tuple[Party, Party, bytes]:
    """Return a founder, somebody it welcomes among `size` members, and the Welcome."""
    red, blue = Party("red"), Party("blue")
    red.create()
    others = [Party(f"member {number}") for number in range(size - 2)]
    pending = red.commits([Add(one.offer().key_package) for one in (*others, blue)])
    assert pending.welcome is not None
    return red, blue, pending.welcome


def test_every_leaf_is_in_one_batch() -> None:
    red, blue, welcome = crowd(70)
    batches: list[list[int]] = []

    def spread(check: Callable[[LeavesOfTree], None], parts: Iterable[LeavesOfTree]) -> Iterable[None]:
        for part in parts:
            batches.append([leaf_index for leaf_index, _ in part])
            check(part)
            yield

    blue.join(welcome, spread=spread)
    assert_agree([red, blue])
    assert [leaf_index for batch in batches for leaf_index in batch] == list(range(70))
    assert len(batches) > 1


@pytest.mark.parametrize("position", [0, 35, 69])
def test_bad_leaf_is_refused_from_any_thread(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, blue, welcome = crowd(70)
    original = RatchetTree.leaves

    def leaves(self: RatchetTree) -> Any:
        for leaf_index, leaf in original(self):
            bad = replace(leaf, signature=bytes(64))
            yield leaf_index, bad if leaf_index == position else leaf

    with ThreadPoolExecutor(2) as pool:
        blue.join(welcome, spread=pool.map)
        monkeypatch.setattr(RatchetTree, "leaves", leaves)
        with pytest.raises(ValidationError, match="leaf-signature"):
            blue.join(welcome, spread=pool.map)
