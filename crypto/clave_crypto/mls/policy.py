"""What the application has a say in. Each method raises `PolicyRejected` to refuse; knows no rule itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from clave_crypto.mls.group import Group
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.proposals import Proposal

__all__ = ["Policy"]


class Policy(Protocol):
    """The application's rules. All members must judge alike, so by nothing but the arguments."""

    def check_leaf(self, leaf: LeafNode) -> None:
        """Judge a leaf in a key package, Add, Update, UpdatePath or joined tree."""

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Judge whether `new` may replace `old`, in an Update or UpdatePath."""

    def check_commit(self, group: Group, committer: int, proposals: Sequence[tuple[int, Proposal]]) -> None:
        """Judge a commit by (sender's leaf index, proposal); `group` is in the epoch before it.

        A proposal sent by itself is judged when it arrives, as a commit of its sender with nothing else.
        """
