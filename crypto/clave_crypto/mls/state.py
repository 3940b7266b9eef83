"""How a group and a pending commit are stored: structs, versioned, equal bytes for equal states. Does no I/O.

The `epoch` part changes with each commit and proposal, the `ratchets` part with each message. Both name the
epoch they belong to, so that parts of different epochs are not put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from clave_crypto.codec import Struct, struct, u8, u16, u32, u64
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import StateError
from clave_crypto.mls.key_schedule import EpochSecrets, GroupContext
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    Update,
)
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.secret_tree import SecretTree, StoredSecretTree
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    Sender,
)
from clave_crypto.mls.suites import find_suite

__all__ = ["GroupState", "PendingProposal", "Restored", "decode_change", "encode_change", "restore", "store"]

_VERSION = 2

_T = TypeVar("_T", bound=Struct)


@dataclass(frozen=True, repr=False)
class GroupState:
    """A group at rest: write `epoch` when it changed, `ratchets` after each message, in one transaction."""

    epoch: bytes
    ratchets: bytes


@dataclass(frozen=True, repr=False)
class PendingProposal:
    """A valid proposal not committed yet; `leaf_secret` is the private key of one's own Update."""

    sender: Sender
    proposal: Proposal
    leaf_secret: Secret | None


@struct()
class _StoredKey(Struct):
    node: u32
    secret: Secret


@struct()
class _StoredEpoch(Struct):
    context: GroupContext
    ratchet_tree: TreeNodes
    secrets: EpochSecrets
    confirmation_tag: bytes
    interim_transcript_hash: bytes
    own_leaf: u32
    private_keys: tuple[_StoredKey, ...]
    signature_secret: Secret


@struct()
class _StoredLeaf(Struct):
    leaf_index: u32
    leaf: LeafNode | None


@struct()
class _StoredPast(Struct):
    """A past epoch, whose leaves are stored as far as they differ from the current tree's."""

    epoch: u64
    context: bytes
    sender_data_secret: Secret
    resumption_psk: Secret
    own_leaf: u32
    n_leaves: u32
    changed: tuple[_StoredLeaf, ...]


@struct()
class _StoredProposal(Struct):
    reference: bytes
    sender: MemberSender | ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
    proposal: Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions
    leaf_secret: Secret | None


@struct()
class _StoredGroup(Struct):
    version: u16
    closed: u8
    reinit: ReInit | None
    epoch: _StoredEpoch
    past: tuple[_StoredPast, ...]
    pending: tuple[_StoredProposal, ...]


@struct()
class _StoredRatchets(Struct):
    version: u16
    epoch: u64
    trees: tuple[StoredSecretTree, ...]


@struct()
class _StoredChange(Struct):
    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: _StoredEpoch
    secret_tree: StoredSecretTree


@struct()
class _StoredProposalV1(Struct):
    """As version 1 stored it, when every sender was a member."""

    reference: bytes
    sender: u32
    proposal: Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions
    leaf_secret: Secret | None


@struct()
class _StoredGroupV1(Struct):
    """As version 1 stored it, when no group could go on as another."""

    version: u16
    closed: u8
    epoch: _StoredEpoch
    past: tuple[_StoredPast, ...]
    pending: tuple[_StoredProposalV1, ...]


@struct()
class _StoredChangeV1(Struct):
    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    epoch: _StoredEpoch
    secret_tree: StoredSecretTree


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
    group = _StoredGroup(
        _VERSION,
        int(closed),
        reinit,
        _store_epoch(epoch),
        tuple(_store_past(one, epoch.tree) for one in past),
        tuple(
            _StoredProposal(reference, one.sender, one.proposal, one.leaf_secret)
            for reference, one in pending.items()
        ),
    )
    trees = (secret_tree.store(), *(one.secret_tree.store() for one in past))
    return GroupState(group.encode(), _StoredRatchets(_VERSION, epoch.context.epoch, trees).encode())


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
    group = _read_group(state.epoch)
    _check_version(state.ratchets)
    ratchets = _decode(_StoredRatchets, state.ratchets)
    if ratchets.epoch != group.epoch.context.epoch or len(ratchets.trees) != 1 + len(group.past):
        raise StateError("the two parts of the stored group belong to different epochs")
    epoch = _restore_epoch(group.epoch)
    secret_tree, *trees = (SecretTree.restore(epoch.suite, tree, limits) for tree in ratchets.trees)
    past = [_restore_past(*item, epoch.tree) for item in zip(group.past, trees, strict=True)]
    pending = {
        one.reference: PendingProposal(one.sender, one.proposal, one.leaf_secret) for one in group.pending
    }
    return Restored(epoch, secret_tree, past, pending, bool(group.closed), group.reinit)


def encode_change(change: Change) -> bytes:
    """Return one's own change for storage, until the commit's fate is known."""
    assert change.epoch is not None and change.secret_tree is not None  # noqa: S101, PT018 - one's own
    return _StoredChange(
        _VERSION,
        change.committer,
        change.added,
        change.removed,
        change.updated,
        change.reinit,
        change.authenticated_data,
        _store_epoch(change.epoch),
        change.secret_tree.store(),
    ).encode()


def decode_change(data: bytes, limits: Limits) -> Change:
    """Return the change that `encode_change` stored.

    Raises:
        StateError: `data` is not a stored change.

    """
    stored = _read_change(data)
    epoch = _restore_epoch(stored.epoch)
    return Change(
        committer=stored.committer,
        external=False,
        added=stored.added,
        removed=stored.removed,
        updated=stored.updated,
        reinit=stored.reinit,
        authenticated_data=stored.authenticated_data,
        epoch=epoch,
        secret_tree=SecretTree.restore(epoch.suite, stored.secret_tree, limits),
    )


def _store_epoch(epoch: Epoch) -> _StoredEpoch:
    return _StoredEpoch(
        epoch.context,
        epoch.tree.contents(),
        epoch.secrets,
        epoch.confirmation_tag,
        epoch.interim_transcript_hash,
        epoch.own_leaf,
        tuple(_StoredKey(*item) for item in sorted(epoch.private_keys.items())),
        epoch.signature_secret,
    )


def _restore_epoch(stored: _StoredEpoch) -> Epoch:
    suite = find_suite(stored.context.cipher_suite)
    return Epoch(
        stored.context,
        RatchetTree(suite, stored.ratchet_tree.nodes),
        stored.secrets,
        stored.confirmation_tag,
        stored.interim_transcript_hash,
        stored.own_leaf,
        {item.node: item.secret for item in stored.private_keys},
        stored.signature_secret,
    )


def _store_past(past: PastEpoch, tree: RatchetTree) -> _StoredPast:
    changed = tuple(
        _StoredLeaf(leaf_index, leaf)
        for leaf_index, leaf in enumerate(past.leaves)
        if leaf is not tree.leaf(leaf_index)
    )
    return _StoredPast(
        past.epoch,
        past.context,
        past.sender_data_secret,
        past.resumption_psk,
        past.own_leaf,
        len(past.leaves),
        changed,
    )


def _restore_past(stored: _StoredPast, secret_tree: SecretTree, tree: RatchetTree) -> PastEpoch:
    leaves = [tree.leaf(leaf_index) for leaf_index in range(stored.n_leaves)]
    for item in stored.changed:
        leaves[item.leaf_index] = item.leaf
    return PastEpoch(
        stored.epoch,
        stored.context,
        stored.sender_data_secret,
        stored.resumption_psk,
        stored.own_leaf,
        tuple(leaves),
        secret_tree,
    )


def _read_group(data: bytes) -> _StoredGroup:
    if _check_version(data) == _VERSION:
        return _decode(_StoredGroup, data)
    old = _decode(_StoredGroupV1, data)
    pending = tuple(
        _StoredProposal(one.reference, MemberSender(one.sender), one.proposal, one.leaf_secret)
        for one in old.pending
    )
    return _StoredGroup(_VERSION, old.closed, None, old.epoch, old.past, pending)


def _read_change(data: bytes) -> _StoredChange:
    if _check_version(data) == _VERSION:
        return _decode(_StoredChange, data)
    old = _decode(_StoredChangeV1, data)
    return _StoredChange(
        _VERSION, old.committer, old.added, old.removed, old.updated, None, b"", old.epoch, old.secret_tree
    )


def _check_version(data: bytes) -> int:
    version = int.from_bytes(data[:2], "big")
    if version not in {1, _VERSION}:
        raise StateError(f"stored by version {version}, this program knows 1 to {_VERSION}")
    return version


def _decode(kind: type[_T], data: bytes) -> _T:
    try:
        return kind.decode(data)
    except DecodeError as error:
        raise StateError(f"not a stored group: {error}") from error
