"""Leaf nodes: a client's keys, credential and capabilities, signed by it (RFC 9420, 7.2). Knows no tree."""

from __future__ import annotations

from clave_crypto.codec import Enum8, Enum16, KeptStruct, Struct, encode_vector, struct, u16, u64
from clave_crypto.keys import Secret
from clave_crypto.mls.credentials import Credential
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "Capabilities",
    "CommitSource",
    "KeyPackageSource",
    "LeafNode",
    "LeafNodeSource",
    "NodeType",
    "ProtocolVersion",
    "UpdateSource",
    "leaf_node_tbs",
    "sign_leaf_node",
]


class ProtocolVersion(Enum16):
    """MLS versions (section 6)."""

    MLS10 = 1


class LeafNodeSource(Enum8):
    """Where a leaf comes from (section 7.2)."""

    KEY_PACKAGE = 1
    UPDATE = 2
    COMMIT = 3


class NodeType(Enum8):
    """What a node of the tree is (section 7.8)."""

    LEAF = 1
    PARENT = 2


@struct()
class Capabilities(KeptStruct):
    """What a client supports (section 7.2). Unknown numbers are kept and ignored."""

    versions: tuple[u16, ...]
    cipher_suites: tuple[u16, ...]
    extensions: tuple[u16, ...]
    proposals: tuple[u16, ...]
    credentials: tuple[u16, ...]

    def __hash__(self) -> int:
        # Hashes of numbers are predictable, so peers could choose colliding ones; those of bytes are not.
        return hash(self.encode())


@struct(tag=LeafNodeSource.KEY_PACKAGE)
class KeyPackageSource(Struct):
    """The leaf comes from a key package, valid between two times in seconds since 1970."""

    not_before: u64
    not_after: u64


@struct(tag=LeafNodeSource.UPDATE)
class UpdateSource(Struct):
    """The leaf comes from an Update proposal."""


@struct(tag=LeafNodeSource.COMMIT)
class CommitSource(Struct):
    """The leaf comes from a commit's path."""

    parent_hash: bytes


@struct(tag=NodeType.LEAF)
class LeafNode(KeptStruct):
    """A member's keys, credential and capabilities (section 7.2)."""

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: KeyPackageSource | UpdateSource | CommitSource
    extensions: tuple[Extension, ...]
    signature: bytes


def leaf_node_tbs(leaf: LeafNode, group_id: bytes, leaf_index: int) -> bytes:
    """Return the encoded LeafNodeTBS. Leaves from an Update or commit include group and index."""
    content = leaf.encode()[: -len(encode_vector(leaf.signature))]
    if isinstance(leaf.source, KeyPackageSource):
        return content
    return content + encode_vector(group_id) + leaf_index.to_bytes(4, "big")


def sign_leaf_node(
    suite: CipherSuite,
    signature_secret: Secret,
    template: LeafNode,
    *,
    encryption_key: bytes,
    source: KeyPackageSource | UpdateSource | CommitSource,
    group_id: bytes = b"",
    leaf_index: int = 0,
) -> LeafNode:
    """Return `template` with another encryption key and source, signed."""

    def with_signature(signature: bytes) -> LeafNode:
        return LeafNode(
            encryption_key,
            template.signature_key,
            template.credential,
            template.capabilities,
            source,
            template.extensions,
            signature,
        )

    tbs = leaf_node_tbs(with_signature(b""), group_id, leaf_index)
    return with_signature(suite.sign_with_label(signature_secret, b"LeafNodeTBS", tbs))
