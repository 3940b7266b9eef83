"""Decrypt messages and verify their senders (RFC 9420, section 6). Changes no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import OwnMessageError
from clave_crypto.mls.events import Application
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthenticatedContent,
    PrivateMessage,
    PublicMessage,
)
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.protection import content_tbs, membership_tag, open_content, open_sender_data
from clave_crypto.mls.rules.external import (
    check_external_sender_content,
    check_joiner_content,
    check_joiner_proposal,
    check_path_in_external_commit,
    find_external_sender,
)
from clave_crypto.mls.rules.message import (
    check_membership_tag,
    check_message_signature,
    check_not_public_application,
    check_sender_is_member,
)
from clave_crypto.mls.rules.proposal import check_self_remove_sender
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    Sender,
)
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["VerifiedContent", "VerifyLater", "open_private", "open_public", "open_self_remove"]

VerifyLater = Callable[[Callable[[], None]], None]
"""Takes the check of a signature, to call later, also in another thread; it raises what verifying raises."""


@dataclass(frozen=True)
class VerifiedContent:
    """Content that `sender` signed, in this group and epoch."""

    authenticated: AuthenticatedContent
    sender: Sender


def open_private(
    suite: CipherSuite,
    message: PrivateMessage,
    *,
    context: bytes,
    sender_data_secret: Secret,
    secret_tree: SecretTree,
    find_leaf: Callable[[int], LeafNode | None],
    own_leaf: int,
    verify_later: VerifyLater | None = None,
) -> tuple[VerifiedContent, Application | None, FoundKey]:
    """Decrypt and verify a private message of the epoch with this encoded context.

    Return its content, the application data if it has any, and its key: consume that once all is accepted.
    The check of application data's signature is passed to `verify_later`, if given, in place of being made.

    Raises:
        OwnMessageError: it claims this member as its sender, as any member can: no proof of delivery.
        DecryptionError, ReplayError, TooFarAheadError: no key of this member decrypts it.
        MalformedError, ValidationError: its content is not what it should be, or not signed by its sender.

    """
    sender = open_sender_data(suite, sender_data_secret, message)
    leaf = check_sender_is_member(find_leaf(sender.leaf_index))
    if sender.leaf_index == own_leaf:
        raise OwnMessageError("the message is this member's own")
    found = secret_tree.find(sender.leaf_index, message.content_type, sender.generation)
    authenticated = open_content(suite, message, sender, found)
    application = None
    body = authenticated.content.body
    if verify_later is None or not isinstance(body, ApplicationData):
        _verify(suite, authenticated, leaf.signature_key, context)
    else:
        tbs, signature = _signed(authenticated, context)
        verify_later(partial(check_message_signature, suite, leaf.signature_key, tbs, signature))
    if isinstance(body, ApplicationData):
        application = Application(
            sender.leaf_index,
            leaf.signature_key,
            leaf.credential.identity,
            message.epoch,
            body.data,
            message.authenticated_data,
        )
    return VerifiedContent(authenticated, MemberSender(sender.leaf_index)), application, found


def open_public(epoch: Epoch, message: PublicMessage) -> VerifiedContent:
    """Verify a public message of the current epoch, from a member or from outside.

    Raises:
        OwnMessageError: this member sent it.
        ValidationError: not signed by its sender, or not what such a sender may send.

    """
    content = message.content
    sender, body = content.sender, content.body
    check_not_public_application(isinstance(body, ApplicationData))
    match sender:
        case MemberSender(leaf_index):
            signature_key = check_sender_is_member(epoch.leaf(leaf_index)).signature_key
            expected = membership_tag(epoch.suite, epoch.secrets.membership_key, message, epoch.context_bytes)
            check_membership_tag(expected, message.membership_tag)
        case ExternalSenderIndex(sender_index):
            signature_key = find_external_sender(epoch.context.extensions, sender_index).signature_key
            check_external_sender_content(body)
        case NewMemberProposalSender():
            signature_key = check_joiner_proposal(body).key_package.leaf_node.signature_key
        case NewMemberCommitSender():
            path = check_path_in_external_commit(check_joiner_content(body))
            signature_key = path.leaf_node.signature_key
    authenticated = AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, content, message.auth)
    _verify(epoch.suite, authenticated, signature_key, epoch.context_bytes)
    if sender == MemberSender(epoch.own_leaf):
        raise OwnMessageError("the message is this member's own")
    return VerifiedContent(authenticated, sender)


def open_self_remove(epoch: Epoch, message: PublicMessage) -> VerifiedContent:
    """Verify a SelfRemove of the current epoch without its membership tag, which those outside cannot check.

    Raises:
        ValidationError: not sent by a member, or not signed by it.

    """
    sender = message.content.sender
    leaf = epoch.tree.leaf(check_self_remove_sender(epoch.tree, sender))
    authenticated = AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, message.content, message.auth)
    _verify(epoch.suite, authenticated, check_sender_is_member(leaf).signature_key, epoch.context_bytes)
    return VerifiedContent(authenticated, sender)


def _verify(
    suite: CipherSuite, authenticated: AuthenticatedContent, signature_key: bytes, context: bytes
) -> None:
    check_message_signature(suite, signature_key, *_signed(authenticated, context))


def _signed(authenticated: AuthenticatedContent, context: bytes) -> tuple[bytes, bytes]:
    """Return what is signed (FramedContentTBS) and its signature."""
    tbs = content_tbs(authenticated.wire_format, authenticated.content, context)
    return tbs, authenticated.auth.signature
