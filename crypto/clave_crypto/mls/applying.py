"""What proposals do to a tree and a group context (RFC 9420, sections 12.1 to 12.3). Derives no secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.errors import UnsupportedError
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.leaf_node import UpdateSource
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    Update,
)
from clave_crypto.mls.psk import PreSharedKeyID, psk_secret
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.key_package import check_key_package
from clave_crypto.mls.rules.leaf import (
    check_extensions_unique,
    check_leaf,
    check_leaves_fit_group,
    check_leaves_unique,
    check_lifetime,
    check_lifetime_begun,
    decode_required_capabilities,
)
from clave_crypto.mls.rules.path import check_encryption_key_fresh
from clave_crypto.mls.rules.proposal import (
    Sent,
    check_proposal_list,
    check_psk_nonce,
    check_psk_usage,
    check_reinit_version,
    check_removed_is_member,
    check_update_sender,
)

__all__ = ["Applied", "apply_proposals", "check_proposal", "combine_psks", "next_context", "surviving_keys"]


@dataclass(frozen=True)
class Applied:
    """A changed tree (not yet with a path), and who changed, by leaf index."""

    tree: RatchetTree
    extensions: tuple[Extension, ...]
    added: tuple[int, ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    psks: tuple[PreSharedKeyID, ...]


def check_proposal(
    epoch: Epoch, sender: int, proposal: Proposal, *, policy: Policy, now: int, sending: bool
) -> None:
    """Check a proposal by itself; `now` is in seconds since 1970.

    Raises:
        ValidationError: it breaks a rule.
        PolicyRejected: the application refuses its leaf.
        UnsupportedError: its kind is not handled.

    """
    match proposal:
        case Add():
            leaf = proposal.key_package.leaf_node
            check_key_package(epoch.suite, proposal.key_package, now=None)
            (check_lifetime if sending else check_lifetime_begun)(leaf, now)
            policy.check_leaf(leaf)
        case Update():
            old = check_update_sender(epoch.tree, sender)
            group_id = epoch.context.group_id
            check_leaf(epoch.suite, proposal.leaf_node, UpdateSource, group_id=group_id, leaf_index=sender)
            check_encryption_key_fresh(old, proposal.leaf_node)
            policy.check_leaf(proposal.leaf_node)
            policy.check_successor(old, proposal.leaf_node)
        case Remove():
            check_removed_is_member(epoch.tree, proposal.removed)
        case PreSharedKey():
            check_psk_nonce(epoch.suite, proposal.psk)
            check_psk_usage(proposal.psk)
        case GroupContextExtensions():
            check_extensions_unique(proposal.extensions)
            decode_required_capabilities(proposal.extensions)
        case ReInit():
            check_reinit_version(proposal)
            raise UnsupportedError("reinitialising a group is not supported")
        case ExternalInit():
            raise UnsupportedError("external commits are not supported")


def apply_proposals(epoch: Epoch, committer: int, proposals: Sequence[Sent]) -> Applied:
    """Apply proposals, each checked by itself before, in the order of section 12.3.

    Raises:
        ValidationError: they do not go together, or leave members who do not fit the group.

    """
    check_proposal_list(committer, proposals)
    tree = epoch.tree.copy()
    extensions = epoch.context.extensions
    for _, proposal in proposals:
        if isinstance(proposal, GroupContextExtensions):
            extensions = proposal.extensions
    updated = []
    for sender, proposal in proposals:
        if isinstance(proposal, Update):
            tree.update_leaf(sender, proposal.leaf_node)
            updated.append(sender)
    removed = [proposal.removed for _, proposal in proposals if isinstance(proposal, Remove)]
    for leaf_index in removed:
        tree.remove_leaf(leaf_index)
    added = [
        tree.add_leaf(proposal.key_package.leaf_node)
        for _, proposal in proposals
        if isinstance(proposal, Add)
    ]
    psks = tuple(proposal.psk for _, proposal in proposals if isinstance(proposal, PreSharedKey))
    leaves = [leaf for _, leaf in tree.leaves()]
    check_leaves_unique(leaves)
    check_leaves_fit_group(leaves, extensions)
    return Applied(tree, extensions, tuple(added), tuple(removed), tuple(updated), psks)


def combine_psks(epoch: Epoch, psks: Sequence[PreSharedKeyID], find_psk: FindPsk) -> Secret:
    """Return the psk_secret of a commit.

    Raises:
        UnsupportedError: a pre-shared key is not known here.

    """
    found = []
    for psk_id in psks:
        psk = find_psk(psk_id)
        if psk is None:
            raise UnsupportedError("a pre-shared key of the commit is not known")
        found.append((psk_id, psk))
    return psk_secret(epoch.suite, found)


def next_context(epoch: Epoch, tree: RatchetTree, extensions: tuple[Extension, ...]) -> GroupContext:
    """Return the provisional context of the next epoch, its confirmed transcript hash still the old one."""
    old = epoch.context
    return GroupContext(
        old.version,
        old.cipher_suite,
        old.group_id,
        old.epoch + 1,
        tree.tree_hash(),
        old.confirmed_transcript_hash,
        extensions,
    )


def surviving_keys(epoch: Epoch, tree: RatchetTree, own_leaf_secret: Secret | None) -> dict[int, Secret]:
    """Return the private keys whose nodes are still in `tree`; the leaf's new one if it was updated."""
    keys = {}
    for node, secret in epoch.private_keys.items():
        before = epoch.tree.node(node)
        after = tree.node(node) if node <= 2 * tree.root else None
        if before is not None and after is not None and before.encryption_key == after.encryption_key:
            keys[node] = secret
    if own_leaf_secret is not None:
        keys[2 * epoch.own_leaf] = own_leaf_secret
    return keys
