"""Messages that their sender could not have sent."""

from __future__ import annotations

import os
from dataclasses import replace

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    CipherSuite,
    DecryptionError,
    ExternalSenderIndex,
    MemberSender,
    OwnMessageError,
    Remove,
    UnsupportedError,
    WrongEpochError,
    WrongGroupError,
    encode_message,
)
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.protection import seal_content
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.sending import frame, sign
from forgekit import committed, forged, public, suite_as
from groupkit import SUITE, Party, form
from rulekit import proves, refused

REMOVAL = ProposalContent(Remove(2))


def test_public_proposal_is_accepted() -> None:
    red, blue, _ = form("red", "blue", "green")
    blue.sees(encode_message(public(red, REMOVAL)))
    assert [proposal for _, _, proposal in blue.group.pending_proposals] == [Remove(2)]


@proves("message-membership-tag")
def test_membership_tag() -> None:
    red, blue, _ = form("red", "blue", "green")
    good = public(red, REMOVAL)
    for tag in (b"", bytes(32), good.membership_tag[:-1], good.membership_tag + b"\0"):
        refused(blue, encode_message(replace(good, membership_tag=tag)), "message-membership-tag")


@proves("message-sender")
def test_sender_who_is_no_member() -> None:
    red, blue, _ = form("red", "blue", "green")
    for nobody in (3, 7):
        refused(blue, encode_message(public(red, REMOVAL, sender=MemberSender(nobody))), "message-sender")
        refused(blue, sealed_as(red, nobody), "message-sender")


def sealed_as(sender: Party, leaf_index: int) -> bytes:
    """Return a private message whose sender data names another leaf."""
    epoch = sender.group._epoch
    found = SecretTree(SUITE, 8, Secret(bytes(32))).find_next(0, ContentType.APPLICATION)
    content = frame(epoch.context, MemberSender(leaf_index), ApplicationData(b"boo"), b"")
    return encode_message(
        seal_content(
            SUITE,
            content,
            AuthData(sign(epoch, content, found)),
            sender_leaf=leaf_index,
            sender_data_secret=epoch.secrets.sender_data_secret,
            found=found,
            padding=pad_to_bucket,
            random=os.urandom,
        )
    )


@proves("message-signature")
def test_member_cannot_pose_as_another() -> None:
    red, blue, green = form("red", "blue", "green")
    someone_else = public(red, REMOVAL, sender=MemberSender(2))
    refused(blue, encode_message(someone_else), "message-signature")
    green.group._epoch = replace(green.group._epoch, signature_secret=Secret(os.urandom(32)))
    refused(blue, green.group.encrypt(b"hi"), "message-signature")
    green.group._epoch = replace(green.group._epoch, own_leaf=0, signature_secret=green.signature_secret)
    refused(blue, green.group.encrypt(b"hi"), "message-signature")
    assert blue.hears(red.group.encrypt(b"it is me")) == b"it is me"


@proves("message-private-application")
def test_application_data_in_the_clear() -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, encode_message(public(red, ApplicationData(b"hi"))), "message-private-application")


def test_public_message_of_another_group_or_epoch() -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, encode_message(public(red, REMOVAL, group_id=b"another")), WrongGroupError)
    for epoch in (0, 2):
        refused(blue, encode_message(public(red, REMOVAL, epoch=epoch)), WrongEpochError)
    refused(red, encode_message(public(red, REMOVAL)), OwnMessageError)


@proves("external-sender-known")
def test_outsider_whom_the_group_does_not_list() -> None:
    _, blue, _ = form("red", "blue", "green")
    outside = FramedContent(b"room", 1, ExternalSenderIndex(0), b"", REMOVAL)
    refused(blue, encode_message(PublicMessage(outside, AuthData(bytes(64)), b"")), "external-sender-known")


class Covert(CipherSuite):
    """Hides a byte in the padding of what it seals."""

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        hidden = plaintext[:-1] + b"x" if len(plaintext) >= 256 else plaintext
        return super().seal(key, nonce, aad, hidden)


@proves("message-padding")
def test_padding_that_is_not_zero() -> None:
    red, blue = form("red", "blue")
    red.group._epoch.tree.suite = suite_as(Covert, SUITE)
    refused(blue, red.group.encrypt(b"hi"), "message-padding")
    assert blue.hears(red.group.encrypt(b"", padding=lambda length: length)) == b""


class Talkative(CipherSuite):
    """Says more than it should about who sends."""

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return super().seal(key, nonce, aad, plaintext + b"me" if len(plaintext) == 12 else plaintext)


def test_sender_data_that_is_too_long() -> None:
    red, blue = form("red", "blue")
    red.group._epoch.tree.suite = suite_as(Talkative, SUITE)
    refused(blue, red.group.encrypt(b"hi"), DecryptionError)


def test_content_of_another_type_than_announced() -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged(red, Mistyped(b"\xff\xff")), UnsupportedError)
    message = decode_message(red.group.encrypt(b"hi"))
    assert isinstance(message, PrivateMessage)
    relabelled = encode_message(replace(message, content_type=ContentType.COMMIT))
    refused(blue, relabelled, DecryptionError)


class Mistyped(ApplicationData):
    """Announced as a proposal."""

    __slots__ = ()
    tag = ProposalContent.tag


@proves("confirmation-tag")
def test_wrong_confirmation_tag() -> None:
    red, blue = form("red", "blue")
    refused(blue, committed(red, init_secret=Secret(os.urandom(32))).message, "confirmation-tag")
