"""Create a group with one member (RFC 9420, section 11). Computes its epoch 0; stores nothing."""

from __future__ import annotations

from collections.abc import Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import context_size
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.key_schedule import GroupContext, first_epoch, interim_transcript_hash
from clave_crypto.mls.leaf_node import LeafNode, ProtocolVersion
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.extensions import check_extensions
from clave_crypto.mls.rules.leaf import check_leaves_fit_group
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.suites import CipherSuite

__all__ = ["create"]


def create(
    suite: CipherSuite,
    group_id: bytes,
    leaf: LeafNode,
    leaf_secret: Secret,
    signature_secret: Secret,
    extensions: Sequence[Extension],
    epoch_secret: Secret,
    limits: Limits,
) -> tuple[Epoch, SecretTree]:
    """Return epoch 0 of a group whose one member is at `leaf`, and its message keys.

    Raises:
        ValidationError: the extensions conflict, or require what the leaf does not support.
        LimitError: the leaf or the extensions are too long.

    """
    limits.check_newcomer(len(leaf.encode()))
    limits.check_context(context_size(extensions))
    check_extensions(extensions)
    tree = RatchetTree(suite, [leaf])
    check_leaves_fit_group(tree.census, extensions)
    context = GroupContext(
        ProtocolVersion.MLS10, suite.id, group_id, 0, tree.tree_hash(), b"", tuple(extensions)
    )
    secrets, encryption_secret = first_epoch(suite, epoch_secret)
    tag = suite.mac(secrets.confirmation_key, b"")
    interim = interim_transcript_hash(suite, b"", tag)
    epoch = Epoch(context, tree, secrets, tag, interim, 0, {0: leaf_secret}, signature_secret)
    return epoch, SecretTree(suite, 1, encryption_secret, limits)
