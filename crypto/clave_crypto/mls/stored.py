"""Stored forms of a group and of an own pending commit: structs of every version.

Knows bytes only; `state` checks whether they make a group.
"""

from __future__ import annotations

from typing import TypeVar

from clave_crypto.codec import Struct, struct, u8, u16, u32, u64
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import StateError, UnsupportedError
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
from clave_crypto.mls.suites import find_suite

__all__ = [
    "CHANGE_VERSION",
    "VERSION",
    "StoredChange",
    "StoredEpoch",
    "StoredGroup",
    "StoredKey",
    "StoredLeaf",
    "StoredPast",
    "StoredProposal",
    "StoredRatchets",
    "check_readable",
    "read_change",
    "read_group",
    "read_ratchets",
]

VERSION = 2
"""Version of stored groups that is written; 1 is read too."""

CHANGE_VERSION = 3
"""Version of stored changes that is written; 1 and 2 are read too."""

_T = TypeVar("_T", bound=Struct)


@struct()
class StoredKey(Struct):
    """A private key of this member, and its node index."""

    node: u32
    secret: Secret


@struct()
class StoredEpoch(Struct):
    """The current epoch, or the one that a pending commit leads to."""

    context: GroupContext
    ratchet_tree: TreeNodes
    secrets: EpochSecrets
    confirmation_tag: bytes
    interim_transcript_hash: bytes
    own_leaf: u32
    private_keys: tuple[StoredKey, ...]
    signature_secret: Secret


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
class StoredGroup(Struct):
    """The `epoch` part of a group."""

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
    """The change that an own pending commit makes."""

    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: StoredEpoch
    secret_tree: StoredSecretTree
    path: u8


@struct()
class _StoredProposalV1(Struct):
    """Version 1, in which every sender is a member."""

    reference: bytes
    sender: u32
    proposal: Proposal
    leaf_secret: Secret | None


@struct()
class _StoredGroupV1(Struct):
    """Version 1, without a ReInit."""

    version: u16
    closed: u8
    epoch: StoredEpoch
    past: tuple[StoredPast, ...]
    pending: tuple[_StoredProposalV1, ...]


@struct()
class _StoredChangeV2(Struct):
    """Version 2, without `path`."""

    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: StoredEpoch
    secret_tree: StoredSecretTree


@struct()
class _StoredChangeV1(Struct):
    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    epoch: StoredEpoch
    secret_tree: StoredSecretTree


def check_readable(start: bytes) -> None:
    """Check by the first bytes of an `epoch` part, 16 or more, that this program knows its form and suite.

    It can still be damaged; restoring it checks everything.

    Raises:
        StateError: the version or the cipher suite is unknown.

    """
    version = _check_version(start, VERSION)
    context = 3 if version == 1 else 4
    if version > 1 and start[3:4] != b"\0":
        return  # a ReInit, of any length, precedes the context: the group is closed
    try:
        find_suite(int.from_bytes(start[context + 2 : context + 4], "big"))
    except UnsupportedError as error:
        raise StateError(str(error)) from error


def read_group(data: bytes) -> StoredGroup:
    """Return the `epoch` part of a group.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    if _check_version(data, VERSION) == VERSION:
        return _decode(StoredGroup, data)
    old = _decode(_StoredGroupV1, data)
    pending = tuple(
        StoredProposal(one.reference, MemberSender(one.sender), one.proposal, one.leaf_secret)
        for one in old.pending
    )
    return StoredGroup(VERSION, old.closed, None, old.epoch, old.past, pending)


def read_ratchets(data: bytes) -> StoredRatchets:
    """Return the `ratchets` part of a group.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    _check_version(data, VERSION)
    return _decode(StoredRatchets, data)


def read_change(data: bytes) -> StoredChange:
    """Return a stored change; one of version 1 or 2 counts as having a path, which `commit` makes by default.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    version = _check_version(data, CHANGE_VERSION)
    if version == CHANGE_VERSION:
        return _decode(StoredChange, data)
    reinit, authenticated_data = None, b""
    old: _StoredChangeV1 | _StoredChangeV2
    if version == 1:
        old = _decode(_StoredChangeV1, data)
    else:
        old = _decode(_StoredChangeV2, data)
        reinit, authenticated_data = old.reinit, old.authenticated_data
    return StoredChange(
        CHANGE_VERSION,
        old.committer,
        old.added,
        old.removed,
        old.updated,
        reinit,
        authenticated_data,
        old.epoch,
        old.secret_tree,
        int(True),
    )


def _check_version(data: bytes, newest: int) -> int:
    version = int.from_bytes(data[:2], "big")
    if not 1 <= version <= newest:
        raise StateError(f"stored by version {version}, this program knows 1 to {newest}")
    return version


def _decode(kind: type[_T], data: bytes) -> _T:
    try:
        return kind.decode(data)
    except DecodeError as error:
        raise StateError(f"not a stored group: {error}") from error
