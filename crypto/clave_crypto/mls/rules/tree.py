"""Rules for a whole ratchet tree as a joiner receives it (RFC 9420, sections 7.1, 7.9.2, 12.4.3)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clave_crypto.mls import tree_math
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.parent_hash import is_parent_hash_valid
from clave_crypto.mls.ratchet_tree import Node, RatchetTree
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.codec import Struct

__all__ = ["check_tree", "check_tree_hash", "check_tree_shape", "leaf_source"]


def check_tree(tree: RatchetTree) -> None:
    """Check the parents of a tree; its leaves have rules of their own."""
    check_parent_keys(tree)
    check_parent_keys_unique(tree)
    check_unmerged_sorted(tree)
    check_unmerged_leaves(tree)
    check_unmerged_complete(tree)
    check_parent_hashes(tree)


def leaf_source(leaf: LeafNode) -> type[Struct]:
    """Return the source of a leaf in a tree, where any is allowed."""
    return type(leaf.source)


@rule("tree-shape", "12.4.3.3")
def check_tree_shape(nodes: Sequence[Node | None]) -> None:
    """A received tree ends with a node, and has leaves at even and parents at odd positions."""
    if not nodes or nodes[-1] is None:
        raise BrokenRuleError("the ratchet tree does not end with a node")
    for index, node in enumerate(nodes):
        if node is not None and isinstance(node, LeafNode) != tree_math.is_leaf(index):
            raise BrokenRuleError("a leaf stands where a parent should, or the reverse")


@rule("tree-hash", "12.4.3.1")
def check_tree_hash(tree: RatchetTree, expected: bytes) -> None:
    """A tree has the tree hash of the group context."""
    if tree.tree_hash() != expected:
        raise BrokenRuleError("the ratchet tree does not have the group's tree hash")


@rule("tree-parent-keys", "5.1")
def check_parent_keys(tree: RatchetTree) -> None:
    """Every parent's key is fit for use."""
    for _, parent in tree.parents():
        tree.suite.kem.check_public(parent.encryption_key)


@rule("tree-parent-keys-unique", "12.4.3.1")
def check_parent_keys_unique(tree: RatchetTree) -> None:
    """No parent's key appears in any other node."""
    parents = [parent.encryption_key for _, parent in tree.parents()]
    leaves = {leaf.encryption_key for _, leaf in tree.leaves()}
    if len(set(parents)) != len(parents) or not leaves.isdisjoint(parents):
        raise BrokenRuleError("a parent's key appears in another node")


@rule("tree-unmerged-sorted", "7.1")
def check_unmerged_sorted(tree: RatchetTree) -> None:
    """Unmerged leaves are listed in increasing order."""
    for _, parent in tree.parents():
        if list(parent.unmerged_leaves) != sorted(set(parent.unmerged_leaves)):
            raise BrokenRuleError("unmerged leaves are not in order")


@rule("tree-unmerged-leaves", "12.4.3.1")
def check_unmerged_leaves(tree: RatchetTree) -> None:
    """An unmerged leaf is a member under its parent."""
    for node, parent in tree.parents():
        under = tree_math.leaves_under(node)
        if any(index not in under or tree.leaf(index) is None for index in parent.unmerged_leaves):
            raise BrokenRuleError("an unmerged leaf is not a member under its parent")


@rule("tree-unmerged-complete", "12.4.3.1")
def check_unmerged_complete(tree: RatchetTree) -> None:
    """A leaf unmerged at a parent is unmerged at every parent between them."""
    # Comparing each parent with the nearest one above it is enough; unmerged leaves are sorted.
    for node, parent in tree.parents():
        ancestors = map(tree.parent_node, tree_math.direct_path(node, tree.n_leaves))
        above = next(filter(None, ancestors), None)
        if above is not None:
            under, listed = tree_math.leaves_under(node), above.unmerged_leaves
            inherited = listed[bisect_left(listed, under.start) : bisect_left(listed, under.stop)]
            if not set(inherited) <= set(parent.unmerged_leaves):
                raise BrokenRuleError("a leaf is unmerged above a parent where it is merged")


@rule("tree-parent-hash", "7.9.2")
def check_parent_hashes(tree: RatchetTree) -> None:
    """Every parent is parent-hash valid."""
    for node, parent in tree.parents():
        if not is_parent_hash_valid(tree, node, parent):
            raise BrokenRuleError(f"the parent hash of node {node} is carried by no member below it")
