"""Rules for update paths (RFC 9420, sections 7.5, 7.6 and 12.4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clave_crypto.mls.leaf_node import CommitSource
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.ratchet_tree import ParentNode, RatchetTree
    from clave_crypto.mls.suites import CipherSuite
    from clave_crypto.mls.update_path import UpdatePath

__all__ = [
    "check_encryption_key_fresh",
    "check_path_ciphertexts",
    "check_path_keys_fit",
    "check_path_keys_match",
    "check_path_keys_unique",
    "check_path_length",
    "check_path_parent_hash",
    "check_path_secret_reachable",
]


@rule("encryption-key-fresh", "7.3")
def check_encryption_key_fresh(old: LeafNode, new: LeafNode) -> None:
    """A leaf that replaces another has a different encryption key."""
    if old.encryption_key == new.encryption_key:
        raise BrokenRuleError("the new leaf node has the old encryption key")


@rule("path-keys-fit", "5.1")
def check_path_keys_fit(suite: CipherSuite, path: UpdatePath) -> None:
    """Every key in a path is fit for use."""
    for node in path.nodes:
        suite.kem.check_public(node.encryption_key)


@rule("path-keys-unique", "12.4.2")
def check_path_keys_unique(tree: RatchetTree, path: UpdatePath) -> None:
    """No key in a path appears in the tree it is merged into, nor twice in the path."""
    fresh = [path.leaf_node.encryption_key, *(node.encryption_key for node in path.nodes)]
    if len(set(fresh)) != len(fresh) or any(map(tree.holds_key, fresh)):
        raise BrokenRuleError("a key of the path is already in the tree")


@rule("path-length", "7.5")
def check_path_length(path: UpdatePath, expected: int) -> None:
    """A path has as many nodes as the sender's filtered direct path."""
    if len(path.nodes) != expected:
        raise BrokenRuleError(f"the path has {len(path.nodes)} nodes and needs {expected}")


@rule("path-ciphertexts", "7.6")
def check_path_ciphertexts(path: UpdatePath, expected: Sequence[int]) -> None:
    """Each node of a path carries one ciphertext for each node of its copath's resolution."""
    if [len(node.encrypted_path_secret) for node in path.nodes] != list(expected):
        raise BrokenRuleError("a node of the path has too few or too many ciphertexts")


@rule("path-parent-hash", "7.9.2")
def check_path_parent_hash(path: UpdatePath, expected: bytes) -> None:
    """The leaf of a path carries the parent hash of the path."""
    source = path.leaf_node.source
    if not isinstance(source, CommitSource) or source.parent_hash != expected:
        raise BrokenRuleError("the leaf node's parent hash is not that of its path")


@rule("path-secret-reachable", "7.5")
def check_path_secret_reachable(positions: Sequence[int]) -> int:
    """A path has a secret encrypted to a key that this member holds."""
    if not positions:
        raise BrokenRuleError("the path has no secret for this member")
    return positions[0]


@rule("path-keys-match", "7.5")
def check_path_keys_match(parent: ParentNode | None, derived: bytes) -> None:
    """The keys derived from a path secret are those in the tree."""
    if parent is None or parent.encryption_key != derived:
        raise BrokenRuleError("a key in the tree is not the one its path secret gives")
