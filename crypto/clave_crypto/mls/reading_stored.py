"""Read stored groups and pending commits of every version. Knows bytes only.

In versions 1 and 2 of groups, and 1 to 3 of changes, the whole tree is part of the stored epoch.
"""

from __future__ import annotations

from typing import TypeVar

from clave_crypto.codec import Struct, struct, u8, u16, u32
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import StateError, UnsupportedError
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.secret_tree import StoredSecretTree
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.stored import (
    CHANGE_VERSION,
    PAGED_VERSION,
    WHOLE_VERSION,
    StoredChange,
    StoredEpoch,
    StoredGroup,
    StoredPast,
    StoredProposal,
    StoredRatchets,
    StoredWholeEpoch,
    StoredWholeGroup,
)
from clave_crypto.mls.suites import find_suite

__all__ = ["check_readable", "read_change", "read_group", "read_ratchets"]

_T = TypeVar("_T", bound=Struct)


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
    epoch: StoredWholeEpoch
    past: tuple[StoredPast, ...]
    pending: tuple[_StoredProposalV1, ...]


@struct()
class _StoredChangeV3(Struct):
    """Version 3, with the whole tree."""

    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    reinit: ReInit | None
    authenticated_data: bytes
    epoch: StoredWholeEpoch
    secret_tree: StoredSecretTree
    path: u8


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
    epoch: StoredWholeEpoch
    secret_tree: StoredSecretTree


@struct()
class _StoredChangeV1(Struct):
    version: u16
    committer: u32
    added: tuple[u32, ...]
    removed: tuple[u32, ...]
    updated: tuple[u32, ...]
    epoch: StoredWholeEpoch
    secret_tree: StoredSecretTree


def check_readable(start: bytes) -> None:
    """Check by the first bytes of an `epoch` part, 16 or more, that this program knows its form and suite.

    It can still be damaged; restoring it checks everything.

    Raises:
        StateError: the version or the cipher suite is unknown.

    """
    version = _check_version(start, PAGED_VERSION)
    context = 3 if version == 1 else 4
    if version > 1 and start[3:4] != b"\0":
        return  # a ReInit, of any length, precedes the context: the group is closed
    try:
        find_suite(int.from_bytes(start[context + 2 : context + 4], "big"))
    except UnsupportedError as error:
        raise StateError(str(error)) from error


def read_group(data: bytes) -> tuple[StoredGroup, TreeNodes | None]:
    """Return the `epoch` part of a group, and its tree if that is in there.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    version = _check_version(data, PAGED_VERSION)
    if version == PAGED_VERSION:
        return _decode(StoredGroup, data), None
    return _read_whole_group(data, version)


def read_ratchets(data: bytes) -> StoredRatchets:
    """Return the `ratchets` part of a group.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    _check_version(data, PAGED_VERSION)
    return _decode(StoredRatchets, data)


def read_change(data: bytes) -> tuple[StoredChange, TreeNodes | None]:
    """Return a stored change, and the tree it leads to if all of it is in there: before version 4.

    One of version 1 or 2 counts as having a path, which `commit` makes by default.

    Raises:
        StateError: the bytes are malformed, or of an unknown version.

    """
    version = _check_version(data, CHANGE_VERSION)
    if version == CHANGE_VERSION:
        return _decode(StoredChange, data), None
    return _read_old_change(data, version)


def _read_whole_group(data: bytes, version: int) -> tuple[StoredGroup, TreeNodes]:
    if version == 1:
        oldest = _decode(_StoredGroupV1, data)
        pending = tuple(
            StoredProposal(one.reference, MemberSender(one.sender), one.proposal, one.leaf_secret)
            for one in oldest.pending
        )
        old = StoredWholeGroup(WHOLE_VERSION, oldest.closed, None, oldest.epoch, oldest.past, pending)
    else:
        old = _decode(StoredWholeGroup, data)
    epoch = _without_tree(old.epoch)
    return StoredGroup(
        PAGED_VERSION, old.closed, old.reinit, epoch, old.past, old.pending
    ), old.epoch.ratchet_tree


def _read_old_change(data: bytes, version: int) -> tuple[StoredChange, TreeNodes]:
    reinit, authenticated_data, path = None, b"", int(True)
    old: _StoredChangeV1 | _StoredChangeV2 | _StoredChangeV3
    match version:
        case 1:
            old = _decode(_StoredChangeV1, data)
        case 2:
            old = _decode(_StoredChangeV2, data)
            reinit, authenticated_data = old.reinit, old.authenticated_data
        case _:
            old = _decode(_StoredChangeV3, data)
            reinit, authenticated_data, path = old.reinit, old.authenticated_data, old.path
    change = StoredChange(
        CHANGE_VERSION,
        old.committer,
        old.added,
        old.removed,
        old.updated,
        reinit,
        authenticated_data,
        _without_tree(old.epoch),
        (),
        old.secret_tree,
        path,
    )
    return change, old.epoch.ratchet_tree


def _without_tree(old: StoredWholeEpoch) -> StoredEpoch:
    """Return the epoch as it is stored now; its number of leaves is that of a full tree with these nodes."""
    return StoredEpoch(
        old.context,
        1 << (len(old.ratchet_tree.nodes) // 2).bit_length(),
        old.secrets,
        old.confirmation_tag,
        old.interim_transcript_hash,
        old.own_leaf,
        old.private_keys,
        old.signature_secret,
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
