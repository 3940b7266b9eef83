"""Which proposals a commit covers (RFC 9420, sections 12.2 and 12.4). Judges none itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import Applied, check_proposal
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import LimitError, PolicyRejected, UnsupportedError, ValidationError
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Commit,
    Proposal,
    ProposalByReference,
    ProposalByValue,
    ReInit,
    Remove,
    Update,
)
from clave_crypto.mls.rules.proposal import Sent, check_path_present, check_proposal_known
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.state import PendingProposal

__all__ = ["Selection", "resolve", "select"]

T = TypeVar("T")


@dataclass(frozen=True)
class Selection:
    """Proposals as a commit names them, as they were sent, and what they do together."""

    named: tuple[ProposalByValue | ProposalByReference, ...]
    sent: tuple[Sent, ...]
    applied: Applied


def select(
    committer: MemberSender,
    proposals: Sequence[Proposal],
    pending: Mapping[bytes, PendingProposal],
    judge: Callable[[Sequence[Sent]], Applied],
) -> Selection:
    """Take all of `proposals`, then every pending one, or else each that `judge` accepts beside those before.

    Raises:
        MLSError: what `judge` raises for `proposals` themselves.

    """
    own = [(committer, proposal) for proposal in proposals]
    applied = judge(own)
    chosen: list[tuple[bytes, PendingProposal]] = []
    waiting = _by_preference(pending)
    for some in _all_or_each(waiting):
        if len(chosen) == len(waiting):
            break
        try:
            applied = judge([*own, *map(_sent, [*chosen, *some])])
        except (ValidationError, PolicyRejected, UnsupportedError, LimitError):
            continue
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
) -> tuple[list[Sent], Secret | None]:
    """Return what a received commit covers, and the private key of one's own Update if it is among that.

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
            check_proposal(epoch, committer, one.proposal, policy=policy, now=None)
            sent.append((committer, one.proposal))
    check_path_present([proposal for _, proposal in sent], commit.path is not None)
    return sent, own_leaf_secret


def _by_preference(pending: Mapping[bytes, PendingProposal]) -> list[tuple[bytes, PendingProposal]]:
    """Put Removes first, then Updates, the latest first, since each leaf is changed once; ReInits last."""
    items = list(pending.items())
    removes = [item for item in items if isinstance(item[1].proposal, Remove)]
    updates = [item for item in reversed(items) if isinstance(item[1].proposal, Update)]
    reinits = [item for item in items if isinstance(item[1].proposal, ReInit)]
    others = [item for item in items if not isinstance(item[1].proposal, Remove | Update | ReInit)]
    return removes + updates + others + reinits


def _all_or_each(waiting: list[T]) -> Iterator[list[T]]:
    """Yield all of `waiting` together, which mostly go together, then one by one."""
    yield waiting
    yield from ([one] for one in waiting)


def _sent(waiting: tuple[bytes, PendingProposal]) -> Sent:
    _, one = waiting
    return one.sender, one.proposal
