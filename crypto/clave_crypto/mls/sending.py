"""Signing and sealing this member's messages in its current epoch (RFC 9420, section 6.3)."""

from __future__ import annotations

from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    AuthenticatedContent,
    CommitAuthData,
    FramedContent,
    MemberSender,
    ProposalContent,
    encode_message,
)
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.padding import Padding
from clave_crypto.mls.proposals import Commit
from clave_crypto.mls.protection import content_type_of, seal_content, sign_content
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["frame", "seal", "send", "sign"]


def frame(
    epoch: Epoch, body: ApplicationData | ProposalContent | Commit, authenticated_data: bytes = b""
) -> FramedContent:
    """Return `body` as this member's content in `epoch`."""
    context = epoch.context
    return FramedContent(
        context.group_id, context.epoch, MemberSender(epoch.own_leaf), authenticated_data, body
    )


def sign(epoch: Epoch, content: FramedContent) -> bytes:
    """Return this member's signature of content that is sent encrypted."""
    return sign_content(
        epoch.suite, epoch.signature_secret, WireFormat.PRIVATE_MESSAGE, content, epoch.context_bytes
    )


def seal(
    epoch: Epoch,
    found: FoundKey,
    content: FramedContent,
    auth: AuthData | CommitAuthData,
    padding: Padding,
    random: RandomBytes,
) -> bytes:
    """Return signed content as an encrypted MLSMessage; the key it uses is for the caller to consume."""
    message = seal_content(
        epoch.suite,
        content,
        auth,
        sender_leaf=epoch.own_leaf,
        sender_data_secret=epoch.secrets.sender_data_secret,
        found=found,
        padding=padding,
        random=random,
    )
    return encode_message(message)


def send(
    epoch: Epoch,
    secret_tree: SecretTree,
    content: FramedContent,
    padding: Padding,
    random: RandomBytes,
) -> tuple[bytes, AuthenticatedContent]:
    """Sign and seal content other than a commit with the next key, and consume that key."""
    auth = AuthData(sign(epoch, content))
    found = secret_tree.find_next(epoch.own_leaf, content_type_of(content))
    message = seal(epoch, found, content, auth, padding, random)
    secret_tree.consume(found)
    return message, AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, content, auth)
