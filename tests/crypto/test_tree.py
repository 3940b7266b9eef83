"""Tree positions, the ratchet tree's own operations, and what they cost."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_crypto.mls import tree_math
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.ratchet_tree import ParentNode, RatchetTree
from clave_crypto.mls.suites import CipherSuite
from groupkit import SUITE, Party, form

POWERS = [2**exponent for exponent in range(8)]


def leaf(name: str) -> LeafNode:
    return Party(name).offer().key_package.leaf_node


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(POWERS), st.data())
def test_positions_agree_with_each_other(n_leaves: int, data: st.DataObject) -> None:
    node = data.draw(st.integers(0, tree_math.node_count(n_leaves) - 1))
    path = list(tree_math.direct_path(node, n_leaves))
    assert [tree_math.level(above) for above in path] == list(
        range(tree_math.level(node) + 1, tree_math.level(tree_math.root(n_leaves)) + 1)
    )
    assert len(tree_math.leaves_under(node)) == 2 ** tree_math.level(node)
    if path:
        above = tree_math.parent(node, n_leaves)
        children = {tree_math.left(above), tree_math.right(above)}
        assert children == {node, tree_math.sibling(node, n_leaves)}
    other = data.draw(st.integers(0, tree_math.node_count(n_leaves) - 1))
    common = tree_math.common_ancestor(node, other)
    assert common in [node, *path]
    assert common in [other, *tree_math.direct_path(other, n_leaves)]
    assert tree_math.common_ancestor(other, node) == common


def test_positions_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="root"):
        tree_math.parent(3, 4)
    for child in (tree_math.left, tree_math.right):
        with pytest.raises(ValueError, match="leaf"):
            child(2)


@pytest.mark.parametrize("seed", range(5))
def test_cached_hashes_equal_fresh_ones(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a history, not a secret
    tree = RatchetTree(SUITE, [leaf("first")])
    copies: list[tuple[RatchetTree, bytes, bytes]] = []
    for step in range(60):
        members = [index for index, _ in tree.leaves()]
        match dice.choice(["add", "add", "remove", "update", "parent"]):
            case "add":
                added = tree.add_leaf(leaf(f"m{step}"))
                assert added not in members
                assert set(range(added)) <= set(members)
            case "remove" if len(members) > 1:
                tree.remove_leaf(dice.choice(members))
            case "parent" if tree.n_leaves > 1:
                node = dice.randrange(1, 2 * tree.n_leaves - 1, 2)
                tree.set_node(node, ParentNode(bytes([step]) * 32, b"", ()))
            case _:
                tree.update_leaf(dice.choice(members), leaf(f"u{step}"))
        fresh = RatchetTree(SUITE, tree.contents().nodes)
        assert fresh.n_leaves == tree.n_leaves
        assert fresh.tree_hash() == tree.tree_hash()
        copies.append((tree.copy(), tree.tree_hash(), tree.encode()))
    for copy, digest, encoded in copies:
        assert (copy.tree_hash(), copy.encode()) == (digest, encoded)


def test_tree_shrinks_when_its_right_half_empties() -> None:
    tree = RatchetTree(SUITE, [leaf(f"m{number}") for number in range(1)])
    for number in range(1, 6):
        tree.add_leaf(leaf(f"m{number}"))
    assert tree.n_leaves == 8
    tree.remove_leaf(5)
    assert tree.n_leaves == 8
    tree.remove_leaf(4)
    assert tree.n_leaves == 4
    for number in (1, 2, 3):
        tree.remove_leaf(number)
    assert tree.n_leaves == 1


@dataclass(frozen=True, repr=False)
class CountingSuite(CipherSuite):
    """Counts the hashes it computes."""

    def hash(self, data: bytes) -> bytes:
        COUNT.append(len(data))
        return super().hash(data)


COUNT: list[int] = []


def counting_tree(n_leaves: int) -> RatchetTree:
    fields = {name: getattr(SUITE, name) for name in CipherSuite.__dataclass_fields__ if name != "_hpke"}
    shared = leaf("member")
    nodes = [
        shared if node % 2 == 0 else ParentNode(node.to_bytes(32, "big"), b"", ())
        for node in range(2 * n_leaves - 1)
    ]
    tree = RatchetTree(CountingSuite(**fields), nodes)
    tree.tree_hash()
    return tree


def test_hashing_after_a_change_is_logarithmic() -> None:
    counts = {}
    for n_leaves in (64, 1024):
        tree = counting_tree(n_leaves)
        successor = tree.copy()
        COUNT.clear()
        successor.update_leaf(n_leaves // 3, leaf("new"))
        successor.tree_hash()
        counts[n_leaves] = len(COUNT)
        assert tree.tree_hash() != successor.tree_hash()
    assert counts == {64: 7, 1024: 11}


def test_original_hash_leaves_out_who_came_later() -> None:
    parties = form("red", "blue", "green", "grey")
    tree = parties[0].group._epoch.tree
    before = tree.tree_hash()
    grown = tree.copy()
    late = grown.add_leaf(leaf("late"))
    parent = grown.parent_node(3)
    assert parent is not None
    assert grown.original_tree_hash(3, frozenset({late})) == tree.tree_hash(3) == before
    assert grown.original_tree_hash(grown.root, frozenset()) == grown.tree_hash()
