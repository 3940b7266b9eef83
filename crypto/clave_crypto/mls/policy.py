"""What the application has a say in. Each method raises `PolicyRejected` to refuse; knows no rule itself."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from clave_crypto.mls.extensions import ExternalSender
    from clave_crypto.mls.group_view import GroupView
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.proposals import Proposal
    from clave_crypto.mls.senders import Sender

__all__ = ["NoPolicy", "Policy"]


class Policy(Protocol):
    """The application's rules. All members must judge alike, so by nothing but the arguments."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Judge whether a leaf is who it says, in a key package, Add, Update, path or joined tree."""

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Judge whether `new` may replace `old` in an Update, path, or external commit removing it."""

    def client(self, leaf: LeafNode) -> Hashable:
        """Name the client a leaf stands for, to find it among the members of a group continued by another."""

    def check_external_sender(self, sender: ExternalSender) -> None:
        """Judge someone outside whose proposals the group is to take (section 12.1.8.1)."""

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        """Judge a proposal sent by itself; a commit can only refer to it if it is taken.

        Nobody sends data while one that was taken waits for a commit.
        """

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        """Judge a commit by its proposals and who sent each; `group` is in the epoch before it."""

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        """Judge a commit by which someone outside joins with `leaf`; `group` is in the epoch before it."""


class NoPolicy(Policy):
    """Accepts all that RFC 9420 accepts, and so believes every credential: for examples and tests."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Believe it."""

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Believe it."""

    def client(self, leaf: LeafNode) -> Hashable:
        """Go by the credential."""
        return leaf.credential

    def check_external_sender(self, sender: ExternalSender) -> None:
        """Believe it."""

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        """Allow it."""

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        """Allow it."""

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        """Allow it."""
