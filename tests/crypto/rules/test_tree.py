"""Ratchet trees that no sequence of commits could have made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clave_crypto.mls import Add, MalformedError, Remove
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.rules import tree as tree_rules
from forgekit import Forger, key_pair
from groupkit import NOW, Party, form
from rulekit import breaks, proves


def grown() -> tuple[RatchetTree, Party, Forger]:
    """Return a tree of eight members whose parents several of them set, leaf 7 unmerged at node 11.

    With it, who was added there, and who forges their Welcome.
    """
    parties = form(*(f"p{number}" for number in range(8)))
    parties[0].commits([Remove(7)], to=parties[1:7])
    parties[4].commits(to=[*parties[:4], *parties[5:7]])
    late = Party("late")
    bundle = late.offer()
    pending = parties[0].group.commit([Add(bundle.key_package)], now=NOW)
    forger = Forger(parties[0], bundle, pending.welcome or b"")
    parent = forger.tree.parent_node(11)
    assert parent is not None
    assert parent.unmerged_leaves == (7,)
    return forger.tree, late, forger


BAD_PARENTS: list[tuple[str, int, dict[str, Any]]] = [
    ("tree-parent-keys", 3, {"encryption_key": bytes(32)}),
    ("tree-unmerged-sorted", 3, {"unmerged_leaves": (1, 0)}),
    ("tree-unmerged-sorted", 3, {"unmerged_leaves": (1, 1)}),
    ("tree-unmerged-leaves", 3, {"unmerged_leaves": (7,)}),
    ("tree-unmerged-complete", 7, {"unmerged_leaves": (6,)}),
    ("tree-parent-hash", 3, {"encryption_key": key_pair()}),
    ("tree-parent-hash", 1, {"parent_hash": bytes(32)}),
    ("tree-parent-hash", 11, {"unmerged_leaves": ()}),
]


@proves(*(rule_id for rule_id, _, _ in BAD_PARENTS))
@pytest.mark.parametrize(("rule_id", "node", "changes"), BAD_PARENTS)
def test_bad_parent(rule_id: str, node: int, changes: dict[str, Any]) -> None:
    good, late, forger = grown()
    tree_rules.check_tree(good)
    with breaks(rule_id):
        late.join(forger.welcome_with(tree=forger.tree_with(node, **changes)))


@proves("tree-parent-keys-unique")
@pytest.mark.parametrize("twin", [0, 1, 7])
def test_parent_with_another_nodes_key(twin: int) -> None:
    good, late, forger = grown()
    other = good.node(twin)
    assert other is not None
    tree = forger.tree_with(3, encryption_key=other.encryption_key)
    with breaks("tree-parent-keys-unique"):
        late.join(forger.welcome_with(tree=tree))
    tree.set_node(3, good.node(3))
    assert tree.holds_key(other.encryption_key)


@proves("tree-unmerged-leaves")
def test_unmerged_leaf_that_is_blank() -> None:
    _, late, forger = grown()
    forger.tree.set_node(14, None)
    with breaks("tree-unmerged-leaves"):
        late.join(forger.welcome_with(tree=forger.tree))


SHAPES: list[Callable[[tuple[Any, ...]], tuple[Any, ...]]] = [
    lambda nodes: (),
    lambda nodes: (*nodes, None),
    lambda nodes: (nodes[1], *nodes[1:]),
    lambda nodes: (nodes[0], nodes[0]),
    lambda nodes: (nodes[1], nodes[0], *nodes[2:]),
]


@proves("tree-shape")
@pytest.mark.parametrize("shape", SHAPES)
def test_list_of_nodes_that_is_no_tree(shape: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
    good, late, forger = grown()
    with breaks("tree-shape"):
        late.join(forger.welcome_with(tree=TreeNodes(shape(good.contents().nodes)).encode()))


@proves("tree-hash")
def test_tree_without_the_groups_tree_hash() -> None:
    _, late, forger = grown()
    with breaks("tree-hash"):
        late.join(forger.welcome_with(context={"tree_hash": bytes(32)}))


def test_tree_that_is_not_one() -> None:
    _, late, forger = grown()
    for encoded in (b"nonsense", forger.tree.encode() + b"\0", b""):
        with pytest.raises(MalformedError):
            late.join(forger.welcome_with(tree=encoded))
    late.join(forger.welcome_with())
    assert late.group.own_leaf == 7
