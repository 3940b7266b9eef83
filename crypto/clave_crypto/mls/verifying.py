"""Check an epoch as a whole: its tree as a joiner does, and this member's keys. Changes nothing.

Following commits keeps both right, so this finds damage of what was stored, or a defect.
"""

from __future__ import annotations

import hmac

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import StateError
from clave_crypto.mls.key_schedule import GroupContext, interim_transcript_hash
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.leaf import (
    check_leaf,
    check_leaves_fit_group,
    check_leaves_unique,
    check_lifetime_bounded,
)
from clave_crypto.mls.rules.message import check_confirmation_tag
from clave_crypto.mls.rules.tree import check_tree, check_tree_hash, leaf_source
from clave_crypto.mls.spread import Spread, apply_spread

__all__ = ["verify_keys", "verify_tree"]


def verify_tree(
    tree: RatchetTree, context: GroupContext, *, policy: Policy, limits: Limits, spread: Spread
) -> None:
    """Check a tree: its hash, its parents and their hashes, and each leaf (RFC 9420, section 12.4.3.1).

    Raises:
        MalformedError, ValidationError: it breaks a rule.
        LimitError: a leaf is too large.
        PolicyRejected: the application refuses a leaf.

    """
    suite = tree.suite
    check_tree_hash(tree, context.tree_hash)
    check_tree(tree)
    check_leaves_unique(tree.census)
    check_leaves_fit_group(tree.census, context.extensions)

    def check(place: tuple[int, LeafNode]) -> None:
        leaf_index, leaf = place
        limits.check_leaf(len(leaf.encode()))
        check_lifetime_bounded(leaf, limits)
        check_leaf(suite, leaf, leaf_source(leaf), group_id=context.group_id, leaf_index=leaf_index)

    leaves = list(tree.leaves())
    apply_spread(spread, check, leaves)
    for _, leaf in leaves:
        policy.check_leaf(leaf)


def verify_keys(epoch: Epoch) -> None:
    """Check the confirmation tag, the transcript hash, and that this member's private keys fit the tree.

    The tag stands for the key schedule, of which only results are kept.

    Raises:
        ValidationError: the confirmation tag is not that of this epoch.
        StateError: a key or the transcript hash is another one.

    """
    suite, confirmed = epoch.suite, epoch.context.confirmed_transcript_hash
    tag = suite.mac(epoch.secrets.confirmation_key, confirmed)
    check_confirmation_tag(tag, epoch.confirmation_tag)
    if not hmac.compare_digest(interim_transcript_hash(suite, confirmed, tag), epoch.interim_transcript_hash):
        raise StateError("the interim transcript hash is not that of this epoch")
    own = epoch.leaf(epoch.own_leaf)
    if own is None or suite.signature.public_key(epoch.signature_secret) != own.signature_key:
        raise StateError("the signature key is not that of this member's leaf")
    for node, secret in epoch.private_keys.items():
        contents = epoch.tree.node(node)
        if contents is None or suite.kem.public_key(secret) != contents.encryption_key:
            raise StateError(f"the private key of node {node} is not the one of the tree's public key")
