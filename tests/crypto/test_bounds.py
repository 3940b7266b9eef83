"""The cost of many proposals, members and keys, counted in visits and calls: a peer causes little work."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_crypto.keys import Secret
from clave_crypto.mls import Extension, Limits, PolicyRejected, Remove, RequiredCapabilities
from clave_crypto.mls.applying import Applied
from clave_crypto.mls.census import Census
from clave_crypto.mls.extensions import ExtensionType
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.ratchet_tree import Node, ParentNode, RatchetTree
from clave_crypto.mls.rules import leaf as leaf_rules
from clave_crypto.mls.rules.proposal import Sent
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.selecting import select
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.state import PendingProposal
from groupkit import SUITE, Party

LEAF = Party("member").offer().key_package.leaf_node
APPLICATION = ContentType.APPLICATION


def distinct(number: int) -> LeafNode:
    key = number.to_bytes(32, "big")
    return replace(LEAF, signature_key=key, encryption_key=key)


# Choosing among pending proposals


class Judge:
    """Refuses proposals that are bad beside one another, and counts how often it is asked."""

    def __init__(self, conflicts: set[tuple[int, int]]) -> None:
        self.conflicts = conflicts
        self.asked = 0
        self.nothing = Applied(RatchetTree(SUITE, [LEAF]), (), 0, (), (), (), ())

    def __call__(self, sent: Sequence[Sent]) -> Applied:
        self.asked += 1
        removed = {proposal.removed for _, proposal in sent if isinstance(proposal, Remove)}
        if any(removed.issuperset(conflict) for conflict in self.conflicts):
            raise PolicyRejected("these do not go together")
        return replace(self.nothing, removed=tuple(removed))


def choose(n: int, conflicts: set[tuple[int, int]]) -> tuple[list[int], int]:
    """Return who is removed when all of `n` are to be, and the number of checks that took."""
    pending = {bytes([i >> 8, i & 255]): PendingProposal(MemberSender(0), Remove(i), None) for i in range(n)}
    judge = Judge(conflicts)
    selection = select(MemberSender(0), [], pending, judge)
    chosen = [proposal.removed for _, proposal in selection.sent if isinstance(proposal, Remove)]
    assert set(selection.applied.removed) == set(chosen)
    assert len(selection.named) == len(chosen)
    return chosen, judge.asked


@settings(derandomize=True, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30))
def test_conflict_drops_the_less_preferred_proposal(conflicts: set[tuple[int, int]]) -> None:
    expected: list[int] = []
    for one in range(41):
        if not any({*expected, one}.issuperset(conflict) and one in conflict for conflict in conflicts):
            expected.append(one)
    chosen, _ = choose(41, conflicts)
    assert chosen == expected


@pytest.mark.parametrize("bad", [0, 1, 3, 10])
def test_each_conflict_costs_a_logarithmic_number_of_checks(bad: int) -> None:
    n = 1024
    dice = random.Random(bad)  # noqa: S311 - a history, not a secret
    chosen, asked = choose(n, {(one, one) for one in dice.sample(range(n), bad)})
    assert len(chosen) == n - bad
    assert asked <= 2 + 2 * bad * n.bit_length()


def test_no_pending_proposals_take_one_check() -> None:
    assert choose(0, set()) == ([], 1)


# Leaves that come and go


class CountedNodes(list[Node | None]):
    """The nodes of a tree, counting those looked at and the unmerged leaves written down."""

    seen = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.seen += len(found) if isinstance(index, slice) else 1
        return found

    def __setitem__(self, index: Any, contents: Any) -> None:
        self.seen += len(contents.unmerged_leaves) if isinstance(contents, ParentNode) else 1
        super().__setitem__(index, contents)

    def __iter__(self) -> Iterator[Node | None]:
        self.seen += len(self)
        return super().__iter__()


def counted(nodes: Sequence[Node | None]) -> tuple[RatchetTree, CountedNodes]:
    tree = RatchetTree(SUITE, nodes)
    tree._nodes = counted_nodes = CountedNodes(tree._nodes)
    return tree, counted_nodes


def test_many_removes_visit_few_nodes() -> None:
    n = 1024
    tree, nodes = counted([None if node % 2 else distinct(node) for node in range(2 * n - 1)])
    for leaf_index in range(1, n - 1):
        tree.remove_leaf(leaf_index)
    assert tree.n_leaves == n
    tree.remove_leaf(n - 1)
    assert tree.n_leaves == 1
    assert nodes.seen <= 8 * n * n.bit_length()


def test_many_adds_visit_few_nodes_and_write_each_unmerged_leaf_once() -> None:
    n = 1024
    sparse: list[Node | None] = [
        ParentNode(node.to_bytes(32, "big"), b"", ()) if node % 2 else None for node in range(2 * n - 1)
    ]
    sparse[0], sparse[-1] = distinct(0), distinct(2 * n)
    tree, nodes = counted(sparse)
    assert tree.add_leaves(map(distinct, range(3 * n, 4 * n))) == [*range(1, n - 1), n, n + 1]
    assert tree.n_leaves == 2 * n
    assert nodes.seen <= 8 * n * n.bit_length()
    root = tree.parent_node(n - 1)
    assert root is not None
    assert root.unmerged_leaves == tuple(range(1, n - 1))


# Keys that were skipped


class CountedRatchets(dict[tuple[int, int], Any]):
    """Ratchets by their id, counting those looked at."""

    seen = 0

    def values(self) -> Any:
        for value in super().values():
            self.seen += 1
            yield value


def test_dropping_many_keys_visits_each_ratchet_once() -> None:
    tree = SecretTree(SUITE, 256, Secret(bytes(32)), Limits(skip=100, stored_keys=200))
    for leaf_index in range(256):
        tree.consume(tree.find(leaf_index, APPLICATION, 0))
    for generation in (101, 202):
        tree.consume(tree.find(0, APPLICATION, generation))
    tree._ratchets = ratchets = CountedRatchets(tree._ratchets)
    tree.consume(tree.find(0, APPLICATION, 303))
    assert sum(len(ratchet.skipped) for ratchet in tree.store().ratchets) == 200
    assert ratchets.seen <= 2 * len(ratchets)


# What members support


class CountedTypes(tuple[int, ...]):
    """Types that are required, counting those looked at."""

    __slots__ = ()
    seen = 0

    def __iter__(self) -> Iterator[int]:
        CountedTypes.seen += len(self)
        return super().__iter__()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        CountedTypes.seen += 1
        return super().__getitem__(index)


def test_required_types_are_checked_once_for_any_number_of_kinds_of_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode = leaf_rules._required_capabilities

    def counting(extensions: Sequence[Extension]) -> RequiredCapabilities:
        required = decode(extensions)
        return RequiredCapabilities(
            CountedTypes(required.extension_types),
            CountedTypes(required.proposal_types),
            CountedTypes(required.credential_types),
        )

    monkeypatch.setattr(leaf_rules, "_required_capabilities", counting)
    types = (1,) * 1000
    required = Extension(
        ExtensionType.REQUIRED_CAPABILITIES, RequiredCapabilities(types, types, types).encode()
    )
    looks = []
    for kinds in (1, 100):
        CountedTypes.seen = 0
        leaf_rules.check_leaves_fit_group(
            Census(
                replace(LEAF, capabilities=replace(LEAF.capabilities, extensions=(0xF000 + kind,)))
                for kind in range(kinds)
            ),
            [required],
        )
        looks.append(CountedTypes.seen)
    assert looks[0] == looks[1] > 0
