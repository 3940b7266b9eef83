"""TreeKEM: making, encrypting, merging and opening a committer's new path (RFC 9420, sections 7.4 to 7.6).

Changes the tree it is given and reads private keys; keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.parent_hash import parent_hash
from clave_crypto.mls.ratchet_tree import ParentNode, RatchetTree
from clave_crypto.mls.rules.path import check_path_keys_match, check_path_secret_reachable
from clave_crypto.mls.spread import Spread, apply_spread
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath, UpdatePathNode

__all__ = [
    "NewPath",
    "create_path",
    "derive_path_keys",
    "encrypt_path",
    "merge_path",
    "open_path",
    "recipient_counts",
]

_PATH_LABEL = b"UpdatePathNode"


@dataclass(frozen=True)
class NewPath:
    """A path just made: private keys by node index, path secrets by parent, and the commit secret."""

    leaf_node: LeafNode
    filtered_path: tuple[tuple[int, int], ...]
    private_keys: dict[int, Secret]
    path_secrets: dict[int, Secret]
    commit_secret: Secret


def create_path(
    tree: RatchetTree,
    leaf_index: int,
    make_leaf: Callable[[bytes, bytes], LeafNode],
    *,
    random: RandomBytes,
) -> NewPath:
    """Put new keys on a leaf's direct path in `tree`; `make_leaf(key, parent hash)` signs the new leaf."""
    suite = tree.suite
    filtered = tuple(tree.filtered_direct_path(leaf_index))
    path_secret = Secret(random(suite.hash_size))
    private_keys: dict[int, Secret] = {}
    path_secrets: dict[int, Secret] = {}
    public_keys: list[bytes] = []
    for node, _ in filtered:
        path_secrets[node] = path_secret
        private_keys[node], public = _node_key_pair(suite, path_secret)
        public_keys.append(public)
        path_secret = suite.derive_secret(path_secret, b"path")
    leaf_parent_hash = _set_path(tree, leaf_index, filtered, public_keys)
    private_keys[2 * leaf_index], encryption_key = suite.kem.derive_key_pair(random(suite.hash_size))
    leaf_node = make_leaf(encryption_key, leaf_parent_hash)
    tree.set_node(2 * leaf_index, leaf_node)
    return NewPath(leaf_node, filtered, private_keys, path_secrets, path_secret)


def encrypt_path(
    tree: RatchetTree, path: NewPath, group_context: bytes, added: frozenset[int], spread: Spread
) -> UpdatePath:
    """Encrypt the path secrets to all other members except the leaves (by index) that the commit adds."""
    suite = tree.suite
    to_seal: list[tuple[bytes, Secret]] = []
    counts = []
    for node, copath in path.filtered_path:
        recipients = _recipients(tree, copath, added)
        counts.append(len(recipients))
        to_seal += ((_encryption_key(tree, each), path.path_secrets[node]) for each in recipients)

    def seal(one: tuple[bytes, Secret]) -> HPKECiphertext:
        public, path_secret = one
        return HPKECiphertext(*suite.encrypt_with_label(public, _PATH_LABEL, group_context, path_secret))

    sealed = iter(apply_spread(spread, seal, to_seal))
    nodes = (
        UpdatePathNode(_encryption_key(tree, node), tuple(islice(sealed, count)))
        for (node, _), count in zip(path.filtered_path, counts, strict=True)
    )
    return UpdatePath(path.leaf_node, tuple(nodes))


def merge_path(tree: RatchetTree, leaf_index: int, path: UpdatePath) -> bytes:
    """Put a received path into `tree`; return the parent hash its leaf must carry (section 7.5).

    The caller has checked that the path has as many nodes as the filtered direct path.
    """
    filtered = tree.filtered_direct_path(leaf_index)
    expected = _set_path(tree, leaf_index, filtered, [node.encryption_key for node in path.nodes])
    tree.set_node(2 * leaf_index, path.leaf_node)
    return expected


def open_path(
    tree: RatchetTree,
    leaf_index: int,
    path: UpdatePath,
    *,
    own_leaf: int,
    private_keys: Mapping[int, Secret],
    group_context: bytes,
    added: frozenset[int],
) -> tuple[dict[int, Secret], Secret]:
    """Return the private keys by node index that a merged path gives to `own_leaf`, and the commit secret.

    Raises:
        ValidationError: no ciphertext is for a key of this member, or a derived key is not the one sent.
        DecryptionError: the ciphertext does not decrypt.

    """
    suite = tree.suite
    filtered = tree.filtered_direct_path(leaf_index)
    common = tree_math.common_ancestor(2 * leaf_index, 2 * own_leaf)
    position = next(i for i, (node, _) in enumerate(filtered) if node == common)
    recipients = _recipients(tree, filtered[position][1], added)
    mine = check_path_secret_reachable([i for i, node in enumerate(recipients) if node in private_keys])
    sealed = path.nodes[position].encrypted_path_secret[mine]
    path_secret = suite.decrypt_with_label(
        private_keys[recipients[mine]], _PATH_LABEL, group_context, sealed.kem_output, sealed.ciphertext
    )
    return derive_path_keys(tree, [node for node, _ in filtered[position:]], path_secret)


def derive_path_keys(
    tree: RatchetTree, nodes: list[int], path_secret: Secret
) -> tuple[dict[int, Secret], Secret]:
    """Return the private keys of `nodes`, the first having `path_secret`, and the secret after the last.

    Raises:
        ValidationError: a derived public key is not the one in the tree.

    """
    private_keys: dict[int, Secret] = {}
    for node in nodes:
        private_keys[node], public = _node_key_pair(tree.suite, path_secret)
        check_path_keys_match(tree.parent_node(node), public)
        path_secret = tree.suite.derive_secret(path_secret, b"path")
    return private_keys, path_secret


def recipient_counts(tree: RatchetTree, leaf_index: int, added: frozenset[int]) -> list[int]:
    """Return how many ciphertexts each node of a path from this leaf must carry (section 7.6)."""
    return [len(_recipients(tree, copath, added)) for _, copath in tree.filtered_direct_path(leaf_index)]


def _recipients(tree: RatchetTree, copath: int, added: frozenset[int]) -> list[int]:
    return [node for node in tree.resolution(copath) if not (tree_math.is_leaf(node) and node // 2 in added)]


def _encryption_key(tree: RatchetTree, node: int) -> bytes:
    contents = tree.node(node)
    assert contents is not None  # noqa: S101 - neither a path nor a resolution has blank nodes
    return contents.encryption_key


def _node_key_pair(suite: CipherSuite, path_secret: Secret) -> tuple[Secret, bytes]:
    return suite.kem.derive_key_pair(suite.derive_secret(path_secret, b"node"))


def _set_path(
    tree: RatchetTree,
    leaf_index: int,
    filtered: Sequence[tuple[int, int]],
    keys: Sequence[bytes],
) -> bytes:
    """Blank the direct path, then set the filtered one from the root down; return the leaf's parent hash."""
    tree.blank_path(leaf_index)
    above = b""
    for (node, copath), key in zip(reversed(filtered), reversed(keys), strict=True):
        parent = ParentNode(key, above, ())
        tree.set_node(node, parent)
        above = parent_hash(tree, parent, copath)
    return above
