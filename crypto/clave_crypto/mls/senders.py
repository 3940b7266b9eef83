"""Who sends a message to a group: a member, or someone outside it (RFC 9420, section 6). Proves nothing."""

from __future__ import annotations

from clave_crypto.codec import Enum8, Struct, struct, u32

__all__ = [
    "ExternalSenderIndex",
    "MemberSender",
    "NewMemberCommitSender",
    "NewMemberProposalSender",
    "Sender",
]


class _SenderType(Enum8):
    MEMBER = 1
    EXTERNAL = 2
    NEW_MEMBER_PROPOSAL = 3
    NEW_MEMBER_COMMIT = 4


@struct(tag=_SenderType.MEMBER)
class MemberSender(Struct):
    """A member, by leaf index."""

    leaf_index: u32


@struct(tag=_SenderType.EXTERNAL)
class ExternalSenderIndex(Struct):
    """Someone listed in the external_senders extension, by place in the list."""

    sender_index: u32


@struct(tag=_SenderType.NEW_MEMBER_PROPOSAL)
class NewMemberProposalSender(Struct):
    """Someone who proposes to be added."""


@struct(tag=_SenderType.NEW_MEMBER_COMMIT)
class NewMemberCommitSender(Struct):
    """Someone who joins by an external commit."""


Sender = MemberSender | ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
"""Everyone a message can come from."""
