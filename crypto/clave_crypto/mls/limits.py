"""How much a group takes from its peers before it refuses. Plain numbers; whoever makes a group sets them."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.errors import LimitError

__all__ = ["DEFAULT_LIMITS", "Limits"]


_PATH_LEAF_MORE = 80
"""Bytes by which a leaf grows in a path: a parent hash of up to 64, and a signature of another length."""


@dataclass(frozen=True)
class Limits:
    """Bounds on memory and work. What exceeds one is refused with `LimitError`, and nothing changes.

    Members of one group should have the same limits: what only some of them refuse, parts them.

    Attributes:
        skip: generations a ratchet jumps ahead for one message.
        stored_keys: skipped keys kept for an epoch; beyond, the longest ratchet loses its oldest.
        past_epochs: how many epochs ago a message still opens and a resumption key is known.
        leaves: size of the tree, blank leaves included.
        message: bytes of one message, received or made; a Welcome has the tree in it unless told otherwise.
        leaf: bytes of one leaf.
        context: bytes of the group context's extensions.
        proposal: bytes of one proposal sent by itself.
        sender_proposals: proposals of one sender waiting for a commit; all who ask to be added count as one.

    """

    skip: int = 1000
    stored_keys: int = 4000
    past_epochs: int = 2
    leaves: int = 1 << 16
    message: int = 1 << 22
    leaf: int = 1 << 14
    context: int = 1 << 16
    proposal: int = 1 << 16
    sender_proposals: int = 100

    def check_message(self, size: int) -> None:
        """Refuse a message of `size` bytes that is too long."""
        _check("the message", size, self.message)

    def check_leaf(self, size: int) -> None:
        """Refuse a leaf of `size` bytes that is too long."""
        _check("a leaf", size, self.leaf)

    def check_newcomer(self, size: int) -> None:
        """Refuse a leaf of `size` bytes whose owner could not commit, as a path's leaf is longer."""
        self.check_leaf(size + _PATH_LEAF_MORE)

    def check_context(self, size: int) -> None:
        """Refuse extensions of the group context that take `size` bytes if those are too many."""
        _check("the group's extensions", size, self.context)

    def check_proposal(self, size: int) -> None:
        """Refuse a proposal of `size` bytes that is too long."""
        _check("the proposal", size, self.proposal)

    def check_leaves(self, n_leaves: int) -> None:
        """Refuse a tree of too many leaves."""
        if n_leaves > self.leaves:
            raise LimitError(f"the tree has {n_leaves} leaves, and at most {self.leaves} are taken")

    def check_waiting(self, count: int) -> None:
        """Refuse one more proposal of a sender who has `count` waiting."""
        if count >= self.sender_proposals:
            raise LimitError(f"{count} proposals of one sender wait for a commit, and no more are taken")


DEFAULT_LIMITS = Limits()
"""What a group takes unless it is told otherwise."""


def _check(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise LimitError(f"{what} would take {size} bytes, and at most {limit} are allowed")
