# ruff: noqa: D401 - a rule's docstring says what must hold
"""Rules for joining by Welcome (RFC 9420, section 12.4.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.ratchet_tree import RatchetTree
    from clave_crypto.mls.suites import CipherSuite
    from clave_crypto.mls.welcome import GroupInfo

__all__ = [
    "check_group_info_signature",
    "check_signer",
    "check_suites_agree",
    "check_tree_given",
    "find_own_leaf",
]


@rule("welcome-suite", "12.4.3.1")
def check_suites_agree(key_package: int, welcome: int, group_info: int) -> None:
    """The key package, the Welcome and the group have the same cipher suite."""
    if not key_package == welcome == group_info:
        raise BrokenRuleError("the cipher suites of key package, Welcome and group differ")


@rule("welcome-tree-given", "12.4.3.3")
def check_tree_given(tree: bytes | None) -> bytes:
    """A joiner has the ratchet tree, from the Welcome or otherwise."""
    if tree is None:
        raise BrokenRuleError("the Welcome comes without the ratchet tree")
    return tree


@rule("group-info-signer", "12.4.3.1")
def check_signer(tree: RatchetTree, group_info: GroupInfo) -> LeafNode:
    """The signer of a GroupInfo is a member."""
    leaf = tree.leaf(group_info.signer)
    if leaf is None:
        raise BrokenRuleError("the signer of the group info is not a member")
    return leaf


@rule("group-info-signature", "12.4.3.1")
def check_group_info_signature(suite: CipherSuite, public: bytes, group_info: GroupInfo) -> None:
    """A GroupInfo is signed by its signer."""
    suite.verify_with_label(public, b"GroupInfoTBS", group_info.tbs(), group_info.signature)


@rule("welcome-own-leaf", "12.4.3.1")
def find_own_leaf(tree: RatchetTree, leaf: LeafNode) -> int:
    """The tree has the leaf of the joiner's key package."""
    for leaf_index, candidate in tree.leaves():
        if candidate == leaf:
            return leaf_index
    raise BrokenRuleError("the ratchet tree lacks the joiner's leaf")
