"""Rules for messages from outside the group (RFC 9420, sections 6.1, 12.1.8, 12.2 and 12.4.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from clave_crypto.mls.extensions import ExtensionType, ExternalSender, ExternalSenders, find_extension
from clave_crypto.mls.framing import ProposalContent
from clave_crypto.mls.proposals import (
    Add,
    Commit,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ProposalByReference,
    ReInit,
    Remove,
    SelfRemove,
)
from clave_crypto.mls.rules.credential import check_credential
from clave_crypto.mls.rules.proposal import Sent, check_not_self_remove
from clave_crypto.mls.rules.registry import BrokenRuleError, rule
from clave_crypto.mls.senders import NewMemberCommitSender

if TYPE_CHECKING:
    from clave_crypto.codec import Struct
    from clave_crypto.mls.extensions import Extension
    from clave_crypto.mls.suites import CipherSuite
    from clave_crypto.mls.update_path import UpdatePath

__all__ = [
    "check_external_commit",
    "check_external_sender_content",
    "check_external_senders",
    "check_joiner_content",
    "check_joiner_proposal",
    "check_path_in_external_commit",
    "find_external_sender",
]

_FROM_OUTSIDE = Add | Remove | PreSharedKey | ReInit | GroupContextExtensions


@rule("external-sender-content", "12.1.8")
def check_external_sender_content(body: Struct) -> None:
    """An external sender proposes only Add, Remove, PreSharedKey, ReInit or GroupContextExtensions."""
    if not (isinstance(body, ProposalContent) and isinstance(body.proposal, _FROM_OUTSIDE)):
        raise BrokenRuleError("an external sender sent what only a member may")


@rule("external-sender-known", "12.1.8.1")
def find_external_sender(extensions: Sequence[Extension], sender_index: int) -> ExternalSender:
    """An external sender is listed in the group context."""
    data = find_extension(extensions, ExtensionType.EXTERNAL_SENDERS)
    senders = () if data is None else ExternalSenders.decode(data).senders
    if sender_index >= len(senders):
        raise BrokenRuleError("the group lists no such external sender")
    return senders[sender_index]


@rule("external-senders-form", "12.1.8.1")
def check_external_senders(suite: CipherSuite, extensions: Sequence[Extension]) -> tuple[ExternalSender, ...]:
    """The keys of the external senders that a group lists are fit for use."""
    data = find_extension(extensions, ExtensionType.EXTERNAL_SENDERS)
    senders = () if data is None else ExternalSenders.decode(data).senders
    for sender in senders:
        suite.signature.check_public(sender.signature_key)
        check_credential(suite, sender)
    return senders


@rule("joiner-proposal", "6.1")
def check_joiner_proposal(body: Struct) -> Add:
    """A new member proposes its own Add and nothing else."""
    if not (isinstance(body, ProposalContent) and isinstance(body.proposal, Add)):
        raise BrokenRuleError("a new member proposed something other than an Add")
    return body.proposal


@rule("joiner-commit-content", "6.1")
def check_joiner_content(body: Struct) -> Commit:
    """A message of a new member who joins by itself is a commit."""
    if not isinstance(body, Commit):
        raise BrokenRuleError("a new member sent something other than a commit")
    return body


def check_external_commit(commit: Commit, find_pending: Callable[[bytes], Sent]) -> tuple[Sent, ...]:
    """Check an external commit's shape; return its proposals.

    `find_pending` returns the proposal of a reference, or raises `ValidationError`.
    """
    check_path_in_external_commit(commit)
    proposals: list[Sent] = []
    for one in commit.proposals:
        if isinstance(one, ProposalByReference):
            proposals.append(check_reference(find_pending(one.reference)))
        else:
            check_not_self_remove(one.proposal)
            proposals.append((NewMemberCommitSender(), one.proposal))
    kinds = [proposal for _, proposal in proposals]
    check_one_external_init(kinds)
    check_one_remove(kinds)
    check_kinds(kinds)
    return tuple(proposals)


@rule("external-commit-path", "12.4.3.2")
def check_path_in_external_commit(commit: Commit) -> UpdatePath:
    """An external commit has a path."""
    if commit.path is None:
        raise BrokenRuleError("the external commit has no path")
    return commit.path


@rule("external-commit-by-value", "12.4.3.2")
def check_reference(sent: Sent) -> Sent:
    """An external commit refers to no proposals sent before, but SelfRemoves."""
    if not isinstance(sent[1], SelfRemove):
        raise BrokenRuleError("the external commit refers to a proposal sent before")
    return sent


@rule("external-commit-one-init", "12.2")
def check_one_external_init(proposals: Sequence[Proposal]) -> None:
    """An external commit has exactly one ExternalInit."""
    if sum(isinstance(proposal, ExternalInit) for proposal in proposals) != 1:
        raise BrokenRuleError("the external commit has no ExternalInit or more than one")


@rule("external-commit-one-remove", "12.2")
def check_one_remove(proposals: Sequence[Proposal]) -> None:
    """An external commit removes at most one member: the joiner as it was before."""
    if sum(isinstance(proposal, Remove) for proposal in proposals) > 1:
        raise BrokenRuleError("the external commit removes more than one member")


@rule("external-commit-kinds", "12.2")
def check_kinds(proposals: Sequence[Proposal]) -> None:
    """An external commit has no proposals but ExternalInit, Remove, PreSharedKey and SelfRemove."""
    if not all(isinstance(one, ExternalInit | Remove | PreSharedKey | SelfRemove) for one in proposals):
        raise BrokenRuleError("the external commit has a proposal of another kind")
