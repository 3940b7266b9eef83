"""A past epoch, kept for messages that arrive late: enough to open them and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.psk import PreSharedKeyID, ResumptionPsk
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["PastEpoch", "with_resumption"]


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
        """Return what to keep of `epoch`, whose keys are retired."""
        secret_tree.retire(epoch.own_leaf)
        return cls(
            epoch.context.epoch,
            epoch.context_bytes,
            epoch.secrets.sender_data_secret,
            epoch.secrets.resumption_psk,
            epoch.own_leaf,
            epoch.tree.all_leaves(),
            secret_tree,
        )


def with_resumption(epoch: Epoch, past: Sequence[PastEpoch], find_psk: FindPsk) -> FindPsk:
    """Return a lookup of a group's present and past resumption keys, and else by `find_psk`."""
    held = {epoch.context.epoch: epoch.secrets.resumption_psk}
    held |= {one.epoch: one.resumption_psk for one in past}

    def find(psk_id: PreSharedKeyID) -> Secret | None:
        psk = psk_id.psk
        if isinstance(psk, ResumptionPsk) and psk.psk_group_id == epoch.context.group_id:
            return held.get(psk.psk_epoch) or find_psk(psk_id)
        return find_psk(psk_id)

    return find
