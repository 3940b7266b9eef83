"""A past epoch, kept for messages that arrive late: enough to open them and no more."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["MAX_PAST_EPOCHS", "PastEpoch"]

MAX_PAST_EPOCHS = 2
"""Past epochs whose messages can still be opened."""


@dataclass(frozen=True, repr=False)
class PastEpoch:
    """The keys and leaves of an epoch the group has left; `context` is its encoded GroupContext."""

    epoch: int
    context: bytes
    sender_data_secret: Secret
    resumption_psk: Secret
    own_leaf: int
    leaves: tuple[LeafNode | None, ...]
    secret_tree: SecretTree

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """Return the leaf, None when blank or outside the tree."""
        return self.leaves[leaf_index] if leaf_index < len(self.leaves) else None

    @classmethod
    def of(cls, epoch: Epoch, secret_tree: SecretTree) -> PastEpoch:
        """Return what to keep of `epoch`."""
        tree = epoch.tree
        return cls(
            epoch.context.epoch,
            epoch.context_bytes,
            epoch.secrets.sender_data_secret,
            epoch.secrets.resumption_psk,
            epoch.own_leaf,
            tuple(tree.leaf(leaf_index) for leaf_index in range(tree.n_leaves)),
            secret_tree,
        )
