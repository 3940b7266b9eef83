"""Limits on what a group accepts from its peers, set by the application. Knows no messages, only sizes."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.errors import LimitError

__all__ = ["DEFAULT_LIMITS", "Limits"]


_PATH_LEAF_MORE = 80
"""Bytes by which a leaf grows in a path: a parent hash of up to 64, and a signature of another length."""


@dataclass(frozen=True)
class Limits:
    """Bounds on memory and work. What exceeds one is refused with `LimitError`, and nothing changes.

    Members of one group should have the same limits: a commit that only some accept splits the group.

    Attributes:
        skip: generations that a ratchet may skip for one message.
        stored_keys: skipped keys kept per epoch; beyond it the longest ratchet drops its oldest.
        past_epochs: past epochs whose messages can be decrypted and whose resumption keys are known.
        leaves: size of the tree, blank leaves included.
        message: bytes of one message, received or made; a Welcome contains the tree by default.
        leaf: bytes of one leaf.
        context: bytes of the group context's extensions.
        proposal: bytes of one proposal sent by itself.
        sender_proposals: pending proposals per sender; all new members together count as one sender.
        lifetime: seconds from the beginning to the end of a leaf's lifetime (section 7.2).

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
    lifetime: int = 400 * 86_400

    def check_message(self, size: int) -> None:
        """Raise `LimitError` if `size` bytes are too many for a message."""
        _check("the message", size, self.message)

    def check_leaf(self, size: int) -> None:
        """Raise `LimitError` if `size` bytes are too many for a leaf."""
        _check("a leaf", size, self.leaf)

    def check_newcomer(self, size: int) -> None:
        """Raise `LimitError` if a leaf of `size` bytes would be too long in a path of its owner's."""
        self.check_leaf(size + _PATH_LEAF_MORE)

    def check_context(self, size: int) -> None:
        """Raise `LimitError` if `size` bytes are too many for the group context's extensions."""
        _check("the group's extensions", size, self.context)

    def check_proposal(self, size: int) -> None:
        """Raise `LimitError` if `size` bytes are too many for a proposal."""
        _check("the proposal", size, self.proposal)

    def check_leaves(self, n_leaves: int) -> None:
        """Raise `LimitError` if a tree has too many leaves."""
        if n_leaves > self.leaves:
            raise LimitError(f"the tree has {n_leaves} leaves, and at most {self.leaves} are allowed")

    def check_waiting(self, count: int) -> None:
        """Raise `LimitError` if a sender with `count` pending proposals may not send another."""
        if count >= self.sender_proposals:
            raise LimitError(f"one sender has {count} pending proposals, and no more are allowed")


DEFAULT_LIMITS = Limits()
"""The limits of a group that is given no others."""


def _check(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise LimitError(f"{what} would take {size} bytes, and at most {limit} are allowed")
