"""What someone outside a group can send to it (RFC 9420, sections 12.1.8 and 12.4.3.2). Keeps no state."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import apply_external
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.committing import CommitMade, make_commit
from clave_crypto.mls.epoch import Epoch, FindPsk, Member
from clave_crypto.mls.errors import MalformedError, WrongEpochError, WrongGroupError
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.framing import (
    AuthData,
    FramedContent,
    ProposalContent,
    PublicMessage,
    decode_message,
    encode_message,
)
from clave_crypto.mls.joining import verify_group_info
from clave_crypto.mls.key_package import KeyPackageBundle, RandomBytes
from clave_crypto.mls.key_schedule import EpochSecrets, interim_transcript_hash
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.opening import VerifiedContent, open_self_remove
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Add,
    ExternalInit,
    PreSharedKey,
    Proposal,
    ProposalByReference,
    ProposalByValue,
    Remove,
    SelfRemove,
)
from clave_crypto.mls.protection import proposal_reference, sign_content
from clave_crypto.mls.psk import PreSharedKeyID
from clave_crypto.mls.rules.external import check_external_sender_content
from clave_crypto.mls.rules.leaf import check_leaves_fit_group, check_leaves_unique
from clave_crypto.mls.rules.proposal import Sent, check_removed_is_member
from clave_crypto.mls.rules.welcome import check_group_id_new, find_external_pub
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    Sender,
)
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.suites import CipherSuite, find_suite
from clave_crypto.mls.welcome import GroupInfo
from clave_crypto.mls.wire_format import WireFormat

__all__ = [
    "VerifiedGroupInfo",
    "decode_group_info",
    "join_externally",
    "propose_externally",
    "propose_join",
    "verify_group_info_message",
]


@dataclass(frozen=True)
class VerifiedGroupInfo:
    """A group as its GroupInfo shows it: what an external commit would join. `signer` is a leaf index."""

    group_id: bytes
    epoch: int
    suite: CipherSuite
    extensions: tuple[Extension, ...]
    members: tuple[Member, ...]
    signer: int


@checked
def decode_group_info(data: bytes) -> GroupInfo:
    """Return the GroupInfo in an encoded MLSMessage; nothing in it is verified.

    Raises:
        MalformedError: `data` is not an encoded GroupInfo message.

    """
    message = decode_message(data)
    if not isinstance(message, GroupInfo):
        raise MalformedError("the message is not a group info")
    return message


@checked
def verify_group_info_message(
    data: bytes,
    *,
    policy: Policy,
    ratchet_tree: bytes | None = None,
    limits: Limits = DEFAULT_LIMITS,
    spread: Spread = map,
) -> VerifiedGroupInfo:
    """Check an encoded GroupInfo as `Group.join_externally` does, and return the group that it shows.

    Raises:
        MalformedError, UnsupportedError, ValidationError: it is malformed or breaks a rule.
        LimitError: it or the tree is too large.
        PolicyRejected: the application refuses a member's leaf.

    """
    limits.check_message(len(data))
    info = decode_group_info(data)
    context = info.group_context
    suite = find_suite(context.cipher_suite)
    tree = verify_group_info(suite, info, ratchet_tree, policy=policy, limits=limits, spread=spread)
    members = tuple(Member.of(leaf_index, leaf) for leaf_index, leaf in tree.leaves())
    return VerifiedGroupInfo(
        context.group_id, context.epoch, suite, tuple(context.extensions), members, info.signer
    )


@checked
def propose_join(bundle: KeyPackageBundle, group_id: bytes, epoch: int) -> bytes:
    """Return an MLSMessage that proposes to add the owner of `bundle` to a group in `epoch`."""
    proposal = Add(bundle.key_package)
    return _propose(
        bundle.suite, NewMemberProposalSender(), bundle.signature_secret, proposal, group_id, epoch
    )


@checked
def propose_externally(
    suite: CipherSuite,
    sender_index: int,
    signature_secret: Secret,
    proposal: Proposal,
    group_id: bytes,
    epoch: int,
) -> bytes:
    """Return an MLSMessage with a proposal by the sender at that index of a group's external_senders.

    Raises:
        ValidationError: only a member may propose that.

    """
    check_external_sender_content(ProposalContent(proposal))
    return _propose(suite, ExternalSenderIndex(sender_index), signature_secret, proposal, group_id, epoch)


def join_externally(
    group_info_message: bytes,
    template: LeafNode,
    signature_secret: Secret,
    *,
    policy: Policy,
    ratchet_tree: bytes | None,
    removes: int | None,
    psks: Sequence[PreSharedKeyID],
    self_removes: Sequence[bytes],
    find_psk: FindPsk,
    other_groups: Container[bytes],
    authenticated_data: bytes,
    limits: Limits,
    spread: Spread,
    random: RandomBytes,
) -> CommitMade:
    """Make an external commit, and the epoch that begins with it.

    Raises as `Group.join_externally` does.
    """
    limits.check_message(len(group_info_message))
    group_info = decode_group_info(group_info_message)
    context = group_info.group_context
    suite = find_suite(context.cipher_suite)
    external_pub = find_external_pub(suite, group_info)
    check_group_id_new(context.group_id in other_groups)
    tree = verify_group_info(suite, group_info, ratchet_tree, policy=policy, limits=limits, spread=spread)
    kem_output, init_secret = suite.seal_external_init(external_pub)
    own: list[Proposal] = [ExternalInit(kem_output)]
    own += [] if removes is None else [Remove(removes)]
    own += [PreSharedKey(psk) for psk in psks]
    tag = group_info.confirmation_tag
    # A client outside has none of the epoch's secrets; the new init secret replaces them.
    seen = Epoch(
        context,
        tree,
        EpochSecrets(*[Secret()] * 8),
        tag,
        interim_transcript_hash(suite, context.confirmed_transcript_hash, tag),
        own_leaf=0,
        private_keys={},
        signature_secret=signature_secret,
    )
    leaving = _check_self_removes(seen, self_removes, removes)
    sent: list[Sent] = [(NewMemberCommitSender(), proposal) for proposal in own]
    sent += ((content.sender, SelfRemove()) for content in leaving)
    applied = apply_external(seen, sent, limits=limits)
    named: list[ProposalByValue | ProposalByReference] = [ProposalByValue(proposal) for proposal in own]
    named += (ProposalByReference(proposal_reference(suite, each.authenticated)) for each in leaving)
    if removes is not None:
        policy.check_successor(check_removed_is_member(tree, removes), template)
    made = make_commit(
        seen,
        NewMemberCommitSender(),
        applied,
        named,
        template=template,
        init_secret=init_secret,
        found=None,
        authenticated_data=authenticated_data,
        find_psk=find_psk,
        limits=limits,
        spread=spread,
        random=random,
    )
    check_leaves_unique(made.epoch.tree.census)
    check_leaves_fit_group(made.epoch.tree.census, context.extensions)
    return made


def _check_self_removes(seen: Epoch, messages: Sequence[bytes], removes: int | None) -> list[VerifiedContent]:
    """Check the SelfRemoves of a group; return the first of each member, without that of leaf `removes`.

    A member that sends two does not keep anybody from joining. Raises as `_check_self_remove` does.
    """
    found: dict[Sender, VerifiedContent] = {}
    for message in messages:
        content = _check_self_remove(seen, message)
        found.setdefault(content.sender, content)
    if removes is not None:
        found.pop(MemberSender(removes), None)
    return list(found.values())


def _check_self_remove(seen: Epoch, message: bytes) -> VerifiedContent:
    """Check a member's message with a SelfRemove, as far as somebody outside the group can.

    Raises:
        MalformedError: it is not one.
        WrongGroupError, WrongEpochError: it is for another group or epoch.
        ValidationError: no member signed it.

    """
    decoded = decode_message(message)
    if not isinstance(decoded, PublicMessage):
        raise MalformedError("the message is not a public one")
    content = decoded.content
    if not (isinstance(content.body, ProposalContent) and isinstance(content.body.proposal, SelfRemove)):
        raise MalformedError("the message has no SelfRemove")
    if content.group_id != seen.context.group_id:
        raise WrongGroupError("the SelfRemove is for another group")
    if content.epoch != seen.context.epoch:
        raise WrongEpochError(content.epoch, seen.context.epoch)
    return open_self_remove(seen, decoded)


def _propose(
    suite: CipherSuite,
    sender: Sender,
    signature_secret: Secret,
    proposal: Proposal,
    group_id: bytes,
    epoch: int,
) -> bytes:
    content = FramedContent(group_id, epoch, sender, b"", ProposalContent(proposal))
    signature = sign_content(suite, signature_secret, WireFormat.PUBLIC_MESSAGE, content, b"")
    return encode_message(PublicMessage(content, AuthData(signature), b""))
