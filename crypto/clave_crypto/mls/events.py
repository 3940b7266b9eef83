"""Results of receiving, previewing and merging. Plain data; computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from clave_crypto.mls.epoch import Member
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.senders import Sender

__all__ = ["Application", "CommitFate", "CommitPreview", "Committed", "ProposalReceived", "Received"]


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

    `added` and `updated` (by Update proposals) describe members after the commit, `removed` before it. If
    `external`, the committer joined by this commit, is among `added`, and `committer` is its new leaf. `path`
    says whether the commit had an UpdatePath (RFC 9420, section 12.4). If `reinit` is set, the group it
    describes replaces this one, which is closed.

    If `removed_self`, the group is closed for this member and stays in the previous epoch; `added` and
    `updated` are empty. This is only the signer's claim: a removed member cannot check the confirmation tag,
    so other members may have refused the commit. `Group.preview` shows it without closing the group.
    """

    committer: int
    epoch: int
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    updated: tuple[Member, ...]
    extensions_changed: bool
    removed_self: bool
    external: bool
    path: bool
    reinit: ReInit | None
    authenticated_data: bytes


class CommitFate(Enum):
    """Whether the member who previews a valid commit can follow it (RFC 9420, section 12.4.2)."""

    OPENS = "opens"
    """This member can follow: the path secret decrypts and the confirmation tag is right."""

    SEALED = "sealed"
    """The path secret or external init does not decrypt here, or derives keys other than the path's.

    Other members may be able to follow.
    """

    WRONG_TAG = "wrong tag"
    """All secrets decrypt and the confirmation tag is wrong, so it is wrong for every member.

    With pre-shared keys: for every member that has the same keys.
    """

    REMOVES = "removes"
    """This member is removed, and can check neither secrets nor the confirmation tag."""


@dataclass(frozen=True)
class CommitPreview:
    """Another member's commit that passed all checks of its public parts, and its `fate` at this member.

    Fields shared with `Committed` mean the same, for the group after the commit. `added` and `updated` are
    set even if this member is removed.
    """

    committer: int
    external: bool
    path: bool
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    updated: tuple[Member, ...]
    extensions_changed: bool
    reinit: ReInit | None
    authenticated_data: bytes
    fate: CommitFate


Received = Application | ProposalReceived | Committed
