"""A past epoch, kept for messages that arrive late: enough to open them and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.psk import PreSharedKeyID, ResumptionPsk
from clave_crypto.mls.secret_tree import SecretTree

__all__ = ["PastEpoch", "with_resumption"]


@dataclass(frozen=True, repr=False)
class PastEpoch:
    """The keys and leaves of an epoch the group has left; `context` is its encoded GroupContext.

    `changed` are the leaves, by index, that differ from those of the epoch the group is in.
    """

    epoch: int
    context: bytes
    sender_data_secret: Secret
    resumption_psk: Secret
    own_leaf: int
    n_leaves: int
    changed: Mapping[int, LeafNode | None]
    secret_tree: SecretTree

    def leaf(self, leaf_index: int, current: Epoch) -> LeafNode | None:
        """Return the leaf, None when blank or outside the tree; `current` is the epoch the group is in.

        Raises:
            StateError: a page of the stored tree of `current` is missing or does not belong to it.

        """
        if leaf_index >= self.n_leaves:
            return None
        return self.changed[leaf_index] if leaf_index in self.changed else current.leaf(leaf_index)

    def seen_from(self, current: Epoch, leaves_before: Mapping[int, LeafNode | None]) -> PastEpoch:
        """Return it for a group that enters `current`; `leaves_before` are those that differ there."""
        leaves = {**leaves_before, **self.changed}
        return replace(
            self,
            changed={
                leaf_index: leaf
                for leaf_index, leaf in sorted(leaves.items())
                if leaf_index < self.n_leaves and leaf is not current.leaf(leaf_index)
            },
        )

    @classmethod
    def of(cls, epoch: Epoch, secret_tree: SecretTree) -> PastEpoch:
        """Return what to keep of `epoch`, which the group is still in and whose keys are retired."""
        secret_tree.retire(epoch.own_leaf)
        return cls(
            epoch.context.epoch,
            epoch.context_bytes,
            epoch.secrets.sender_data_secret,
            epoch.secrets.resumption_psk,
            epoch.own_leaf,
            epoch.n_leaves,
            {},
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
