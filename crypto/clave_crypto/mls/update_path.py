"""The shape of a committer's new path through the tree (RFC 9420, section 7.6). Computes nothing."""

from __future__ import annotations

from clave_crypto.codec import Struct, struct
from clave_crypto.mls.leaf_node import LeafNode

__all__ = ["HPKECiphertext", "UpdatePath", "UpdatePathNode"]


@struct()
class HPKECiphertext(Struct):
    """A public-key ciphertext."""

    kem_output: bytes
    ciphertext: bytes


@struct()
class UpdatePathNode(Struct):
    """A parent's new key, and its path secret for each node of the copath child's resolution."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HPKECiphertext, ...]


@struct()
class UpdatePath(Struct):
    """The committer's new leaf and the parents on its filtered direct path, nearest first."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]
