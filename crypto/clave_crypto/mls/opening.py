"""From a message to content whose sender is certain (RFC 9420, section 6). Changes no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import OwnMessageError, UnsupportedError
from clave_crypto.mls.events import Application
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthenticatedContent,
    MemberSender,
    PrivateMessage,
    PublicMessage,
)
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.protection import content_tbs, membership_tag, open_content, open_sender_data
from clave_crypto.mls.rules.message import (
    check_membership_tag,
    check_message_signature,
    check_not_public_application,
    check_sender_is_member,
)
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["VerifiedContent", "open_private", "open_public"]


@dataclass(frozen=True)
class VerifiedContent:
    """Content that the member at leaf `sender` signed in this group and epoch."""

    authenticated: AuthenticatedContent
    sender: int
    leaf: LeafNode

    def application(self) -> Application:
        """Return the application data it carries; only for content of that type."""
        framed = self.authenticated.content
        assert isinstance(framed.body, ApplicationData)  # noqa: S101 - the caller looked at the type
        return Application(
            self.sender,
            self.leaf.signature_key,
            self.leaf.credential.identity,
            framed.epoch,
            framed.body.data,
            framed.authenticated_data,
        )


def open_private(
    suite: CipherSuite,
    message: PrivateMessage,
    *,
    context: bytes,
    sender_data_secret: Secret,
    secret_tree: SecretTree,
    find_leaf: Callable[[int], LeafNode | None],
    own_leaf: int,
) -> tuple[VerifiedContent, FoundKey]:
    """Open a private message of the epoch with this encoded context; the key is to be consumed on acceptance.

    Raises:
        OwnMessageError: this member sent it.
        DecryptionError, ReplayError, TooFarAheadError: no key opens it.
        MalformedError, ValidationError: its content is not what it should be, or not signed by its sender.

    """
    sender = open_sender_data(suite, sender_data_secret, message)
    leaf = check_sender_is_member(find_leaf(sender.leaf_index))
    if sender.leaf_index == own_leaf:
        raise OwnMessageError("the message is this member's own")
    found = secret_tree.find(sender.leaf_index, message.content_type, sender.generation)
    authenticated = open_content(suite, message, sender, found)
    _verify(suite, authenticated, leaf, context)
    return VerifiedContent(authenticated, sender.leaf_index, leaf), found


def open_public(epoch: Epoch, message: PublicMessage) -> VerifiedContent:
    """Verify a public message of the current epoch.

    Raises:
        OwnMessageError: this member sent it.
        UnsupportedError: its sender is not a member.
        ValidationError: not from a member, not signed by it, or application data.

    """
    sender = message.content.sender
    check_not_public_application(isinstance(message.content.body, ApplicationData))
    if not isinstance(sender, MemberSender):
        raise UnsupportedError("messages from outside the group are not supported")
    leaf = check_sender_is_member(epoch.tree.leaf(sender.leaf_index))
    expected = membership_tag(epoch.suite, epoch.secrets.membership_key, message, epoch.context_bytes)
    check_membership_tag(expected, message.membership_tag)
    if sender.leaf_index == epoch.own_leaf:
        raise OwnMessageError("the message is this member's own")
    authenticated = AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, message.content, message.auth)
    _verify(epoch.suite, authenticated, leaf, epoch.context_bytes)
    return VerifiedContent(authenticated, sender.leaf_index, leaf)


def _verify(suite: CipherSuite, authenticated: AuthenticatedContent, leaf: LeafNode, context: bytes) -> None:
    tbs = content_tbs(authenticated.wire_format, authenticated.content, context)
    check_message_signature(suite, leaf.signature_key, tbs, authenticated.auth.signature)
