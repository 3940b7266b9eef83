"""Convert groups and pending commits to bytes and back; equal states give equal bytes. Does no I/O.

The `epoch` part changes with each commit and proposal, the `ratchets` part with each message. Both name the
epoch they belong to, so that parts of different epochs are not put together. Restoring checks everything that
later code relies on: damage is found then, and not while the group is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import StateError, UnsupportedError
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.secret_tree import SecretTree, StoredSecretTree
from clave_crypto.mls.senders import MemberSender, Sender
from clave_crypto.mls.stored import (
    CHANGE_VERSION,
    VERSION,
    StoredChange,
    StoredEpoch,
    StoredGroup,
    StoredKey,
    StoredLeaf,
    StoredPast,
    StoredProposal,
    StoredRatchets,
    read_change,
    read_group,
    read_ratchets,
)
from clave_crypto.mls.suites import find_suite

__all__ = ["GroupState", "PendingProposal", "Restored", "decode_change", "encode_change", "restore", "store"]


@dataclass(frozen=True, repr=False)
class GroupState:
    """A stored group: write both parts in one transaction; an unchanged `epoch` need not be written."""

    epoch: bytes
    ratchets: bytes


@dataclass(frozen=True, repr=False)
class PendingProposal:
    """A valid proposal not committed yet; `leaf_secret` is the private key of this member's own Update."""

    sender: Sender
    proposal: Proposal
    leaf_secret: Secret | None


def store(
    epoch: Epoch,
    secret_tree: SecretTree,
    past: list[PastEpoch],
    pending: dict[bytes, PendingProposal],
    *,
    closed: bool,
    reinit: ReInit | None,
) -> GroupState:
    """Return a group for storage."""
    group = StoredGroup(
        VERSION,
        int(closed),
        reinit,
        _store_epoch(epoch),
        tuple(_store_past(one, epoch.tree) for one in past),
        tuple(
            StoredProposal(reference, one.sender, one.proposal, one.leaf_secret)
            for reference, one in pending.items()
        ),
    )
    trees = (secret_tree.store(), *(one.secret_tree.store() for one in past))
    return GroupState(group.encode(), StoredRatchets(VERSION, epoch.context.epoch, trees).encode())


@dataclass(frozen=True, repr=False)
class Restored:
    """What `store` was given."""

    epoch: Epoch
    secret_tree: SecretTree
    past: list[PastEpoch]
    pending: dict[bytes, PendingProposal]
    closed: bool
    reinit: ReInit | None


def restore(state: GroupState, limits: Limits) -> Restored:
    """Return what `store` was given.

    Raises:
        StateError: the bytes are not a stored group, or the parts belong to different epochs.

    """
    group, ratchets = read_group(state.epoch), read_ratchets(state.ratchets)
    if ratchets.epoch != group.epoch.context.epoch or len(ratchets.trees) != 1 + len(group.past):
        raise StateError("the two parts of the stored group belong to different epochs")
    if group.closed not in {0, 1}:
        raise StateError("the stored group's closed flag is neither 0 nor 1")
    closed = bool(group.closed)
    epoch = _restore_epoch(group.epoch)
    n_leaves = 1 if closed else epoch.tree.n_leaves
    secret_tree = _restore_secret_tree(epoch, ratchets.trees[0], n_leaves, limits)
    past = [_restore_past(epoch, *item, limits) for item in zip(group.past, ratchets.trees[1:], strict=True)]
    pending = {one.reference: _restore_proposal(epoch, one) for one in group.pending}
    return Restored(epoch, secret_tree, past, pending, closed, group.reinit)


def encode_change(change: Change) -> bytes:
    """Return the change of an own commit for storage, until the commit is accepted or rejected."""
    assert change.epoch is not None and change.secret_tree is not None  # noqa: S101, PT018 - one's own
    return StoredChange(
        CHANGE_VERSION,
        change.committer,
        change.added,
        change.removed,
        change.updated,
        change.reinit,
        change.authenticated_data,
        _store_epoch(change.epoch),
        change.secret_tree.store(),
        int(change.path),
    ).encode()


def decode_change(data: bytes, limits: Limits) -> Change:
    """Return the change that `encode_change` stored.

    Raises:
        StateError: `data` is not a stored change.

    """
    stored = read_change(data)
    epoch = _restore_epoch(stored.epoch)
    if any(epoch.tree.leaf(index) is None for index in (stored.committer, *stored.added, *stored.updated)):
        raise StateError("the stored change names a leaf that is not in the tree it leads to")
    if stored.path not in {0, 1}:
        raise StateError("the stored change's path flag is neither 0 nor 1")
    return Change(
        committer=stored.committer,
        external=False,
        path=bool(stored.path),
        added=stored.added,
        removed=stored.removed,
        updated=stored.updated,
        reinit=stored.reinit,
        authenticated_data=stored.authenticated_data,
        epoch=epoch,
        secret_tree=_restore_secret_tree(epoch, stored.secret_tree, epoch.tree.n_leaves, limits),
    )


def _store_epoch(epoch: Epoch) -> StoredEpoch:
    return StoredEpoch(
        epoch.context,
        epoch.tree.contents(),
        epoch.secrets,
        epoch.confirmation_tag,
        epoch.interim_transcript_hash,
        epoch.own_leaf,
        tuple(StoredKey(*item) for item in sorted(epoch.private_keys.items())),
        epoch.signature_secret,
    )


def _restore_epoch(stored: StoredEpoch) -> Epoch:
    try:
        suite = find_suite(stored.context.cipher_suite)
    except UnsupportedError as error:
        raise StateError(str(error)) from error
    tree = RatchetTree(suite, stored.ratchet_tree.nodes)
    if tree.tree_hash() != stored.context.tree_hash:
        raise StateError("the stored tree does not have the group's tree hash")
    if tree.leaf(stored.own_leaf) is None:
        raise StateError("the stored group has no leaf of this member")
    private_keys = {item.node: item.secret for item in stored.private_keys}
    own_node = 2 * stored.own_leaf
    own_path = {own_node, *tree_math.direct_path(own_node, tree.n_leaves)}
    if len(private_keys) != len(stored.private_keys) or not private_keys.keys() <= own_path:
        raise StateError("the stored private keys are not those of this member's path")
    return Epoch(
        stored.context,
        tree,
        stored.secrets,
        stored.confirmation_tag,
        stored.interim_transcript_hash,
        stored.own_leaf,
        private_keys,
        stored.signature_secret,
    )


def _restore_secret_tree(
    epoch: Epoch, stored: StoredSecretTree, n_leaves: int, limits: Limits, retired: int | None = None
) -> SecretTree:
    """Restore a secret tree: each leaf has its two ratchets, or is under just one node with a secret.

    In a past epoch the handshake keys, and all keys of leaf `retired`, may be deleted.
    """
    ratchets = [(item.leaf_index, item.kind) for item in stored.ratchets]
    spans = [tree_math.leaves_under(item.node) for item in stored.nodes]
    opened = sorted({leaf_index for leaf_index, _ in ratchets})
    expected = [(leaf_index, 1) for leaf_index in opened if leaf_index != retired]
    if retired is not None and ratchets == expected and not any(retired in span for span in spans):
        opened = sorted([*opened, retired])
    else:
        expected = [(leaf_index, kind) for leaf_index in opened for kind in (0, 1)]
    bounds = sorted((span.start, span.stop) for span in (*spans, *(range(leaf, leaf + 1) for leaf in opened)))
    starts, stops = [start for start, _ in bounds], [stop for _, stop in bounds]
    if stored.n_leaves != n_leaves or ratchets != expected or [*starts, n_leaves] != [0, *stops]:
        raise StateError("the stored message keys are not those of the group's leaves")
    return SecretTree.restore(epoch.suite, stored, limits)


def _restore_proposal(epoch: Epoch, stored: StoredProposal) -> PendingProposal:
    if isinstance(stored.sender, MemberSender) and epoch.tree.leaf(stored.sender.leaf_index) is None:
        raise StateError("a stored proposal's sender is not in the group")
    return PendingProposal(stored.sender, stored.proposal, stored.leaf_secret)


def _store_past(past: PastEpoch, tree: RatchetTree) -> StoredPast:
    changed = tuple(
        StoredLeaf(leaf_index, leaf)
        for leaf_index, leaf in enumerate(past.leaves)
        if leaf is not tree.leaf(leaf_index)
    )
    return StoredPast(
        past.epoch,
        past.context,
        past.sender_data_secret,
        past.resumption_psk,
        past.own_leaf,
        len(past.leaves),
        changed,
    )


def _restore_past(
    epoch: Epoch, stored: StoredPast, secret_tree: StoredSecretTree, limits: Limits
) -> PastEpoch:
    tree, n_leaves = epoch.tree, stored.n_leaves
    if n_leaves.bit_count() != 1 or n_leaves > max(tree.n_leaves, limits.leaves):
        raise StateError(f"a stored epoch has {n_leaves} leaves, which no tree here can have")
    changed = {item.leaf_index: item.leaf for item in stored.changed}
    if len(changed) != len(stored.changed) or max(changed, default=0) >= n_leaves:
        raise StateError("the stored leaves of an epoch do not fit its tree")
    leaves = [changed.get(leaf_index, tree.leaf(leaf_index)) for leaf_index in range(n_leaves)]
    if stored.own_leaf >= n_leaves or leaves[stored.own_leaf] is None:
        raise StateError("a stored epoch has no leaf of this member")
    late = _restore_secret_tree(epoch, secret_tree, n_leaves, limits, stored.own_leaf)
    late.retire(stored.own_leaf)
    return PastEpoch(
        stored.epoch,
        stored.context,
        stored.sender_data_secret,
        stored.resumption_psk,
        stored.own_leaf,
        tuple(leaves),
        late,
    )
