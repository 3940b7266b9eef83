"""Messages from outside the group that must be refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from clave_crypto.mls import (
    Add,
    BasicCredential,
    Extension,
    ExtensionType,
    ExternalPsk,
    ExternalSender,
    ExternalSenderIndex,
    ExternalSenders,
    GroupContextExtensions,
    GroupView,
    MalformedError,
    NewMemberCommitSender,
    NewMemberProposalSender,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    Remove,
    ResumptionPsk,
    ResumptionUsage,
    SelfRemove,
    Update,
    encode_message,
    new_psk_id,
    propose_externally,
    propose_join,
)
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    CommitAuthData,
    FramedContent,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.leaf_node import CommitSource, sign_leaf_node
from clave_crypto.mls.proposals import Commit, ExternalInit, ProposalByReference, ProposalByValue
from clave_crypto.mls.protection import sign_content
from clave_crypto.mls.wire_format import WireFormat
from forgekit import forged_entry
from groupkit import NOW, SUITE, Party, form
from rulekit import breaks, proves, refused


def entry() -> tuple[Party, Party, bytes, Commit]:
    """Return a member, a joiner, the joiner's external commit, and what it says."""
    red, _, _ = form("red", "blue", "green")
    joiner = Party("white")
    message = joiner.enters(red.group.group_info())
    decoded = decode_message(message)
    assert isinstance(decoded, PublicMessage)
    assert isinstance(decoded.content.body, Commit)
    return red, joiner, message, decoded.content.body


SHARED = PreSharedKey(new_psk_id(SUITE, ExternalPsk(b"key")))
SHORT = PreSharedKey(PreSharedKeyID(ExternalPsk(b"key"), b"short"))
BRANCHED = PreSharedKey(new_psk_id(SUITE, ResumptionPsk(ResumptionUsage.BRANCH, b"room", 0)))

Covered = Callable[[Any], Sequence[Any]]
BAD_ENTRIES: list[tuple[str, Covered]] = [
    ("proposal-known", lambda init: (init, ProposalByReference(bytes(32)))),
    ("self-remove-by-reference", lambda init: (init, SelfRemove())),
    ("external-commit-one-init", lambda init: ()),
    ("external-commit-one-init", lambda init: (init, init)),
    ("external-commit-one-remove", lambda init: (init, Remove(1), Remove(2))),
    ("external-commit-kinds", lambda init: (init, GroupContextExtensions(()))),
    ("external-commit-kinds", lambda init: (init, Add(Party("grey").offer().key_package))),
    ("commit-psks-unique", lambda init: (init, SHARED, SHARED)),
    ("psk-nonce", lambda init: (init, SHORT)),
    ("psk-usage", lambda init: (init, BRANCHED)),
    ("remove-member", lambda init: (init, Remove(7))),
]


@proves(*(rule_id for rule_id, _ in BAD_ENTRIES))
@pytest.mark.parametrize(("rule_id", "covered"), BAD_ENTRIES)
def test_bad_external_commit(rule_id: str, covered: Covered) -> None:
    red, joiner, message, commit = entry()
    (init,) = commit.proposals
    named = tuple(
        one if isinstance(one, ProposalByValue | ProposalByReference) else ProposalByValue(one)
        for one in covered(init)
    )
    refused(red, forged_entry(red.group, joiner, message, proposals=named), rule_id)


@proves("external-commit-by-value")
def test_external_commit_that_covers_a_pending_remove() -> None:
    red, joiner, message, commit = entry()
    red.group.propose(Remove(1), now=NOW)
    ((reference, _, _),) = red.group.pending_proposals
    named = (*commit.proposals, ProposalByReference(reference))
    refused(red, forged_entry(red.group, joiner, message, proposals=named), "external-commit-by-value")


@proves("external-commit-path")
def test_external_commit_without_a_path() -> None:
    red, joiner, message, _ = entry()
    refused(red, forged_entry(red.group, joiner, message, path=None), "external-commit-path")


@proves("message-signature")
def test_external_commit_signed_by_another() -> None:
    red, _, message, _ = entry()
    refused(red, forged_entry(red.group, Party("mallory"), message), "message-signature")


@proves("leaf-signature")
def test_external_commit_signed_for_another_place_in_the_tree() -> None:
    red, joiner, message, commit = entry()
    removing = (*commit.proposals, ProposalByValue(Remove(1)))
    refused(red, forged_entry(red.group, joiner, message, proposals=removing), "leaf-signature")


@proves("encryption-key-fresh")
def test_external_commit_with_the_key_of_the_client_it_removes() -> None:
    red, blue, _ = form("red", "blue", "green")
    joiner = Party("blue")
    message = joiner.enters(red.group.group_info(), removes=1)
    decoded = decode_message(message)
    assert isinstance(decoded, PublicMessage)
    assert isinstance(decoded.content.body, Commit)
    assert decoded.content.body.path is not None
    path = decoded.content.body.path
    stale = sign_leaf_node(
        SUITE,
        joiner.signature_secret,
        path.leaf_node,
        encryption_key=blue.group.member(1).leaf.encryption_key,
        source=CommitSource(b""),
        group_id=b"room",
        leaf_index=1,
    )
    forged = forged_entry(red.group, joiner, message, path=type(path)(stale, path.nodes))
    refused(red, forged, "encryption-key-fresh")


@proves("leaf-signature-keys-unique")
def test_external_commit_of_a_member_who_stays() -> None:
    red, blue = form("red", "blue")
    with breaks("leaf-signature-keys-unique"):
        blue.enters(red.group.group_info())


def outside(group: GroupView, sender: Any, body: Any, signer: Party) -> bytes:
    """Return any body as a message from outside, signed as an outside client can."""
    content = FramedContent(group.group_id, group.epoch, sender, b"", body)
    signature = sign_content(SUITE, signer.signature_secret, WireFormat.PUBLIC_MESSAGE, content, b"")
    commits = isinstance(body, Commit)
    auth = CommitAuthData(signature, b"") if commits else AuthData(signature)
    return encode_message(PublicMessage(content, auth, b""))


@proves("joiner-commit-content", "joiner-proposal")
@pytest.mark.parametrize(
    ("rule_id", "sender", "body"),
    [
        ("joiner-commit-content", NewMemberCommitSender(), ProposalContent(Remove(1))),
        ("joiner-proposal", NewMemberProposalSender(), ProposalContent(Remove(1))),
        ("joiner-proposal", NewMemberProposalSender(), Commit((), None)),
    ],
)
def test_new_members_may_send_nothing_else(rule_id: str, sender: Any, body: Any) -> None:
    red, _ = form("red", "blue")
    refused(red, outside(red.group, sender, body, Party("white")), rule_id)


@proves("message-private-application")
@pytest.mark.parametrize(
    "sender", [NewMemberCommitSender(), NewMemberProposalSender(), ExternalSenderIndex(0)]
)
def test_nobody_outside_sends_application_data(sender: Any) -> None:
    red, _ = form("red", "blue", extensions=[watched_by(Party("watcher"))])
    message = outside(red.group, sender, ApplicationData(b"hi"), Party("white"))
    refused(red, message, "message-private-application")


def watched_by(*watchers: Party) -> Extension:
    senders = tuple(
        ExternalSender(SUITE.signature.public_key(one.signature_secret), BasicCredential(one.name.encode()))
        for one in watchers
    )
    return Extension(ExtensionType.EXTERNAL_SENDERS, ExternalSenders(senders).encode())


def proposes(watcher: Party, proposal: Proposal, index: int = 0) -> bytes:
    return propose_externally(SUITE, index, watcher.signature_secret, proposal, b"room", 1)


@proves("external-sender-known", "message-signature", "remove-member")
@pytest.mark.parametrize(
    ("rule_id", "name", "index", "removed"),
    [
        ("external-sender-known", "watcher", 1, 2),
        ("message-signature", "stranger", 0, 2),
        ("remove-member", "watcher", 0, 7),
    ],
)
def test_bad_external_proposal(rule_id: str, name: str, index: int, removed: int) -> None:
    watcher = Party("watcher")
    _, blue, _ = form("red", "blue", "green", extensions=[watched_by(watcher)])
    sender = watcher if name == "watcher" else Party(name)
    refused(blue, proposes(sender, Remove(removed), index), rule_id)


@proves("external-sender-content")
def test_proposals_that_only_members_may_make() -> None:
    watcher = Party("watcher")
    red, blue = form("red", "blue", extensions=[watched_by(watcher)])
    update = Update(red.group.member(0).leaf)
    with breaks("external-sender-content"):
        proposes(watcher, update)
    for body in (ProposalContent(update), ProposalContent(ExternalInit(b"")), Commit((), None)):
        message = outside(blue.group, ExternalSenderIndex(0), body, watcher)
        refused(blue, message, "external-sender-content")


@proves("external-senders-form")
def test_unfit_external_senders() -> None:
    red, _ = form("red", "blue")
    unfit = ExternalSenders((ExternalSender(bytes(32), BasicCredential(b"")),))
    extension = Extension(ExtensionType.EXTERNAL_SENDERS, unfit.encode())
    with breaks("external-senders-form", red):
        red.group.propose(GroupContextExtensions((extension,)), now=NOW)
    with breaks("external-senders-form"):
        Party("white").create(extensions=[extension])


def test_malformed_message_from_outside() -> None:
    red, _ = form("red", "blue")
    joining = propose_join(Party("white").offer(), b"room", red.group.epoch)
    for broken in (joining[:-1], joining + b"\0", b""):
        refused(red, broken, MalformedError)
