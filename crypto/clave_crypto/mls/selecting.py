"""Select the proposals that a commit covers (RFC 9420, sections 12.2 and 12.4). Knows no rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import Applied, check_proposal
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import LimitError, PolicyRejected, UnsupportedError, ValidationError
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Commit,
    Proposal,
    ProposalByReference,
    ProposalByValue,
    ReInit,
    Remove,
    SelfRemove,
    Update,
)
from clave_crypto.mls.rules.proposal import (
    Sent,
    check_not_self_remove,
    check_path_present,
    check_proposal_known,
)
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.state import PendingProposal

__all__ = ["Selection", "resolve", "select"]

_REFUSED = (ValidationError, PolicyRejected, UnsupportedError, LimitError)


@dataclass(frozen=True)
class Selection:
    """Proposals as a commit names them, with their senders, and their common effect."""

    named: tuple[ProposalByValue | ProposalByReference, ...]
    sent: tuple[Sent, ...]
    applied: Applied


def select(
    committer: MemberSender,
    proposals: Sequence[Proposal],
    pending: Mapping[bytes, PendingProposal],
    judge: Callable[[Sequence[Sent]], Applied],
) -> Selection:
    """Select all of `proposals`, and each pending one that `judge` accepts with those preferred to it.

    Pending proposals rarely conflict, so the preferred one of each leaf and all others are judged at once; if
    they are refused, all are halved and judged again. What is only acceptable with these, as an application's
    rules can have it, is selected too.

    Raises:
        MLSError: what `judge` raises for `proposals` themselves.

    """
    own = [(committer, proposal) for proposal in proposals]
    chosen: list[tuple[bytes, PendingProposal]] = []
    ahead: list[list[tuple[bytes, PendingProposal]]] = []
    every = _by_preference(pending)
    without_conflicts = _once_for_each_leaf(every, proposals)
    try:
        applied = judge([*own, *map(_sent, without_conflicts)])
    except _REFUSED:
        applied = judge(own)
        half = len(every) // 2
        ahead = [part for part in (every[half:], every[:half]) if part and half]
    else:
        chosen = without_conflicts
    while ahead:
        some = ahead.pop()
        try:
            applied = judge([*own, *map(_sent, [*chosen, *some])])
        except _REFUSED:
            half = len(some) // 2
            ahead += (part for part in (some[half:], some[:half]) if half)
        else:
            chosen += some
    named: list[ProposalByValue | ProposalByReference] = [ProposalByValue(one) for one in proposals]
    named += (ProposalByReference(reference) for reference, _ in chosen)
    return Selection(tuple(named), (*own, *map(_sent, chosen)), applied)


def resolve(
    epoch: Epoch,
    committer: MemberSender,
    commit: Commit,
    pending: Mapping[bytes, PendingProposal],
    *,
    policy: Policy,
    limits: Limits,
) -> tuple[list[Sent], Secret | None]:
    """Return what a received commit covers, and the private key of this member's Update if that is covered.

    Raises:
        ValidationError, PolicyRejected, UnsupportedError: a proposal is unknown or cannot be accepted.

    """
    sent: list[Sent] = []
    own_leaf_secret = None
    for one in commit.proposals:
        if isinstance(one, ProposalByReference):
            known = check_proposal_known(pending.get(one.reference))
            sent.append((known.sender, known.proposal))
            own_leaf_secret = known.leaf_secret or own_leaf_secret
        else:
            check_not_self_remove(one.proposal)
            check_proposal(epoch, committer, one.proposal, policy=policy, limits=limits, now=None)
            sent.append((committer, one.proposal))
    check_path_present([proposal for _, proposal in sent], commit.path is not None)
    return sent, own_leaf_secret


def _by_preference(pending: Mapping[bytes, PendingProposal]) -> list[tuple[bytes, PendingProposal]]:
    """Put SelfRemoves first, then Removes, then Updates, the latest first, as each leaf is changed once.

    ReInits come last.
    """
    items = list(pending.items())
    leaving = [item for item in items if isinstance(item[1].proposal, SelfRemove)]
    removes = [item for item in items if isinstance(item[1].proposal, Remove)]
    updates = [item for item in reversed(items) if isinstance(item[1].proposal, Update)]
    reinits = [item for item in items if isinstance(item[1].proposal, ReInit)]
    special = SelfRemove | Remove | Update | ReInit
    others = [item for item in items if not isinstance(item[1].proposal, special)]
    return leaving + removes + updates + others + reinits


def _once_for_each_leaf(
    pending: Sequence[tuple[bytes, PendingProposal]], proposals: Sequence[Proposal]
) -> list[tuple[bytes, PendingProposal]]:
    """Leave out what changes a leaf that a preferred one, or one of `proposals`, changes too."""
    changed = {proposal.removed for proposal in proposals if isinstance(proposal, Remove)}
    found = []
    for reference, one in pending:
        leaf = one.proposal.removed if isinstance(one.proposal, Remove) else None
        if isinstance(one.proposal, SelfRemove | Update) and isinstance(one.sender, MemberSender):
            leaf = one.sender.leaf_index
        if leaf is None or leaf not in changed:
            found.append((reference, one))
        if leaf is not None:
            changed.add(leaf)
    return found


def _sent(waiting: tuple[bytes, PendingProposal]) -> Sent:
    _, one = waiting
    return one.sender, one.proposal
