"""How much a group takes from its peers before it refuses. Plain numbers; whoever makes a group sets them."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.errors import LimitError

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds on memory and work. What exceeds one is refused with `LimitError`, and nothing changes.

    `skip` is the generations a ratchet jumps ahead for one message; `stored_keys` the skipped keys kept for
    an epoch, whose longest ratchet then loses its oldest; `past_epochs` those whose late messages still open
    and whose resumption keys are known; `leaves` the size of the tree, blank leaves included; `message` the
    bytes of one; `pending_proposals` those that wait for a commit.
    """

    skip: int = 1000
    stored_keys: int = 4000
    past_epochs: int = 2
    leaves: int = 1 << 16
    message: int = 1 << 24
    pending_proposals: int = 1000

    def check_message(self, size: int) -> None:
        """Refuse a message of `size` bytes that is too long."""
        if size > self.message:
            raise LimitError(f"the message has {size} bytes, and at most {self.message} are taken")

    def check_leaves(self, n_leaves: int) -> None:
        """Refuse a tree of too many leaves."""
        if n_leaves > self.leaves:
            raise LimitError(f"the tree has {n_leaves} leaves, and at most {self.leaves} are taken")

    def check_pending(self, count: int) -> None:
        """Refuse one more proposal beside `count` pending ones."""
        if count >= self.pending_proposals:
            raise LimitError(f"{count} proposals are pending, and no more are taken before a commit")


DEFAULT_LIMITS = Limits()
"""What a group takes unless it is told otherwise."""
