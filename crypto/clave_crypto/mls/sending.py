"""Framing, signing and protecting messages to a group (RFC 9420, sections 6.1 to 6.3).

Uses up no keys: the caller consumes the key that it passes.
"""

from __future__ import annotations

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    CommitAuthData,
    FramedContent,
    ProposalContent,
    PublicMessage,
    encode_message,
)
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.padding import Padding
from clave_crypto.mls.proposals import Commit
from clave_crypto.mls.protection import membership_tag, seal_content, sign_content
from clave_crypto.mls.secret_tree import FoundKey
from clave_crypto.mls.senders import MemberSender, Sender
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["frame", "protect", "sign", "wire_format_of"]


def frame(
    context: GroupContext,
    sender: Sender,
    body: ApplicationData | ProposalContent | Commit,
    authenticated_data: bytes,
) -> FramedContent:
    """Return `body` as content from `sender` in the epoch of `context`."""
    return FramedContent(context.group_id, context.epoch, sender, authenticated_data, body)


def wire_format_of(found: FoundKey | None) -> WireFormat:
    """Return the wire format of content: private if there is a key for it, else public."""
    return WireFormat.PUBLIC_MESSAGE if found is None else WireFormat.PRIVATE_MESSAGE


def sign(epoch: Epoch, content: FramedContent, found: FoundKey | None) -> bytes:
    """Return this client's signature of content that will be protected with `found`."""
    return sign_content(
        epoch.suite, epoch.signature_secret, wire_format_of(found), content, epoch.context_bytes
    )


def protect(
    epoch: Epoch,
    content: FramedContent,
    auth: AuthData | CommitAuthData,
    found: FoundKey | None,
    *,
    padding: Padding,
    random: RandomBytes,
) -> bytes:
    """Return signed content as an MLSMessage: encrypted with `found`, or unencrypted if that is None."""
    if found is None:
        message = PublicMessage(content, auth, b"")
        if isinstance(content.sender, MemberSender):
            tag = membership_tag(epoch.suite, epoch.secrets.membership_key, message, epoch.context_bytes)
            message = PublicMessage(content, auth, tag)
        return encode_message(message)
    return encode_message(
        seal_content(
            epoch.suite,
            content,
            auth,
            sender_leaf=epoch.own_leaf,
            sender_data_secret=epoch.secrets.sender_data_secret,
            found=found,
            padding=padding,
            random=random,
        )
    )
