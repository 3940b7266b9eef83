"""Proposals and commits (RFC 9420, sections 12.1 and 12.4). Knows their shape, not how they are applied."""

from __future__ import annotations

from clave_crypto.codec import Enum8, KeptStruct, Struct, struct, u16, u32
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.key_package import KeyPackage
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.proposal_types import ProposalType
from clave_crypto.mls.psk import PreSharedKeyID
from clave_crypto.mls.update_path import UpdatePath

__all__ = [
    "Add",
    "Commit",
    "ContentType",
    "CustomProposal",
    "ExternalInit",
    "GroupContextExtensions",
    "PreSharedKey",
    "Proposal",
    "ProposalByReference",
    "ProposalByValue",
    "ReInit",
    "Remove",
    "SelfRemove",
    "Update",
    "proposal_type_of",
]


class ContentType(Enum8):
    """What a message carries (section 6)."""

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


class _ProposalOrRefType(Enum8):
    PROPOSAL = 1
    REFERENCE = 2


@struct(tag=ProposalType.ADD)
class Add(Struct):
    """Add the client whose key package this is."""

    key_package: KeyPackage


@struct(tag=ProposalType.UPDATE)
class Update(Struct):
    """Replace the sender's leaf."""

    leaf_node: LeafNode


@struct(tag=ProposalType.REMOVE)
class Remove(Struct):
    """Remove the member at leaf index `removed`."""

    removed: u32


@struct(tag=ProposalType.PSK)
class PreSharedKey(Struct):
    """Mix a pre-shared key into the next epoch."""

    psk: PreSharedKeyID


@struct(tag=ProposalType.REINIT)
class ReInit(Struct):
    """Replace the group by a new one with these parameters."""

    group_id: bytes
    version: u16
    cipher_suite: u16
    extensions: tuple[Extension, ...]


@struct(tag=ProposalType.EXTERNAL_INIT)
class ExternalInit(Struct):
    """KEM output for the init secret of an external commit (section 8.3)."""

    kem_output: bytes


@struct(tag=ProposalType.GROUP_CONTEXT_EXTENSIONS)
class GroupContextExtensions(Struct):
    """Replace all extensions of the group context."""

    extensions: tuple[Extension, ...]


@struct(tag=ProposalType.SELF_REMOVE)
class SelfRemove(Struct):
    """Remove the sender, also by an external commit (draft-ietf-mls-extensions, SelfRemove Proposal)."""


@struct(others=True)
class CustomProposal(Struct):
    """A proposal of the application's: a type and its data, as other libraries encode it, too.

    The policy judges it; to this library it has no effect. Every member must list its type (section 12.2).
    """

    proposal_type: u16
    data: bytes


Proposal = (
    Add
    | Update
    | Remove
    | PreSharedKey
    | ReInit
    | ExternalInit
    | GroupContextExtensions
    | SelfRemove
    | CustomProposal
)


def proposal_type_of(proposal: Proposal) -> int:
    """Return the number of a proposal's type (section 17.4)."""
    if isinstance(proposal, CustomProposal):
        return proposal.proposal_type
    return int.from_bytes(proposal.tag, "big")


@struct(tag=_ProposalOrRefType.PROPOSAL)
class ProposalByValue(Struct):
    """A proposal the committer makes in the commit itself."""

    proposal: Proposal


@struct(tag=_ProposalOrRefType.REFERENCE)
class ProposalByReference(Struct):
    """A proposal sent before, by its hash (section 5.2)."""

    reference: bytes


@struct(tag=ContentType.COMMIT)
class Commit(KeptStruct):
    """Proposals to take effect, and the committer's new path."""

    proposals: tuple[ProposalByValue | ProposalByReference, ...]
    path: UpdatePath | None
