"""Stored forms of a group and of an own pending commit, in the versions that are written.

Knows bytes only: `reading_stored` reads these and earlier ones, `state` checks whether they make a group.
"""

from __future__ import annotations

from clave_crypto.codec import Struct, struct, u8, u16, u32, u64
from clave_crypto.keys import Secret
from clave_crypto.mls.key_schedule import EpochSecrets, GroupContext
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.secret_tree import StoredSecretTree
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
)

__all__ = [
    "CHANGE_VERSION",
    "PAGED_VERSION",
    "WHOLE_VERSION",
    "StoredChange",
    "StoredEpoch",
    "StoredGroup",
    "StoredKey",
    "StoredLeaf",
    "StoredPage",
    "StoredPast",
    "StoredProposal",
    "StoredRatchets",
    "StoredWholeEpoch",
    "StoredWholeGroup",
]

WHOLE_VERSION = 2
"""Version of groups that are stored with the whole tree; 1 is read too."""

PAGED_VERSION = 3
"""Version of groups whose tree is stored in pages."""

CHANGE_VERSION = 4
"""Version of stored changes that is written; 1 to 3 are read too."""


@struct()
class StoredKey(Struct):
    """A private key of this member, and its node index."""

    node: u32
    secret: Secret


@struct()
class StoredEpoch(Struct):
    """The current epoch, or the one that a pending commit leads to; the pages of its tree are elsewhere."""

    context: GroupContext
    n_leaves: u32
    secrets: EpochSecrets
    confirmation_tag: bytes
    interim_transcript_hash: bytes
    own_leaf: u32
    private_keys: tuple[StoredKey, ...]
    signature_secret: Secret


@struct()
class StoredWholeEpoch(Struct):
    """An epoch with its whole tree."""

    context: GroupContext
    ratchet_tree: TreeNodes
    secrets: EpochSecrets
    confirmation_tag: bytes
    interim_transcript_hash: bytes
    own_leaf: u32
    private_keys: tuple[StoredKey, ...]
    signature_secret: Secret


@struct()
class StoredPage(Struct):
    """A page of the tree that a pending commit leads to; `data` as in `tree_pages`."""

    page: u32
    data: bytes


@struct()
class StoredLeaf(Struct):
    """A leaf of a past epoch."""

    leaf_index: u32
    leaf: LeafNode | None


@struct()
class StoredPast(Struct):
    """A past epoch; only leaves that differ from the current tree's are stored."""

    epoch: u64
    context: bytes
    sender_data_secret: Secret
    resumption_psk: Secret
    own_leaf: u32
    n_leaves: u32
    changed: tuple[StoredLeaf, ...]


@struct()
class StoredProposal(Struct):
    """A pending proposal; `leaf_secret` as in `PendingProposal`."""

    reference: bytes
    sender: MemberSender | ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
    proposal: Proposal
    leaf_secret: Secret | None


@struct()
class StoredWholeGroup(Struct):
    """The `epoch` part of a group that is stored with its tree."""

    version: u16
    closed: u8
    reinit: ReInit | None
    epoch: StoredWholeEpoch
    past: tuple[StoredPast, ...]
    pending: tuple[StoredProposal, ...]


@struct()
class StoredGroup(Struct):
    """The `epoch` part of a group whose tree is stored in pages."""

    version: u16
    closed: u8
    reinit: ReInit | None
    epoch: StoredEpoch
    past: tuple[StoredPast, ...]
    pending: tuple[StoredProposal, ...]


@struct()
class StoredRatchets(Struct):
    """The `ratchets` part of a group: the secret trees of the current epoch and of the past ones."""

    version: u16
    epoch: u64
    trees: tuple[StoredSecretTree, ...]


@struct()
class StoredChange(Struct):
    """The change that an own pending commit makes; `pages` are those that differ in the group's tree."""

    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: StoredEpoch
    pages: tuple[StoredPage, ...]
    secret_tree: StoredSecretTree
    path: u8
