"""What receiving or committing brings about. Plain data."""

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

    `added` and `updated` (by Update proposals) are as they are now, `removed` as they were before. With
    `external` the committer joined by this commit, is among `added`, and `committer` is its new leaf. `path`
    says whether the commit had an UpdatePath (RFC 9420, section 12.4). With `reinit` the group goes on as
    another, which that describes, and this one is closed.

    With `removed_self` the group is closed to this member and stays in the epoch before; `added` and
    `updated` are empty. It is a claim by its signer: whoever is removed cannot check the confirmation tag, so
    the others may have refused the same commit. `Group.preview` shows it without closing the group.
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
    """What becomes of a valid commit at the member who previews it (RFC 9420, section 12.4.2)."""

    OPENS = "opens"
    """This member can follow: the path's secret opens and the confirmation tag is right."""

    SEALED = "sealed"
    """A path secret or the external init does not open here, or gives other keys than the path has.

    Other members may be able to follow.
    """

    WRONG_TAG = "wrong tag"
    """All secrets opened and the confirmation tag is wrong, which it then is for everybody.

    With pre-shared keys: for everybody who has the same ones.
    """

    REMOVES = "removes"
    """This member is removed and so can check neither secrets nor the confirmation tag."""


@dataclass(frozen=True)
class CommitPreview:
    """A commit of another that everybody in the epoch can see to be valid, and its `fate` at this member.

    The fields it shares with `Committed` say the same, as they would be after it. `added` and `updated` are
    told to a member who is removed as well.
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
