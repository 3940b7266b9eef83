"""Message keys: used once, in any order, deleted after use, bounded in number when skipped."""

from __future__ import annotations

import itertools
import random

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import ReplayError, TooFarAheadError
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.secret_tree import FoundKey, SecretTree, StoredSecretTree
from groupkit import SUITE

ROOT = Secret(bytes(range(32)))
APPLICATION, HANDSHAKE = ContentType.APPLICATION, ContentType.COMMIT


def new_tree(n_leaves: int = 8) -> SecretTree:
    return SecretTree(SUITE, n_leaves, ROOT)


def take(tree: SecretTree, leaf_index: int, generation: int, kind: ContentType = APPLICATION) -> FoundKey:
    found = tree.find(leaf_index, kind, generation)
    tree.consume(found)
    return found


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_gives_the_same_keys(order: tuple[int, ...]) -> None:
    expected = [take(new_tree(), 5, generation).key for generation in range(4)]
    tree = new_tree()
    for generation in order:
        tree = SecretTree.restore(SUITE, StoredSecretTree.decode(tree.store().encode()), DEFAULT_LIMITS)
        assert take(tree, 5, generation).key == expected[generation]
        with pytest.raises(ReplayError):
            tree.find(5, APPLICATION, generation)


def test_finding_changes_nothing() -> None:
    tree = new_tree()
    take(tree, 0, 2)
    before = tree.store()
    for leaf_index, generation in ((0, 0), (0, 9), (3, 0), (3, 7)):
        tree.find(leaf_index, APPLICATION, generation)
        tree.find(leaf_index, ContentType.COMMIT, 0)
    assert tree.store() == before


def test_all_keys_differ() -> None:
    tree = new_tree()
    keys = [
        (found.key, found.nonce)
        for leaf_index in range(8)
        for kind in (APPLICATION, ContentType.COMMIT)
        for found in (take(tree, leaf_index, generation, kind) for generation in range(3))
    ]
    assert len(set(keys)) == len(keys)


def test_handshake_messages_share_a_ratchet() -> None:
    tree = new_tree()
    take(tree, 1, 0, ContentType.PROPOSAL)
    with pytest.raises(ReplayError):
        tree.find(1, ContentType.COMMIT, 0)
    assert tree.find_next(1, ContentType.COMMIT).generation == 1
    assert tree.find_next(1, APPLICATION).generation == 0


def test_a_used_key_and_what_it_came_from_are_deleted() -> None:
    tree = new_tree()
    found = take(tree, 3, 0)
    stored = tree.store().encode()
    for secret in (ROOT, found.key, found.nonce):
        assert bytes(secret) not in stored
    assert {item.node for item in tree.store().nodes} == {1, 4, 11}


@pytest.mark.parametrize("n_leaves", [1, 2, 64])
def test_every_leaf_has_keys_in_any_order_of_use(n_leaves: int) -> None:
    for first in {0, n_leaves - 1}:
        tree = new_tree(n_leaves)
        take(tree, first, 0)
        for leaf_index in range(n_leaves):
            if leaf_index != first:
                assert take(tree, leaf_index, 0).key == take(new_tree(n_leaves), leaf_index, 0).key


def test_skip_is_bounded() -> None:
    tree = new_tree()
    with pytest.raises(TooFarAheadError):
        tree.find(0, APPLICATION, DEFAULT_LIMITS.skip + 1)
    with pytest.raises(TooFarAheadError):
        tree.find(0, APPLICATION, 2**32 - 1)
    take(tree, 0, DEFAULT_LIMITS.skip)
    with pytest.raises(TooFarAheadError):
        tree.find(0, APPLICATION, 2 * DEFAULT_LIMITS.skip + 2)


def test_stored_keys_are_bounded_and_the_oldest_of_the_longest_go() -> None:
    tree = new_tree()
    take(tree, 1, 10)
    for jump in range(1, 6):
        take(tree, 0, jump * DEFAULT_LIMITS.skip)
    kept = sum(len(ratchet.skipped) for ratchet in tree.store().ratchets)
    assert kept == DEFAULT_LIMITS.stored_keys
    with pytest.raises(ReplayError):
        tree.find(0, APPLICATION, 0)
    assert take(tree, 1, 0).key
    assert take(tree, 0, 5 * DEFAULT_LIMITS.skip - 1).key


@pytest.mark.parametrize("seed", range(5))
def test_each_key_that_must_go_is_the_oldest_of_the_longest(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a history, not a secret
    tree = SecretTree(SUITE, 4, ROOT, Limits(skip=20, stored_keys=25))
    ahead = dict.fromkeys(range(4), 0)
    kept: dict[int, list[int]] = {}
    for _ in range(60):
        leaf_index = dice.randrange(4)
        if kept.get(leaf_index) and dice.random() < 0.3:
            generation = dice.choice(kept[leaf_index])
            kept[leaf_index].remove(generation)
        else:
            generation = ahead[leaf_index] + dice.randrange(20)
            kept.setdefault(leaf_index, []).extend(range(ahead[leaf_index], generation))
            ahead[leaf_index] = generation + 1
        take(tree, leaf_index, generation)
        while sum(map(len, kept.values())) > 25:
            del max(kept.values(), key=len)[0]
        assert {
            ratchet.leaf_index: [key.generation for key in ratchet.skipped]
            for ratchet in tree.store().ratchets
            if ratchet.skipped
        } == {index: generations for index, generations in kept.items() if generations}


def test_retired_tree_has_keys_for_late_data_only() -> None:
    tree, other = new_tree(), new_tree()
    expected = [other.find(leaf, APPLICATION, generation) for leaf, generation in ((5, 0), (1, 2))]
    take(tree, 1, 0)
    tree.consume(tree.find_next(1, HANDSHAKE))
    tree.retire(3)
    stored = tree.store()
    assert {(item.leaf_index, item.kind) for item in stored.ratchets} == {(1, 1)}
    again = SecretTree.restore(SUITE, stored, DEFAULT_LIMITS)
    again.retire(3)
    assert again.store() == stored
    for late in (tree, again):
        with pytest.raises(ReplayError):
            late.find(3, APPLICATION, 0)
        assert take(late, 5, 0).key == expected[0].key
        assert take(late, 1, 2).key == expected[1].key
        with pytest.raises(ReplayError):
            late.find(5, HANDSHAKE, 0)
