"""Convert groups and pending commits to bytes and back; equal states give equal bytes. Does no I/O.

The `epoch` part changes with each commit and proposal, the `ratchets` part with each message. The tree is in
the `epoch` part, or in pages, a few of which change with each commit. The parts name the epoch they belong
to, and its tree hash tells which pages belong to it, so that those of different epochs are not put together.
Restoring checks all of the two parts, and reads only the pages above this member's leaf; others are checked
when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import StateError, UnsupportedError
from clave_crypto.mls.key_schedule import EpochSecrets
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.reading_stored import read_change, read_group, read_ratchets
from clave_crypto.mls.secret_tree import SecretTree, StoredSecretTree
from clave_crypto.mls.senders import MemberSender, Sender
from clave_crypto.mls.stored import (
    CHANGE_VERSION,
    PAGED_VERSION,
    WHOLE_VERSION,
    StoredChange,
    StoredEpoch,
    StoredGroup,
    StoredKey,
    StoredLeaf,
    StoredPage,
    StoredPast,
    StoredProposal,
    StoredRatchets,
    StoredWholeEpoch,
    StoredWholeGroup,
)
from clave_crypto.mls.stored_tree import StoredTree
from clave_crypto.mls.suites import find_suite
from clave_crypto.mls.tree_pages import changed_pages, encode_page, pages_above

__all__ = [
    "GroupState",
    "PendingProposal",
    "Restored",
    "StateChange",
    "decode_change",
    "encode_change",
    "restore",
    "store",
]


@dataclass(frozen=True, repr=False)
class GroupState:
    """A stored group: write all of it in one transaction.

    The tree is in `epoch`, unless that was stored by `changes`: then it is in `pages`, by number. A restored
    group reads pages when it needs them, until it enters the next epoch: the mapping may read a database.
    """

    epoch: bytes
    ratchets: bytes
    pages: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class StateChange:
    """The parts of a stored group that changed; None and pages not named stay as they are stored."""

    epoch: bytes | None
    ratchets: bytes | None
    pages: Mapping[int, bytes]
    removed_pages: tuple[int, ...]


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
    with_tree: bool,
) -> tuple[bytes, bytes]:
    """Return the `epoch` and the `ratchets` of a group for storage."""
    version = WHOLE_VERSION if with_tree else PAGED_VERSION
    rest = (
        tuple(map(_store_past, past)),
        tuple(
            StoredProposal(reference, one.sender, one.proposal, one.leaf_secret)
            for reference, one in pending.items()
        ),
    )
    group = (
        StoredWholeGroup(version, int(closed), reinit, _store_whole_epoch(epoch), *rest)
        if with_tree
        else StoredGroup(version, int(closed), reinit, _store_epoch(epoch), *rest)
    )
    trees = (secret_tree.store(), *(one.secret_tree.store() for one in past))
    return group.encode(), StoredRatchets(version, epoch.context.epoch, trees).encode()


@dataclass(frozen=True, repr=False)
class Restored:
    """What `store` was given; `is_paged` says whether its tree was stored in pages."""

    epoch: Epoch
    secret_tree: SecretTree
    past: list[PastEpoch]
    pending: dict[bytes, PendingProposal]
    closed: bool
    reinit: ReInit | None
    is_paged: bool


def restore(state: GroupState, limits: Limits) -> Restored:
    """Return what `store` was given.

    Raises:
        StateError: the bytes are not a stored group, or the parts belong to different epochs.
        LocalError: a page is not given as bytes.

    """
    (group, nodes), ratchets = read_group(state.epoch), read_ratchets(state.ratchets)
    if ratchets.epoch != group.epoch.context.epoch or len(ratchets.trees) != 1 + len(group.past):
        raise StateError("the two parts of the stored group belong to different epochs")
    if (nodes is None) != (ratchets.version == PAGED_VERSION):
        raise StateError("the two parts of the stored group are of different versions")
    if group.closed not in {0, 1}:
        raise StateError("the stored group's closed flag is neither 0 nor 1")
    closed = bool(group.closed)
    epoch = _restore_epoch(group.epoch, nodes, state.pages)
    n_leaves = 1 if closed else epoch.n_leaves
    secret_tree = _restore_secret_tree(epoch, ratchets.trees[0], n_leaves, limits)
    past = [_restore_past(epoch, *item, limits) for item in zip(group.past, ratchets.trees[1:], strict=True)]
    pending = {one.reference: _restore_proposal(epoch, one) for one in group.pending}
    return Restored(epoch, secret_tree, past, pending, closed, group.reinit, nodes is None)


def encode_change(change: Change, tree: RatchetTree | None) -> bytes:
    """Return the change of an own commit for storage, until the commit is accepted or rejected.

    Of the tree it has the pages above this member's leaf, and those that differ in `tree`, which is the
    group's; all if that is None.
    """
    assert change.epoch is not None and change.secret_tree is not None  # noqa: S101, PT018 - one's own
    held = change.epoch.held_tree
    if isinstance(held, StoredTree):
        pages = held.pages
    else:
        above = {page: encode_page(held, page) for page in pages_above(change.epoch.own_leaf, held.n_leaves)}
        pages = dict(sorted((above | changed_pages(tree, held)[0]).items()))
    return StoredChange(
        CHANGE_VERSION,
        change.committer,
        change.added,
        change.removed,
        change.updated,
        change.reinit,
        change.authenticated_data,
        _store_epoch(change.epoch),
        tuple(StoredPage(*item) for item in pages.items()),
        change.secret_tree.store(),
        int(change.path),
    ).encode()


def decode_change(data: bytes, limits: Limits) -> Change:
    """Return the change that `encode_change` stored; its tree can be whole only with that of the group.

    Raises:
        StateError: `data` is not a stored change.

    """
    stored, nodes = read_change(data)
    pages = {one.page: one.data for one in stored.pages}
    if len(pages) != len(stored.pages):
        raise StateError("the stored change has a page twice")
    epoch = _restore_epoch(stored.epoch, nodes, pages)
    if isinstance(epoch.held_tree, StoredTree):
        epoch.held_tree.check_pages()
    if any(epoch.leaf(index) is None for index in (stored.committer, *stored.added, *stored.updated)):
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
        secret_tree=_restore_secret_tree(epoch, stored.secret_tree, epoch.n_leaves, limits),
    )


def _store_epoch(epoch: Epoch) -> StoredEpoch:
    return StoredEpoch(epoch.context, epoch.n_leaves, *_store_secrets(epoch))


def _store_whole_epoch(epoch: Epoch) -> StoredWholeEpoch:
    return StoredWholeEpoch(epoch.context, epoch.tree.contents(), *_store_secrets(epoch))


def _store_secrets(
    epoch: Epoch,
) -> tuple[EpochSecrets, bytes, bytes, int, tuple[StoredKey, ...], Secret]:
    """Return what both stored forms of an epoch have behind its tree."""
    return (
        epoch.secrets,
        epoch.confirmation_tag,
        epoch.interim_transcript_hash,
        epoch.own_leaf,
        tuple(StoredKey(*item) for item in sorted(epoch.private_keys.items())),
        epoch.signature_secret,
    )


def _restore_epoch(stored: StoredEpoch, nodes: TreeNodes | None, pages: Mapping[int, bytes]) -> Epoch:
    """Restore an epoch with a tree of `nodes`; if None, of `pages`: read those above this member's leaf."""
    try:
        suite = find_suite(stored.context.cipher_suite)
    except UnsupportedError as error:
        raise StateError(str(error)) from error
    tree: RatchetTree | StoredTree
    if nodes is None:
        if stored.n_leaves.bit_count() != 1:
            raise StateError(f"the stored group has {stored.n_leaves} leaves, which no tree can have")
        tree = StoredTree(suite, stored.n_leaves, stored.context.tree_hash, pages)
    else:
        tree = RatchetTree(suite, nodes.nodes)
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
    if isinstance(stored.sender, MemberSender) and epoch.leaf(stored.sender.leaf_index) is None:
        raise StateError("a stored proposal's sender is not in the group")
    return PendingProposal(stored.sender, stored.proposal, stored.leaf_secret)


def _store_past(past: PastEpoch) -> StoredPast:
    return StoredPast(
        past.epoch,
        past.context,
        past.sender_data_secret,
        past.resumption_psk,
        past.own_leaf,
        past.n_leaves,
        tuple(StoredLeaf(*item) for item in past.changed.items()),
    )


def _restore_past(
    epoch: Epoch, stored: StoredPast, secret_tree: StoredSecretTree, limits: Limits
) -> PastEpoch:
    n_leaves = stored.n_leaves
    if n_leaves.bit_count() != 1 or n_leaves > max(epoch.n_leaves, limits.leaves):
        raise StateError(f"a stored epoch has {n_leaves} leaves, which no tree here can have")
    changed = {item.leaf_index: item.leaf for item in stored.changed}
    if len(changed) != len(stored.changed) or max(changed, default=0) >= n_leaves:
        raise StateError("the stored leaves of an epoch do not fit its tree")
    late = _restore_secret_tree(epoch, secret_tree, n_leaves, limits, stored.own_leaf)
    late.retire(stored.own_leaf)
    past = PastEpoch(
        stored.epoch,
        stored.context,
        stored.sender_data_secret,
        stored.resumption_psk,
        stored.own_leaf,
        n_leaves,
        changed,
        late,
    )
    if past.leaf(stored.own_leaf, epoch) is None:
        raise StateError("a stored epoch has no leaf of this member")
    return past
