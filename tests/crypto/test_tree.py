"""Tree positions, the ratchet tree's own operations, and what they cost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_crypto.mls import ValidationError, tree_math
from clave_crypto.mls.census import Census
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.parent_hash import is_parent_hash_valid
from clave_crypto.mls.ratchet_tree import Node, ParentNode, RatchetTree
from clave_crypto.mls.rules.tree import check_unmerged_complete
from clave_crypto.mls.suites import CipherSuite
from groupkit import SUITE, Party, form

POWERS = [2**exponent for exponent in range(8)]


def leaf(name: str) -> LeafNode:
    return Party(name).offer().key_package.leaf_node


def test_no_peer_can_choose_capabilities_that_hash_alike() -> None:
    capabilities = leaf("red").capabilities
    values = tuple(getattr(capabilities, field.name) for field in fields(capabilities))
    assert hash(capabilities) == hash(capabilities.encode()) != hash(values)


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
    keys_seen: set[bytes] = set()
    for step in range(60):
        members = [index for index, _ in tree.leaves()]
        match dice.choice(["add", "add", "remove", "update", "parent"]):
            case "add":
                (added,) = tree.add_leaves([leaf(f"m{step}")])
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
        keys = {node.encryption_key for node in tree.contents().nodes if node is not None}
        keys_seen |= keys
        assert {key for key in keys_seen if tree.holds_key(key)} == keys
        for name in Census.__slots__:
            assert getattr(fresh.census, name) == getattr(tree.census, name)
        copies.append((tree.copy(), tree.tree_hash(), tree.encode()))
    for copy, digest, encoded in copies:
        assert (copy.tree_hash(), copy.encode()) == (digest, encoded)
        assert copy.census.members == len(list(copy.leaves()))


def test_tree_shrinks_when_its_right_half_empties() -> None:
    tree = RatchetTree(SUITE, [leaf(f"m{number}") for number in range(1)])
    for number in range(1, 6):
        tree.add_leaves([leaf(f"m{number}")])
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


def counting_tree(
    n_leaves: int, unmerged: Callable[[range], Iterable[int]] = lambda under: ()
) -> RatchetTree:
    """Return a tree without blanks; `unmerged` chooses from the leaves under a parent."""
    counting = CountingSuite(
        **{field.name: getattr(SUITE, field.name) for field in fields(SUITE) if field.init}
    )
    shared = leaf("member")
    nodes = [
        ParentNode(node.to_bytes(32, "big"), b"", tuple(unmerged(tree_math.leaves_under(node))))
        if node % 2
        else shared
        for node in range(tree_math.node_count(n_leaves))
    ]
    tree = RatchetTree(counting, nodes)
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


@pytest.mark.parametrize(
    "unmerged",
    [lambda under: under, lambda under: under[1:], lambda under: under[:-1], lambda under: under[::2]],
    ids=["all", "all but the first", "all but the last", "every other"],
)
def test_checking_a_hostile_tree_is_bounded(unmerged: Callable[[range], Iterable[int]]) -> None:
    for n_leaves in (64, 1024):
        tree = counting_tree(n_leaves, unmerged)
        levels = n_leaves.bit_length() - 1
        COUNT.clear()
        for node, parent in tree.parents():
            assert not is_parent_hash_valid(tree, node, parent)
        assert len(COUNT) <= 2 * n_leaves * levels


def scattered_tree(dice: random.Random) -> RatchetTree:
    """Return a tree with blanks and unmerged leaves anywhere, whether or not that can come about."""
    shared = leaf("member")

    def contents(node: int) -> Node | None:
        if node % 2 == 0:
            return dice.choice([None, shared, shared])
        under = tree_math.leaves_under(node)
        unmerged = tuple(sorted(dice.sample(under, dice.randrange(min(len(under), 3)))))
        return dice.choice([None, ParentNode(node.to_bytes(32, "big"), b"", unmerged)])

    return RatchetTree(SUITE, [contents(node) for node in range(31)])


@pytest.mark.parametrize("seed", range(20))
def test_resolution_is_as_defined(seed: int) -> None:
    tree = scattered_tree(random.Random(seed))  # noqa: S311 - a tree, not a secret

    def resolution(node: int) -> list[int]:
        if (parent := tree.parent_node(node)) is not None:
            return [node, *(2 * index for index in parent.unmerged_leaves)]
        if tree_math.is_leaf(node):
            return [node] if tree.node(node) else []
        return resolution(tree_math.left(node)) + resolution(tree_math.right(node))

    for node in range(31):
        assert tree.resolution(node) == resolution(node)
    for leaf_index in range(16):
        copath = {copath for _, copath in tree.filtered_direct_path(leaf_index)}
        for above in (2 * leaf_index, *tree_math.direct_path(2 * leaf_index, 16)):
            if above != tree.root:
                sibling = tree_math.sibling(above, 16)
                assert (sibling in copath) == bool(resolution(sibling))


def test_unmerged_leaves_are_complete_as_defined() -> None:
    refused = 0
    for seed in range(300):
        tree = scattered_tree(random.Random(seed))  # noqa: S311 - a tree, not a secret
        parents = dict(tree.parents())
        complete = all(
            index in parents[between].unmerged_leaves
            for node, parent in parents.items()
            for index in parent.unmerged_leaves
            for between in set(tree_math.direct_path(2 * index, 16)) & parents.keys()
            if tree_math.level(between) < tree_math.level(node)
        )
        if complete:
            check_unmerged_complete(tree)
        else:
            refused += 1
            with pytest.raises(ValidationError):
                check_unmerged_complete(tree)
    assert 0 < refused < 300


@pytest.mark.parametrize("seed", range(20))
def test_leaves_added_together_are_as_added_one_by_one(seed: int) -> None:
    before = scattered_tree(random.Random(seed))  # noqa: S311 - a tree, not a secret
    together, one_by_one = before.copy(), before.copy()
    newcomers = [leaf(f"m{number}") for number in range(12)]
    blanks = [index for index in range(before.n_leaves) if before.leaf(index) is None]
    added = together.add_leaves(newcomers)
    assert added == [one_by_one.add_leaves([newcomer])[0] for newcomer in newcomers]
    assert added == [*blanks, *range(16, 32)][:12]
    assert together.contents() == one_by_one.contents()
    for node, parent in before.parents():
        below = [index for index in added if index in tree_math.leaves_under(node)]
        grown = together.parent_node(node)
        assert grown is not None
        assert grown.unmerged_leaves == tuple(sorted([*parent.unmerged_leaves, *below]))
    assert together.tree_hash() == RatchetTree(SUITE, one_by_one.contents().nodes).tree_hash()
    assert together.add_leaves([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_tree_is_truncated_to_its_last_member(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a history, not a secret
    tree, shared = RatchetTree(SUITE, [leaf("first")]), leaf("member")
    for _ in range(200):
        members = {index for index, _ in tree.leaves()}
        if dice.random() < 0.5 and len(members) > 1:
            gone = dice.choice(sorted(members))
            tree = tree.copy()
            tree.remove_leaf(gone)
            assert tree.n_leaves == 1 << max(members - {gone}).bit_length()
        else:
            n_leaves = tree.n_leaves
            (added,) = tree.add_leaves([shared])
            assert added == min(set(range(n_leaves + 1)) - members)
            assert tree.n_leaves == (2 * n_leaves if added == n_leaves else n_leaves)


def test_original_hash_leaves_out_leaves_added_later() -> None:
    parties = form("red", "blue", "green", "grey")
    tree = parties[0].group._epoch.tree
    before = tree.tree_hash()
    grown = tree.copy()
    (late,) = grown.add_leaves([leaf("late")])
    parent = grown.parent_node(3)
    assert parent is not None
    assert grown.original_tree_hash(3, frozenset({late})) == tree.tree_hash(3) == before
    assert grown.original_tree_hash(grown.root, frozenset()) == grown.tree_hash()
