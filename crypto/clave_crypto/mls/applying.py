"""Apply proposals to a tree and a group context (RFC 9420, sections 12.1 to 12.3). Derives no secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

from clave_crypto.keys import Secret
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.errors import UnsupportedError
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.leaf_node import ProtocolVersion, UpdateSource
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Add,
    CustomProposal,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    SelfRemove,
    Update,
)
from clave_crypto.mls.psk import PreSharedKeyID, psk_secret
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.extensions import check_extensions
from clave_crypto.mls.rules.external import check_external_senders
from clave_crypto.mls.rules.key_package import check_key_package
from clave_crypto.mls.rules.leaf import (
    check_key_not_a_parents,
    check_leaf,
    check_leaves_fit_group,
    check_leaves_unique,
)
from clave_crypto.mls.rules.message import check_sender_is_member
from clave_crypto.mls.rules.path import check_encryption_key_fresh
from clave_crypto.mls.rules.proposal import (
    Sent,
    check_custom_type,
    check_epoch_countable,
    check_no_external_init_alone,
    check_one_change_per_leaf,
    check_proposal_list,
    check_proposals_supported,
    check_psk_nonce,
    check_psk_usage,
    check_psks_countable,
    check_psks_unique,
    check_reinit_version,
    check_removed_is_member,
    check_self_remove_sender,
    check_update_sender,
    removed_by,
)
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.senders import MemberSender, Sender
from clave_crypto.mls.spread import Spread, apply_spread
from clave_crypto.mls.suites import SUITES, CipherSuite, find_suite

__all__ = [
    "Applied",
    "apply_external",
    "apply_proposals",
    "check_own_proposals",
    "check_proposal",
    "combine_psks",
    "context_size",
    "judge_extensions",
    "next_context",
    "surviving_keys",
]


@dataclass(frozen=True)
class Applied:
    """The tree after a commit's proposals, before its path, and the changed members by leaf index.

    `committer` is the committer's leaf in that tree. After an external commit's proposals it is blank,
    reserved for the leaf of the path, `external_init` has the KEM output, and `replaced` is the leaf that the
    joiner had before, if any.
    """

    tree: RatchetTree
    extensions: tuple[Extension, ...]
    committer: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    psks: tuple[PreSharedKeyID, ...]
    reinit: ReInit | None = None
    external_init: bytes | None = None
    replaced: int | None = None

    def change(
        self, path: bool, authenticated_data: bytes, epoch: Epoch | None, secret_tree: SecretTree | None
    ) -> Change:
        """Return the change into `epoch`, None if this member was removed; `path`: whether there was one."""
        return Change(
            committer=self.committer,
            external=self.external_init is not None,
            path=path,
            added=self.added,
            removed=self.removed,
            updated=self.updated,
            reinit=self.reinit,
            authenticated_data=authenticated_data,
            epoch=epoch,
            secret_tree=secret_tree,
        )


def check_proposal(
    epoch: Epoch, sender: Sender, proposal: Proposal, *, policy: Policy, limits: Limits, now: int | None
) -> None:
    """Check one proposal by itself; `now` is None for a peer's proposal.

    The sender of an Add checks its lifetime against `now`, in seconds since 1970. Receivers do not: their
    clocks differ, and members that decide differently split the group.

    Raises:
        ValidationError: it breaks a rule.
        PolicyRejected: the application refuses its leaf, or an external sender it lists.
        UnsupportedError: an own ReInit names a version or cipher suite that this library does not have.

    """
    match proposal:
        case Add():
            check_key_package(epoch.suite, proposal.key_package, policy=policy, limits=limits, now=now)
            policy.check_leaf(proposal.key_package.leaf_node)
        case Update():
            leaf_index, old = check_update_sender(epoch.tree, sender)
            group_id = epoch.context.group_id
            check_leaf(
                epoch.suite, proposal.leaf_node, UpdateSource, group_id=group_id, leaf_index=leaf_index
            )
            check_encryption_key_fresh(old, proposal.leaf_node)
            policy.check_leaf(proposal.leaf_node)
            policy.check_successor(old, proposal.leaf_node)
        case Remove():
            check_removed_is_member(epoch.tree, proposal.removed)
        case PreSharedKey():
            check_psk_nonce(epoch.suite, proposal.psk)
            check_psk_usage(proposal.psk)
        case GroupContextExtensions():
            check_extensions(proposal.extensions)
            judge_extensions(epoch.suite, proposal.extensions, policy)
        case ReInit():
            check_reinit_version(proposal)
            check_extensions(proposal.extensions)
            if now is not None and proposal.version != ProtocolVersion.MLS10:
                raise UnsupportedError(f"MLS version {proposal.version} is not supported")
            # A peer's ReInit to an unknown suite is accepted: other members may support it.
            if now is not None or proposal.cipher_suite in SUITES:
                judge_extensions(find_suite(proposal.cipher_suite), proposal.extensions, policy)
        case ExternalInit():
            check_no_external_init_alone()
        case SelfRemove():
            check_self_remove_sender(epoch.tree, sender)
            check_proposals_supported(epoch.tree.census, [proposal])
        case CustomProposal():
            check_custom_type(proposal)
            check_proposals_supported(epoch.tree.census, [proposal])


def check_own_proposals(
    epoch: Epoch,
    sender: Sender,
    proposals: Sequence[Proposal],
    *,
    policy: Policy,
    limits: Limits,
    now: int,
    spread: Spread,
) -> None:
    """Check proposals of this client's, each by itself; key packages to add by `spread`.

    Raises as `check_proposal` does.
    """

    def check_added(add: Add) -> None:
        check_key_package(epoch.suite, add.key_package, policy=policy, limits=limits, now=now)

    apply_spread(spread, check_added, [proposal for proposal in proposals if isinstance(proposal, Add)])
    for proposal in proposals:
        if isinstance(proposal, Add):
            policy.check_leaf(proposal.key_package.leaf_node)
        else:
            check_proposal(epoch, sender, proposal, policy=policy, limits=limits, now=now)


def context_size(extensions: Sequence[Extension]) -> int:
    """Return the size in bytes of the data of a group context's extensions."""
    return sum(len(one.extension_data) for one in extensions)


def judge_extensions(suite: CipherSuite, extensions: Sequence[Extension], policy: Policy) -> None:
    """Check the external senders that a group's extensions list, and ask the policy about each and about all.

    Raises:
        ValidationError: the extension breaks a rule.
        PolicyRejected: the application refuses one of them, or the extensions.

    """
    for sender in check_external_senders(suite, extensions):
        policy.check_external_sender(sender)
    policy.check_context_extensions(extensions)


def apply_proposals(
    epoch: Epoch, committer: MemberSender, proposals: Sequence[Sent], *, limits: Limits
) -> Applied:
    """Apply the proposals of a member's commit, each already checked by itself, in the order of section 12.3.

    Raises:
        ValidationError: they conflict, or a member does not support what the group uses afterwards.
        LimitError: the tree, a leaf or the group's extensions grow too large.

    """
    check_proposal_list(committer, proposals)
    tree = epoch.tree.copy()
    extensions = epoch.context.extensions
    for _, proposal in proposals:
        if isinstance(proposal, GroupContextExtensions):
            extensions = proposal.extensions
        if isinstance(proposal, GroupContextExtensions | ReInit):
            limits.check_context(context_size(proposal.extensions))
    updated = []
    for sender, proposal in proposals:
        if isinstance(proposal, Update) and isinstance(sender, MemberSender):
            tree.update_leaf(sender.leaf_index, proposal.leaf_node)
            updated.append(sender.leaf_index)
    removed = [leaf for leaf in starmap(removed_by, proposals) if leaf is not None]
    for leaf_index in removed:
        tree.remove_leaf(leaf_index)
    check_proposals_supported(tree.census, [proposal for _, proposal in proposals])
    added = tree.add_leaves(
        proposal.key_package.leaf_node for _, proposal in proposals if isinstance(proposal, Add)
    )
    limits.check_leaves(tree.n_leaves)
    for leaf_index in (*updated, *added):
        leaf = check_sender_is_member(tree.leaf(leaf_index))
        limits.check_newcomer(len(leaf.encode()))
        check_key_not_a_parents(tree, leaf)
    check_leaves_unique(tree.census)
    check_leaves_fit_group(tree.census, extensions)
    return Applied(
        tree,
        extensions,
        committer.leaf_index,
        tuple(added),
        tuple(removed),
        tuple(updated),
        tuple(proposal.psk for _, proposal in proposals if isinstance(proposal, PreSharedKey)),
        next((proposal for _, proposal in proposals if isinstance(proposal, ReInit)), None),
    )


def apply_external(epoch: Epoch, proposals: Sequence[Sent], *, limits: Limits) -> Applied:
    """Apply the proposals of an external commit, whose kinds and number are already checked.

    Raises:
        ValidationError: one of them breaks a rule.
        LimitError: the tree grows too large.

    """
    check_one_change_per_leaf(proposals)
    tree = epoch.tree.copy()
    removed, psks, kem_output, replaced = [], [], b"", None
    for sender, proposal in proposals:
        match proposal:
            case Remove():
                check_removed_is_member(epoch.tree, proposal.removed)
                replaced = proposal.removed
                removed.append(proposal.removed)
            case SelfRemove():
                removed.append(check_self_remove_sender(epoch.tree, sender))
            case PreSharedKey():
                check_psk_nonce(epoch.suite, proposal.psk)
                check_psk_usage(proposal.psk)
                psks.append(proposal.psk)
            case ExternalInit():
                kem_output = proposal.kem_output
    for leaf_index in removed:
        tree.remove_leaf(leaf_index)
    kinds = [proposal for _, proposal in proposals]
    check_proposals_supported(tree.census, kinds)
    check_psks_unique(kinds)
    joined = tree.make_room()
    limits.check_leaves(tree.n_leaves)
    return Applied(
        tree,
        epoch.context.extensions,
        joined,
        (joined,),
        tuple(removed),
        (),
        tuple(psks),
        external_init=kem_output,
        replaced=replaced,
    )


def combine_psks(suite: CipherSuite, psks: Sequence[PreSharedKeyID], find_psk: FindPsk) -> Secret:
    """Return the psk_secret of a commit or Welcome.

    Raises:
        ValidationError: there are too many pre-shared keys.
        UnsupportedError: this member does not have one of them.

    """
    check_psks_countable(psks)
    found = []
    for psk_id in psks:
        psk = find_psk(psk_id)
        if psk is None:
            raise UnsupportedError("it uses a pre-shared key that this member does not have")
        found.append((psk_id, psk))
    return psk_secret(suite, found)


def next_context(epoch: Epoch, tree: RatchetTree, extensions: tuple[Extension, ...]) -> GroupContext:
    """Return the next epoch's provisional context, which still has the old confirmed transcript hash.

    Raises:
        ValidationError: the epoch number is at its maximum.

    """
    old = epoch.context
    check_epoch_countable(old.epoch)
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
    """Return the private keys of nodes still in `tree`, by node index, with the leaf's new key if updated."""
    keys = {}
    for node, secret in epoch.private_keys.items():
        before = epoch.tree.node(node)
        after = tree.node(node) if node <= 2 * tree.root else None
        if before is not None and after is not None and before.encryption_key == after.encryption_key:
            keys[node] = secret
    if own_leaf_secret is not None:
        keys[2 * epoch.own_leaf] = own_leaf_secret
    return keys
