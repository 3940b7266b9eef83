"""Rules for messages to a group (RFC 9420, sections 6, 12.1.8 and 12.4)."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "check_confirmation_tag",
    "check_membership_tag",
    "check_message_signature",
    "check_not_public_application",
    "check_padding",
    "check_sender_is_member",
]


@rule("message-private-application", "6")
def check_not_public_application(is_application: bool) -> None:
    """Application data is never sent in a public message."""
    if is_application:
        raise BrokenRuleError("application data came in a public message")


@rule("message-sender", "6.3.2")
def check_sender_is_member(leaf: LeafNode | None) -> LeafNode:
    """A message's sender is a member."""
    if leaf is None:
        raise BrokenRuleError("the sender is not a member")
    return leaf


@rule("message-padding", "6.3.1")
def check_padding(padding: bytes) -> None:
    """Padding is all zero."""
    if padding.count(0) != len(padding):
        raise BrokenRuleError("the padding is not zero")


@rule("message-signature", "6.1")
def check_message_signature(suite: CipherSuite, public: bytes, tbs: bytes, signature: bytes) -> None:
    """A message is signed by its sender."""
    suite.verify_with_label(public, b"FramedContentTBS", tbs, signature)


@rule("message-membership-tag", "6.2")
def check_membership_tag(expected: bytes, tag: bytes) -> None:
    """A member's public message has the membership tag of the epoch."""
    if not hmac.compare_digest(expected, tag):
        raise BrokenRuleError("the membership tag is wrong")


@rule("confirmation-tag", "6.1")
def check_confirmation_tag(expected: bytes, tag: bytes) -> None:
    """A commit has the confirmation tag of the epoch it leads to."""
    if not hmac.compare_digest(expected, tag):
        raise BrokenRuleError("the confirmation tag is wrong")
