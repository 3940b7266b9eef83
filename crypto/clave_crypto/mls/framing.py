"""Structs of messages and of what is authenticated in them (RFC 9420, section 6). Encrypts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clave_crypto.codec import Struct, Write, struct, u64
from clave_crypto.errors import DecodeError
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.errors import MalformedError, undecodable
from clave_crypto.mls.key_package import KeyPackage
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.proposals import Commit, ContentType, Proposal
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
)
from clave_crypto.mls.welcome import GroupInfo, Welcome
from clave_crypto.mls.wire_format import WireFormat

__all__ = [
    "ApplicationData",
    "AuthData",
    "AuthenticatedContent",
    "CommitAuthData",
    "FramedContent",
    "MLSMessage",
    "PrivateMessage",
    "PrivateMessageContent",
    "ProposalContent",
    "PublicMessage",
    "authenticated_data",
    "decode_key_package",
    "decode_message",
    "encode_message",
    "peek",
]


@struct(tag=ContentType.APPLICATION)
class ApplicationData(Struct):
    """The application's bytes."""

    data: bytes


@struct(tag=ContentType.PROPOSAL)
class ProposalContent(Struct):
    """A proposal that is sent by itself."""

    proposal: Proposal


@struct()
class FramedContent(Struct):
    """A message's group, epoch, sender and content (section 6)."""

    group_id: bytes
    epoch: u64
    sender: MemberSender | ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
    authenticated_data: bytes
    body: ApplicationData | ProposalContent | Commit


@struct()
class AuthData(Struct):
    """FramedContentAuthData of anything but a commit."""

    signature: bytes


@struct()
class CommitAuthData(Struct):
    """FramedContentAuthData of a commit."""

    signature: bytes
    confirmation_tag: bytes


@struct()
class _WireFormatField(Struct):
    wire_format: WireFormat


@struct()
class _Mac(Struct):
    mac: bytes


def _auth_type(body: Struct | type[Struct]) -> type[AuthData | CommitAuthData]:
    return CommitAuthData if body.tag == Commit.tag else AuthData


@dataclass(frozen=True, slots=True)
class AuthenticatedContent(Struct):
    """Content and what authenticates it (section 6); decoded, not verified."""

    wire_format: WireFormat
    content: FramedContent
    auth: AuthData | CommitAuthData

    def write(self, w: Write) -> None:
        """Pass the encoding to `w`."""
        w(self.wire_format.to_bytes(2, "big"))
        self.content.write(w)
        self.auth.write(w)

    @staticmethod
    def read(data: bytes, at: int, end: int) -> tuple[AuthenticatedContent, int]:
        """Read one at `at`; return it and the offset after it."""
        header, at = _WireFormatField.read(data, at, end)
        content, at = FramedContent.read(data, at, end)
        auth, at = _auth_type(content.body).read(data, at, end)
        return AuthenticatedContent(header.wire_format, content, auth), at


@dataclass(frozen=True, slots=True)
class PublicMessage(Struct):
    """A signed, unencrypted message (section 6.2). `membership_tag` is empty unless a member sent it."""

    tag: ClassVar[bytes] = WireFormat.PUBLIC_MESSAGE.to_bytes(2, "big")

    content: FramedContent
    auth: AuthData | CommitAuthData
    membership_tag: bytes

    def write(self, w: Write) -> None:
        """Pass the encoding to `w`."""
        self.content.write(w)
        self.auth.write(w)
        if isinstance(self.content.sender, MemberSender):
            _Mac(self.membership_tag).write(w)

    @staticmethod
    def read(data: bytes, at: int, end: int) -> tuple[PublicMessage, int]:
        """Read one at `at`; return it and the offset after it."""
        content, at = FramedContent.read(data, at, end)
        auth, at = _auth_type(content.body).read(data, at, end)
        membership_tag = b""
        if isinstance(content.sender, MemberSender):
            membership, at = _Mac.read(data, at, end)
            membership_tag = membership.mac
        return PublicMessage(content, auth, membership_tag), at


@struct(tag=WireFormat.PRIVATE_MESSAGE)
class PrivateMessage(Struct):
    """An encrypted message (section 6.3)."""

    group_id: bytes
    epoch: u64
    content_type: ContentType
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class PrivateMessageContent:
    """The plaintext of a private message (section 6.3.1), without its padding."""

    body: ApplicationData | ProposalContent | Commit
    auth: AuthData | CommitAuthData

    def encode(self) -> bytes:
        """Return the encoding."""
        return self.body.encode() + self.auth.encode()

    @classmethod
    def decode(cls, content_type: ContentType, data: bytes) -> tuple[PrivateMessageContent, bytes]:
        """Return the content and the padding after it.

        Raises:
            DecodeError: `data` does not begin with content of that type.

        """
        body_type = _BODY_TYPES[content_type]
        body, at = body_type.read(data, 0, len(data))
        auth, at = _auth_type(body_type).read(data, at, len(data))
        return cls(body, auth), data[at:]


_BODY_TYPES: dict[ContentType, type[Struct]] = {
    ContentType.APPLICATION: ApplicationData,
    ContentType.PROPOSAL: ProposalContent,
    ContentType.COMMIT: Commit,
}


MLSMessage = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage
"""What an MLSMessage can hold (section 6)."""


@struct()
class _MLSMessage(Struct):
    version: ProtocolVersion
    body: PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage


@checked
def encode_message(message: MLSMessage) -> bytes:
    """Return the encoded MLSMessage that holds `message`."""
    return _MLSMessage(ProtocolVersion.MLS10, message).encode()


@checked
def decode_message(data: bytes) -> MLSMessage:
    """Return what the encoded MLSMessage holds; nothing in it is verified.

    Raises:
        MalformedError: `data` is not an encoded MLSMessage.
        UnsupportedError: it has a version or kind of content that this library does not know.

    """
    try:
        return _MLSMessage.decode(data).body
    except DecodeError as error:
        raise undecodable("the message", error) from error


@checked
def decode_key_package(data: bytes) -> KeyPackage:
    """Return the key package in an encoded MLSMessage; it is not verified.

    Raises:
        MalformedError: `data` is not an encoded key package message.

    """
    message = decode_message(data)
    if not isinstance(message, KeyPackage):
        raise MalformedError("the message is not a key package")
    return message


def peek(data: bytes) -> tuple[bytes, int, ContentType]:
    """Return (group id, epoch, content type) that an encoded group message claims; nothing is verified.

    Raises:
        MalformedError: `data` is not an encoded group message.

    """
    message = decode_message(data)
    match message:
        case PrivateMessage():
            return message.group_id, message.epoch, message.content_type
        case PublicMessage():
            content = message.content
            return content.group_id, content.epoch, ContentType(content.body.tag[0])
        case _:
            raise MalformedError("the message is not a group message")


def authenticated_data(data: bytes) -> bytes:
    """Return the unencrypted authenticated_data of an encoded group message (section 6).

    Nothing is verified: anyone who relays the message can change this, until a member decrypts the message.

    Raises:
        MalformedError: `data` is not an encoded group message.

    """
    message = decode_message(data)
    match message:
        case PrivateMessage():
            return message.authenticated_data
        case PublicMessage():
            return message.content.authenticated_data
        case _:
            raise MalformedError("the message is not a group message")
