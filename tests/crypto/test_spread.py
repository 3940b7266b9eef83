"""What is done for each member is done in batches, and on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from clave_crypto.mls import Add, ValidationError
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.spread import apply_spread
from groupkit import Party, assert_agree

_T = TypeVar("_T")
_R = TypeVar("_R")


def crowd(size: int) -> tuple[Party, Party, bytes]:
    """Return a founder, somebody it welcomes among `size` members, and the Welcome."""
    red, blue = Party("red"), Party("blue")
    red.create()
    others = [Party(f"member {number}") for number in range(size - 2)]
    pending = red.commits([Add(one.offer().key_package) for one in (*others, blue)])
    assert pending.welcome is not None
    return red, blue, pending.welcome


class Counting:
    """A `Spread` that counts its batches."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        for item in items:
            self.batches += 1
            yield function(item)


def test_each_item_is_in_one_batch() -> None:
    counting = Counting()
    assert apply_spread(counting, str, range(70)) == [str(number) for number in range(70)]
    assert counting.batches > 1
    assert apply_spread(counting, str, []) == []


def test_joining_and_committing_are_spread() -> None:
    red, blue, welcome = crowd(70)
    joining, committing, adding = Counting(), Counting(), Counting()
    blue.join(welcome, spread=joining)
    assert_agree([red, blue])
    blue.sees(red.commits([], spread=committing).message)
    newcomers = [Party(f"newcomer {number}") for number in range(70)]
    pending = red.commits([Add(one.offer().key_package) for one in newcomers], spread=adding)
    blue.sees(pending.message)
    for one in newcomers:
        one.join(pending.welcome)
    assert_agree([red, blue, *newcomers])
    assert min(joining.batches, committing.batches) > 1
    assert adding.batches > 2, "the path and the Welcome"


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
