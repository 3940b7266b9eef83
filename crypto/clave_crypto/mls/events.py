"""What receiving or committing brings about. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.epoch import Member
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.senders import Sender

__all__ = ["Application", "Committed", "ProposalReceived", "Received"]


@dataclass(frozen=True)
class Application:
    """Application data from the member that was at leaf `sender` in `epoch`."""

    sender: int
    sender_key: bytes
    identity: bytes
    epoch: int
    data: bytes
    authenticated_data: bytes


@dataclass(frozen=True)
class ProposalReceived:
    """A valid proposal by `sender`, now pending under `reference`."""

    sender: Sender
    proposal: Proposal
    reference: bytes
    authenticated_data: bytes


@dataclass(frozen=True)
class Committed:
    """The group entered `epoch` by a commit of the member at leaf `committer`.

    `added` and `updated` (by Update proposals) are as they are now, `removed` as they were before. With
    `external` the committer joined by this commit, is among `added`, and `committer` is its new leaf. With
    `removed_self` the group is closed to this member and stays in the epoch before. With `reinit` the group
    goes on as another, which that describes, and this one is closed.
    """

    committer: int
    epoch: int
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    updated: tuple[Member, ...]
    extensions_changed: bool
    removed_self: bool
    external: bool
    reinit: ReInit | None
    authenticated_data: bytes


Received = Application | ProposalReceived | Committed
