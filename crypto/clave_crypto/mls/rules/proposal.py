"""Rules for proposals and the list a commit covers (RFC 9420, sections 12.1, 12.2 and 12.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from clave_crypto.mls.grease import GREASE
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.proposal_types import DEFAULT_PROPOSAL_TYPES, ProposalType
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
    proposal_type_of,
)
from clave_crypto.mls.psk import PreSharedKeyID, ResumptionPsk, ResumptionUsage
from clave_crypto.mls.rules.registry import BrokenRuleError, rule
from clave_crypto.mls.senders import MemberSender, Sender

if TYPE_CHECKING:
    from clave_crypto.mls.census import Census
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.ratchet_tree import RatchetTree
    from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "Sent",
    "check_custom_type",
    "check_epoch_countable",
    "check_no_external_init_alone",
    "check_not_self_remove",
    "check_one_change_per_leaf",
    "check_path_present",
    "check_proposal_known",
    "check_proposal_list",
    "check_proposals_supported",
    "check_psk_nonce",
    "check_psk_usage",
    "check_psks_countable",
    "check_psks_unique",
    "check_reinit_version",
    "check_removed_is_member",
    "check_self_remove_public",
    "check_self_remove_sender",
    "check_update_sender",
    "needs_path",
    "removed_by",
]

T = TypeVar("T")

_MOST_PSKS = (1 << 16) - 1
_LAST_EPOCH = (1 << 64) - 1

Sent = tuple[Sender, Proposal]
"""A sender and its proposal."""


def removed_by(sender: Sender, proposal: Proposal) -> int | None:
    """Return the leaf index that a proposal removes, or None."""
    if isinstance(proposal, Remove):
        return proposal.removed
    is_leaving = isinstance(proposal, SelfRemove) and isinstance(sender, MemberSender)
    return sender.leaf_index if is_leaving and isinstance(sender, MemberSender) else None


def check_proposal_list(committer: MemberSender, proposals: Sequence[Sent]) -> None:
    """Check the proposals of a member's commit against each other."""
    kinds = [proposal for _, proposal in proposals]
    check_no_own_update(committer, proposals)
    check_committer_stays(committer, proposals)
    check_one_change_per_leaf(proposals)
    check_adds_unique(kinds)
    check_psks_unique(kinds)
    check_one_group_context_extensions(kinds)
    check_reinit_alone(kinds)
    check_no_external_init(kinds)


@rule("external-init-sender", "12.1.6")
def check_no_external_init_alone() -> None:
    """An ExternalInit comes only in an external commit."""
    raise BrokenRuleError("an ExternalInit came outside an external commit")


@rule("proposal-known", "12.4")
def check_proposal_known(sent: T | None) -> T:
    """A commit refers only to proposals of this epoch that this member has seen."""
    if sent is None:
        raise BrokenRuleError("the commit refers to a proposal that was not seen in this epoch")
    return sent


@rule("commit-no-own-update", "12.2")
def check_no_own_update(committer: MemberSender, proposals: Sequence[Sent]) -> None:
    """A commit covers no Update by its committer."""
    if any(sender == committer and isinstance(proposal, Update) for sender, proposal in proposals):
        raise BrokenRuleError("the commit covers an Update of its committer")


@rule("commit-committer-stays", "12.2")
def check_committer_stays(committer: MemberSender, proposals: Sequence[Sent]) -> None:
    """A commit does not remove its committer."""
    if any(removed_by(sender, proposal) == committer.leaf_index for sender, proposal in proposals):
        raise BrokenRuleError("the commit removes its committer")


@rule("commit-one-change-per-leaf", "12.2")
def check_one_change_per_leaf(proposals: Sequence[Sent]) -> None:
    """A commit updates or removes each leaf at most once."""
    changed = [
        MemberSender(proposal.removed) if isinstance(proposal, Remove) else sender
        for sender, proposal in proposals
        if isinstance(proposal, Remove | Update | SelfRemove)
    ]
    if len(set(changed)) != len(changed):
        raise BrokenRuleError("the commit changes a leaf twice")


@rule("commit-adds-unique", "12.2")
def check_adds_unique(proposals: Sequence[Proposal]) -> None:
    """A commit adds no client twice."""
    added = [
        proposal.key_package.leaf_node.signature_key for proposal in proposals if isinstance(proposal, Add)
    ]
    if len(set(added)) != len(added):
        raise BrokenRuleError("the commit adds a client twice")


@rule("commit-psks-unique", "12.2")
def check_psks_unique(proposals: Sequence[Proposal]) -> None:
    """A commit uses no pre-shared key id twice."""
    psks = [proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)]
    if len(set(psks)) != len(psks):
        raise BrokenRuleError("the commit uses a pre-shared key twice")


@rule("commit-one-group-context-extensions", "12.2")
def check_one_group_context_extensions(proposals: Sequence[Proposal]) -> None:
    """A commit replaces the group's extensions at most once."""
    if sum(isinstance(proposal, GroupContextExtensions) for proposal in proposals) > 1:
        raise BrokenRuleError("the commit replaces the group's extensions twice")


@rule("commit-reinit-alone", "12.2")
def check_reinit_alone(proposals: Sequence[Proposal]) -> None:
    """A ReInit is committed alone."""
    if len(proposals) > 1 and any(isinstance(proposal, ReInit) for proposal in proposals):
        raise BrokenRuleError("the commit covers a ReInit together with other proposals")


@rule("commit-no-external-init", "12.2")
def check_no_external_init(proposals: Sequence[Proposal]) -> None:
    """A member's commit covers no ExternalInit."""
    if any(isinstance(proposal, ExternalInit) for proposal in proposals):
        raise BrokenRuleError("a member's commit covers an ExternalInit")


@rule("commit-proposals-supported", "12.2")
def check_proposals_supported(census: Census, proposals: Iterable[Proposal]) -> None:
    """Every member that processes a commit supports its proposals of types that are not default ones."""
    used = {proposal_type_of(proposal) for proposal in proposals} - DEFAULT_PROPOSAL_TYPES
    if used and not all(used <= set(capabilities.proposals) for capabilities in census.capabilities):
        raise BrokenRuleError("a member does not support a proposal's type")


@rule("custom-proposal-type", "13.5")
def check_custom_type(proposal: CustomProposal) -> None:
    """A proposal of the application's has a type that is no GREASE value and not one of this library's."""
    if proposal.proposal_type in (0, *GREASE, *ProposalType):
        raise BrokenRuleError(f"{proposal.proposal_type:#06x} is not the type of a custom proposal")


@rule("self-remove-sender", "SelfRemove Proposal")
def check_self_remove_sender(tree: RatchetTree, sender: Sender) -> int:
    """A SelfRemove is sent by a member."""
    if not isinstance(sender, MemberSender) or tree.leaf(sender.leaf_index) is None:
        raise BrokenRuleError("the sender of the SelfRemove is not a member")
    return sender.leaf_index


@rule("self-remove-public", "SelfRemove Proposal")
def check_self_remove_public(proposal: Proposal, *, is_public: bool) -> None:
    """A SelfRemove is sent in a public message, for those who join externally."""
    if isinstance(proposal, SelfRemove) and not is_public:
        raise BrokenRuleError("the SelfRemove came encrypted")


@rule("self-remove-by-reference", "SelfRemove Proposal")
def check_not_self_remove(proposal: Proposal) -> None:
    """A commit covers a SelfRemove by reference only."""
    if isinstance(proposal, SelfRemove):
        raise BrokenRuleError("a commit has a SelfRemove by value")


def needs_path(proposals: Sequence[Proposal]) -> bool:
    """Return whether a commit of `proposals` must have a path: there are none, or one requires it."""
    kinds = Update | Remove | ExternalInit | GroupContextExtensions | SelfRemove
    return not proposals or any(isinstance(proposal, kinds) for proposal in proposals)


@rule("commit-path-present", "12.4")
def check_path_present(proposals: Sequence[Proposal], has_path: bool) -> None:
    """A commit has a path if it covers nothing, or a proposal that requires one."""
    if needs_path(proposals) and not has_path:
        raise BrokenRuleError("the commit needs a path and has none")


@rule("update-sender", "12.1.2")
def check_update_sender(tree: RatchetTree, sender: Sender) -> tuple[int, LeafNode]:
    """An Update is sent by a member."""
    leaf = tree.leaf(sender.leaf_index) if isinstance(sender, MemberSender) else None
    if leaf is None or not isinstance(sender, MemberSender):
        raise BrokenRuleError("the sender of the Update is not a member")
    return sender.leaf_index, leaf


@rule("remove-member", "12.1.3")
def check_removed_is_member(tree: RatchetTree, removed: int) -> LeafNode:
    """A Remove names a member."""
    leaf = tree.leaf(removed)
    if leaf is None:
        raise BrokenRuleError("the member to remove does not exist")
    return leaf


@rule("psk-nonce", "12.1.4")
def check_psk_nonce(suite: CipherSuite, psk: PreSharedKeyID) -> None:
    """A pre-shared key's nonce is as long as the hash."""
    if len(psk.psk_nonce) != suite.hash_size:
        raise BrokenRuleError("the pre-shared key's nonce has the wrong length")


@rule("psks-countable", "8.4")
def check_psks_countable(psks: Sequence[PreSharedKeyID]) -> None:
    """A commit or Welcome has at most 65,535 pre-shared keys, as they are counted in 16 bits."""
    if len(psks) > _MOST_PSKS:
        raise BrokenRuleError(f"there are {len(psks)} pre-shared keys, and at most {_MOST_PSKS} are allowed")


@rule("epoch-countable", "8.1")
def check_epoch_countable(epoch: int) -> None:
    """A commit leads to an epoch whose number fits into 64 bits."""
    if epoch >= _LAST_EPOCH:
        raise BrokenRuleError("the epoch number is at its maximum")


@rule("psk-usage", "12.1.4")
def check_psk_usage(psk: PreSharedKeyID) -> None:
    """A resumption key is used for reinitialising or branching only where a group begins."""
    if isinstance(psk.psk, ResumptionPsk) and psk.psk.usage is not ResumptionUsage.APPLICATION:
        raise BrokenRuleError("the resumption key is not for use inside a group")


@rule("reinit-version", "12.1.5")
def check_reinit_version(reinit: ReInit) -> None:
    """A ReInit does not lower the protocol version."""
    if reinit.version < ProtocolVersion.MLS10:
        raise BrokenRuleError("the ReInit lowers the protocol version")
