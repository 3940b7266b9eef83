"""Sign, encrypt and decrypt messages (RFC 9420, sections 6.1 to 6.3). Keeps no keys."""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.codec import encode_vector
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import DecryptionError, undecodable
from clave_crypto.mls.framing import (
    AuthData,
    AuthenticatedContent,
    CommitAuthData,
    FramedContent,
    PrivateMessage,
    PrivateMessageContent,
    PublicMessage,
)
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.padding import Padding
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.rules.message import check_padding
from clave_crypto.mls.secret_tree import FoundKey
from clave_crypto.mls.senders import MemberSender, NewMemberCommitSender
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.wire_format import WireFormat

__all__ = [
    "SenderData",
    "content_tbs",
    "content_type_of",
    "membership_tag",
    "open_content",
    "open_sender_data",
    "proposal_reference",
    "seal_content",
    "sign_content",
]

_REUSE_GUARD_SIZE = 4


@dataclass(frozen=True)
class SenderData:
    """Who sent a private message, and which key decrypts it (section 6.3.2)."""

    leaf_index: int
    generation: int
    reuse_guard: bytes


def content_type_of(content: FramedContent) -> ContentType:
    """Return the type of what `content` carries."""
    return ContentType(content.body.tag[0])


def content_tbs(wire_format: WireFormat, content: FramedContent, group_context: bytes) -> bytes:
    """Return the encoded FramedContentTBS (section 6.1)."""
    tbs = ProtocolVersion.MLS10.to_bytes(2, "big") + wire_format.to_bytes(2, "big") + content.encode()
    if isinstance(content.sender, MemberSender | NewMemberCommitSender):
        tbs += group_context
    return tbs


def sign_content(
    suite: CipherSuite,
    signature_secret: Secret,
    wire_format: WireFormat,
    content: FramedContent,
    group_context: bytes,
) -> bytes:
    """Return the signature of `content` for the given wire format."""
    tbs = content_tbs(wire_format, content, group_context)
    return suite.sign_with_label(signature_secret, b"FramedContentTBS", tbs)


def membership_tag(
    suite: CipherSuite, membership_key: Secret, message: PublicMessage, group_context: bytes
) -> bytes:
    """Return the membership_tag that `message` should carry (section 6.2)."""
    tbs = content_tbs(WireFormat.PUBLIC_MESSAGE, message.content, group_context)
    return suite.mac(membership_key, tbs + message.auth.encode())


def proposal_reference(suite: CipherSuite, authenticated: AuthenticatedContent) -> bytes:
    """Return the ProposalRef by which a commit names a proposal (section 5.2)."""
    return suite.ref_hash(b"MLS 1.0 Proposal Reference", authenticated.encode())


def seal_content(
    suite: CipherSuite,
    content: FramedContent,
    auth: AuthData | CommitAuthData,
    *,
    sender_leaf: int,
    sender_data_secret: Secret,
    found: FoundKey,
    padding: Padding,
    random: RandomBytes,
) -> PrivateMessage:
    """Encrypt signed content with a key just taken from the sender's ratchet (section 6.3)."""
    content_type = content_type_of(content)
    plaintext = PrivateMessageContent(content.body, auth).encode()
    plaintext += bytes(max(0, padding(len(plaintext)) - len(plaintext)))
    guard = random(_REUSE_GUARD_SIZE)
    header = _header(content.group_id, content.epoch, content_type)
    aad = header + encode_vector(content.authenticated_data)
    ciphertext = suite.seal(found.key, _guarded(found.nonce, guard), aad, plaintext)
    sender_data = sender_leaf.to_bytes(4, "big") + found.generation.to_bytes(4, "big") + guard
    key, nonce = sender_data_key_nonce(suite, sender_data_secret, ciphertext)
    return PrivateMessage(
        content.group_id,
        content.epoch,
        content_type,
        content.authenticated_data,
        suite.seal(key, nonce, header, sender_data),
        ciphertext,
    )


def open_sender_data(suite: CipherSuite, sender_data_secret: Secret, message: PrivateMessage) -> SenderData:
    """Return who sent `message` and which key decrypts it.

    Raises:
        DecryptionError: not encrypted in this epoch.

    """
    key, nonce = sender_data_key_nonce(suite, sender_data_secret, message.ciphertext)
    header = _header(message.group_id, message.epoch, message.content_type)
    opened = suite.open(key, nonce, header, message.encrypted_sender_data)
    if len(opened) != 8 + _REUSE_GUARD_SIZE:
        raise DecryptionError("the sender data has the wrong length")
    return SenderData(int.from_bytes(opened[:4], "big"), int.from_bytes(opened[4:8], "big"), opened[8:])


def open_content(
    suite: CipherSuite, message: PrivateMessage, sender: SenderData, found: FoundKey
) -> AuthenticatedContent:
    """Return the content of `message`; its signature is not verified.

    Raises:
        DecryptionError: the key does not decrypt it.
        MalformedError: the plaintext is not content of the type it claims.
        UnsupportedError: it has a type of proposal or credential that this library does not know.
        ValidationError: the padding is not zero.

    """
    header = _header(message.group_id, message.epoch, message.content_type)
    aad = header + encode_vector(message.authenticated_data)
    plaintext = suite.open(found.key, _guarded(found.nonce, sender.reuse_guard), aad, message.ciphertext)
    try:
        opened, padding = PrivateMessageContent.decode(message.content_type, plaintext)
    except DecodeError as error:
        raise undecodable("the message's content", error) from error
    check_padding(padding)
    content = FramedContent(
        message.group_id,
        message.epoch,
        MemberSender(sender.leaf_index),
        message.authenticated_data,
        opened.body,
    )
    return AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, content, opened.auth)


def sender_data_key_nonce(
    suite: CipherSuite, sender_data_secret: Secret, ciphertext: bytes
) -> tuple[Secret, Secret]:
    """Return the key and nonce of a message's sender data (section 6.3.2)."""
    sample = ciphertext[: suite.hash_size]
    key = suite.expand_with_label(sender_data_secret, b"key", sample, suite.key_size)
    return key, suite.expand_with_label(sender_data_secret, b"nonce", sample, suite.nonce_size)


def _header(group_id: bytes, epoch: int, content_type: ContentType) -> bytes:
    return encode_vector(group_id) + epoch.to_bytes(8, "big") + content_type.to_bytes(1, "big")


def _guarded(nonce: Secret, guard: bytes) -> bytes:
    mixed = bytes(a ^ b for a, b in zip(nonce, guard, strict=False))
    return mixed + nonce[len(mixed) :]
