"""Decisions left to the application. Each method raises `PolicyRejected` to refuse. Knows no rule."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from clave_crypto.mls.extensions import Extension, ExternalSender
    from clave_crypto.mls.group_view import GroupView
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.proposals import Proposal
    from clave_crypto.mls.senders import Sender

__all__ = ["NoPolicy", "Policy"]


class Policy(Protocol):
    """The application's rules. All members must decide alike, so by the arguments only."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Check that a leaf's credential is true, in a key package, Add, Update, path or joined tree."""

    def may_be_unlisted(self, extension_type: int) -> bool:
        """Return whether a key package may have an extension that its leaf's capabilities do not list.

        RFC 9420, section 10, forbids that, and other libraries refuse it. True takes in packages that an
        earlier version of the application made.
        """

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Check that `new` may replace `old` in an Update, path, or external commit that removes `old`."""

    def client(self, leaf: LeafNode) -> Hashable:
        """Return a key for the client of a leaf, to find its leaf in a group that continues another."""

    def check_external_sender(self, sender: ExternalSender) -> None:
        """Check an external sender whose proposals the group is to accept (section 12.1.8.1)."""

    def check_context_extensions(self, extensions: Sequence[Extension]) -> None:
        """Check the contents of a group's extensions, when it is made or joined, and as they are proposed."""

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        """Check a proposal that was sent by itself; a commit can refer to it only if it is accepted.

        While an accepted proposal is pending, members cannot send application data.
        """

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        """Check a commit by its proposals and their senders; `group` is in the epoch before it."""

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        """Check an external commit that adds `leaf`; `group` is in the epoch before it."""


class NoPolicy(Policy):
    """Accepts everything that RFC 9420 allows, any credential included: for examples and tests."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Accept it."""

    def may_be_unlisted(self, extension_type: int) -> bool:
        """Return False."""
        return False

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Accept it."""

    def client(self, leaf: LeafNode) -> Hashable:
        """Return its credential."""
        return leaf.credential

    def check_external_sender(self, sender: ExternalSender) -> None:
        """Accept it."""

    def check_context_extensions(self, extensions: Sequence[Extension]) -> None:
        """Accept them."""

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        """Accept it."""

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        """Accept it."""

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        """Accept it."""
