"""Every rule of RFC 9420 that is checked: it refuses what it should, by its id, and accepts what is good."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    CipherSuite,
    DecryptionError,
    Extension,
    ExternalPsk,
    ExternalSenderIndex,
    GroupContextExtensions,
    KeyPackage,
    Limits,
    LocalError,
    MalformedError,
    MemberSender,
    MLSError,
    OwnMessageError,
    PolicyRejected,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    Remove,
    RequiredCapabilities,
    ResumptionPsk,
    ResumptionUsage,
    UnsupportedError,
    Update,
    WrongEpochError,
    WrongGroupError,
    X509Credential,
    encode_message,
)
from clave_crypto.mls.applying import apply_proposals
from clave_crypto.mls.committing import CommitMade, make_commit
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    CommitAuthData,
    FramedContent,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.key_schedule import derive_epoch, welcome_key_nonce
from clave_crypto.mls.leaf_node import (
    CommitSource,
    KeyPackageSource,
    UpdateSource,
    leaf_node_tbs,
    sign_leaf_node,
)
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import (
    Commit,
    ContentType,
    ExternalInit,
    ProposalByReference,
    ProposalByValue,
    ReInit,
)
from clave_crypto.mls.protection import membership_tag, sign_content
from clave_crypto.mls.psk import psk_secret
from clave_crypto.mls.ratchet_tree import ParentNode, RatchetTree, TreeNodes
from clave_crypto.mls.rules import key_package as key_package_rules
from clave_crypto.mls.rules import leaf as leaf_rules
from clave_crypto.mls.rules import path as path_rules
from clave_crypto.mls.rules import proposal as proposal_rules
from clave_crypto.mls.rules import tree as tree_rules
from clave_crypto.mls.rules import welcome as welcome_rules
from clave_crypto.mls.rules.registry import RULES
from clave_crypto.mls.sending import frame, protect, sign
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath, UpdatePathNode
from clave_crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from clave_crypto.mls.wire_format import WireFormat
from groupkit import DAY, NOW, SUITE, Party, Rules, form
from rulekit import TESTED, breaks, proves, refused

SMALL_ORDER = bytes([1]) + bytes(31)


def key_pair() -> bytes:
    return SUITE.kem.derive_key_pair(os.urandom(32))[1]


# Leaves and key packages


def offered(**changes: Any) -> KeyPackage:
    """Return a good key package with some fields of its leaf changed, everything signed again."""
    party = Party("blue")
    package = party.offer().key_package
    leaf = replace(package.leaf_node, **{"extensions": ()} | changes)
    if "signature" not in changes:
        tbs = leaf_node_tbs(leaf, b"", 0)
        leaf = replace(leaf, signature=SUITE.sign_with_label(party.signature_secret, b"LeafNodeTBS", tbs))
    return signed(party, replace(package, leaf_node=leaf))


def signed(party: Party, package: KeyPackage) -> KeyPackage:
    signature = SUITE.sign_with_label(party.signature_secret, b"KeyPackageTBS", package.tbs())
    return replace(package, signature=signature)


def capabilities(**changes: Any) -> Any:
    return replace(Party("blue").offer().key_package.leaf_node.capabilities, **changes)


BAD_LEAVES: list[tuple[str, Callable[[], KeyPackage]]] = [
    ("leaf-source", lambda: offered(source=UpdateSource())),
    ("leaf-source", lambda: offered(source=CommitSource(b""))),
    ("leaf-encryption-key", lambda: offered(encryption_key=bytes(32))),
    ("leaf-encryption-key", lambda: offered(encryption_key=b"\xff" * 32)),
    ("leaf-signature-key", lambda: offered(signature_key=SMALL_ORDER, signature=SMALL_ORDER + bytes(32))),
    ("leaf-signature", lambda: offered(signature=bytes(64))),
    ("leaf-signature", lambda: offered(signature_key=Party("x").offer().key_package.leaf_node.signature_key)),
    ("extensions-unique", lambda: offered(extensions=(Extension(1, b""), Extension(1, b"")))),
    ("leaf-extensions-listed", lambda: offered(extensions=(Extension(0xF001, b""),))),
    ("leaf-credential-listed", lambda: offered(capabilities=capabilities(credentials=(2,)))),
    ("leaf-protocol-listed", lambda: offered(capabilities=capabilities(versions=(2,)))),
    ("leaf-protocol-listed", lambda: offered(capabilities=capabilities(cipher_suites=(2,)))),
    ("leaf-lifetime", lambda: offered(source=KeyPackageSource(NOW + 1, NOW + 2))),
    ("leaf-lifetime", lambda: offered(source=KeyPackageSource(NOW - 2, NOW - 1))),
]


@proves(*(rule_id for rule_id, _ in BAD_LEAVES))
@pytest.mark.parametrize(("rule_id", "make"), BAD_LEAVES)
def test_bad_leaf_in_a_key_package(rule_id: str, make: Callable[[], KeyPackage]) -> None:
    package = make()
    red, blue = form("red", "blue")
    with breaks(rule_id):
        package.verify(policy=red.policy, now=NOW)
    with breaks(rule_id):
        red.group.commit([Add(package)], now=NOW)
    if rule_id != "leaf-lifetime":
        refused(blue, forged_proposal(red, Add(package)), rule_id)
        refused(blue, forged_commit(red, [Add(package)]), rule_id)


BAD_PACKAGES: list[tuple[str, Callable[[KeyPackage], KeyPackage]]] = [
    ("key-package-version", lambda one: replace(one, version=2)),
    ("key-package-init-key", lambda one: replace(one, init_key=bytes(32))),
    ("key-package-init-key", lambda one: replace(one, init_key=b"short")),
    ("key-package-init-key-differs", lambda one: replace(one, init_key=one.leaf_node.encryption_key)),
    ("extensions-unique", lambda one: replace(one, extensions=(Extension(9, b""), Extension(9, b"")))),
]


@proves(*(rule_id for rule_id, _ in BAD_PACKAGES))
@pytest.mark.parametrize(("rule_id", "change"), BAD_PACKAGES)
def test_bad_key_package(rule_id: str, change: Callable[[KeyPackage], KeyPackage]) -> None:
    red, blue = form("red", "blue")
    owner = Party("green")
    package = signed(owner, change(owner.offer().key_package))
    with breaks(rule_id):
        package.verify(policy=red.policy, now=NOW)
    refused(blue, forged_commit(red, [Add(package)]), rule_id)


@proves("key-package-signature", "key-package-suite")
def test_key_package_signature_and_suite() -> None:
    red, _ = form("red", "blue")
    package = Party("green").offer().key_package
    with breaks("key-package-signature"):
        replace(package, signature=bytes(64)).verify(policy=red.policy, now=NOW)
    with breaks("key-package-suite"):
        key_package_rules.check_key_package(SUITE, replace(package, cipher_suite=2), now=NOW)
    with pytest.raises(UnsupportedError):
        replace(package, cipher_suite=2).verify(policy=red.policy, now=NOW)


def test_unknown_extensions_and_capabilities_are_ignored() -> None:
    red, blue = form("red", "blue")
    grease = capabilities(extensions=(0x0A0A,), proposals=(0x1A1A,), credentials=(1, 0x2A2A))
    owner = Party("green")
    package = replace(owner.offer().key_package, extensions=(Extension(0x3A3A, b"grease"),))
    leaf = replace(package.leaf_node, capabilities=grease, extensions=(Extension(0x0A0A, b""),))
    tbs = leaf_node_tbs(leaf, b"", 0)
    leaf = replace(leaf, signature=SUITE.sign_with_label(owner.signature_secret, b"LeafNodeTBS", tbs))
    package = signed(owner, replace(package, leaf_node=leaf))
    verified = package.verify(policy=red.policy, now=NOW)
    assert verified.identity == b"green"
    assert verified.signature_key == leaf.signature_key
    red.commits([Add(package)], to=[blue])


@proves("leaf-lifetime-begun")
def test_add_from_the_future() -> None:
    red, blue = form("red", "blue")
    package = offered(source=KeyPackageSource(NOW + 2 * DAY, NOW + 3 * DAY))
    refused(blue, forged_proposal(red, Add(package)), "leaf-lifetime-begun")


@proves("leaves-unique")
def test_members_with_the_same_keys() -> None:
    red, blue, green = form("red", "blue", "green")
    leaves = [member.leaf for member in green.group.members()]
    leaf_rules.check_leaves_unique(leaves)
    for field in ("signature_key", "encryption_key"):
        twin = replace(leaves[1], **{field: getattr(leaves[0], field)})
        with breaks("leaves-unique"):
            leaf_rules.check_leaves_unique([leaves[0], twin])
    refused(blue, forged_commit(red, [Add(green.offer().key_package)]), "leaves-unique")


NEEDS: list[tuple[str, list[Extension], dict[str, Any]]] = [
    ("context-extensions-supported", [Extension(0xF001, b"")], {}),
    ("required-extensions", [Extension(3, RequiredCapabilities((0xF001,), (), ()).encode())], {}),
    ("required-proposals", [Extension(3, RequiredCapabilities((), (0xF001,), ()).encode())], {}),
    ("required-credentials", [Extension(3, RequiredCapabilities((), (), (3,)).encode())], {}),
    ("required-capabilities-form", [Extension(3, b"nonsense")], {}),
    ("extensions-unique", [Extension(5, b""), Extension(5, b"")], {}),
]


@proves(*(rule_id for rule_id, _, _ in NEEDS))
@pytest.mark.parametrize(("rule_id", "extensions", "options"), NEEDS)
def test_group_needs_what_a_member_lacks(
    rule_id: str, extensions: list[Extension], options: dict[str, Any]
) -> None:
    with breaks(rule_id):
        Party("red").create(extensions=extensions, **options)
    red, blue = form("red", "blue")
    proposal = GroupContextExtensions(tuple(extensions))
    with breaks(rule_id):
        red.group.commit([proposal], now=NOW)
    refused(blue, forged_commit(red, [proposal]), rule_id)


def test_default_capabilities_may_be_required() -> None:
    required = RequiredCapabilities((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (1,))
    red, blue = form("red", "blue", extensions=[Extension(3, required.encode())])
    assert red.group.extensions == blue.group.extensions


@proves("credentials-supported")
def test_credential_type_that_a_member_lacks() -> None:
    red, _ = form("red", "blue")
    x509 = X509Credential((b"certificate",))
    assert x509.identity == x509.encode()
    leaves = [member.leaf for member in red.group.members()]
    basic_only = replace(leaves[1], capabilities=capabilities(credentials=(1,)))
    leaf_rules.check_leaves_fit_group([leaves[0], basic_only], ())
    with breaks("credentials-supported"):
        leaf_rules.check_leaves_fit_group([replace(leaves[0], credential=x509), basic_only], ())


# Messages


def forged(sender: Party, body: Any, **changes: Any) -> bytes:
    """Return any body as a message its sender signed and sealed, some fields of the content changed."""
    epoch = sender.group._epoch
    content = replace(frame(epoch.context, MemberSender(epoch.own_leaf), body, b""), **changes)
    found = sender.group._secret_tree.find_next(sender.group.own_leaf, ContentType(body.tag[0]))
    signature = sign(epoch, content, found)
    auth = CommitAuthData(signature, b"") if isinstance(body, Commit) else AuthData(signature)
    sender.group._secret_tree.consume(found)
    return protect(epoch, content, auth, found, padding=pad_to_bucket, random=os.urandom)


def forged_proposal(sender: Party, proposal: Proposal) -> bytes:
    return forged(sender, ProposalContent(proposal))


def forged_commit(sender: Party, proposals: list[Any], **changes: Any) -> bytes:
    """Return a commit without checking what it covers; its path is a good one for covering nothing."""
    named = tuple(one if isinstance(one, ProposalByReference) else ProposalByValue(one) for one in proposals)
    if not changes:
        return committed(sender, named).message
    return forged(sender, Commit(named, **changes))


def committed(sender: Party, named: Sequence[Any] = (), init_secret: Secret | None = None) -> CommitMade:
    """Return a commit that names proposals and does what an empty one does."""
    epoch = sender.group._epoch
    return make_commit(
        epoch,
        MemberSender(epoch.own_leaf),
        apply_proposals(epoch, MemberSender(epoch.own_leaf), [], limits=Limits()),
        named,
        template=sender.group.member(epoch.own_leaf).leaf,
        init_secret=init_secret or epoch.secrets.init_secret,
        found=sender.group._secret_tree.find_next(epoch.own_leaf, ContentType.COMMIT),
        authenticated_data=b"",
        find_psk=lambda _: Secret(b"x"),
        limits=Limits(),
        random=os.urandom,
    )


def public(party: Party, body: Any, **changes: Any) -> PublicMessage:
    """Return a good public message, signed and tagged."""
    epoch = party.group._epoch
    content = replace(frame(epoch.context, MemberSender(epoch.own_leaf), body, b""), **changes)
    signature = sign_content(
        SUITE, epoch.signature_secret, WireFormat.PUBLIC_MESSAGE, content, epoch.context_bytes
    )
    message = PublicMessage(content, AuthData(signature), b"")
    tag = membership_tag(SUITE, epoch.secrets.membership_key, message, epoch.context_bytes)
    return replace(message, membership_tag=tag)


def test_public_proposal_is_accepted() -> None:
    red, blue, _ = form("red", "blue", "green")
    blue.sees(encode_message(public(red, ProposalContent(Remove(2)))))
    assert [proposal for _, _, proposal in blue.group.pending_proposals] == [Remove(2)]


@proves("message-membership-tag", "message-private-application", "message-sender", "message-signature")
def test_bad_public_messages() -> None:
    red, blue, _ = form("red", "blue", "green")
    good = public(red, ProposalContent(Remove(2)))
    refused(blue, encode_message(replace(good, membership_tag=bytes(32))), "message-membership-tag")
    nobody = public(red, ProposalContent(Remove(2)), sender=MemberSender(7))
    refused(blue, encode_message(nobody), "message-sender")
    someone_else = public(red, ProposalContent(Remove(2)), sender=MemberSender(2))
    refused(blue, encode_message(someone_else), "message-signature")
    refused(blue, encode_message(public(red, ApplicationData(b"hi"))), "message-private-application")
    with pytest.raises(WrongGroupError):
        blue.sees(encode_message(public(red, ProposalContent(Remove(2)), group_id=b"another")))
    with pytest.raises(WrongEpochError):
        blue.sees(encode_message(public(red, ProposalContent(Remove(2)), epoch=0)))
    with pytest.raises(OwnMessageError):
        red.sees(encode_message(good))
    outside = FramedContent(b"room", 1, ExternalSenderIndex(0), b"", ProposalContent(Remove(2)))
    refused(blue, encode_message(PublicMessage(outside, AuthData(bytes(64)), b"")), "external-sender-known")


def test_member_cannot_pose_as_another() -> None:
    red, blue, green = form("red", "blue", "green")
    green.group._epoch = replace(green.group._epoch, signature_secret=Secret(os.urandom(32)))
    refused(blue, green.group.encrypt(b"hi"), "message-signature")
    green.group._epoch = replace(green.group._epoch, own_leaf=0, signature_secret=green.signature_secret)
    refused(blue, green.group.encrypt(b"hi"), "message-signature")
    assert blue.hears(red.group.encrypt(b"it is me")) == b"it is me"


@proves("message-padding")
def test_padding_that_is_not_zero() -> None:
    class Covert(CipherSuite):
        def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
            hidden = plaintext[:-1] + b"x" if len(plaintext) >= 256 else plaintext
            return super().seal(key, nonce, aad, hidden)

    red, blue = form("red", "blue")
    fields = {name: getattr(SUITE, name) for name in CipherSuite.__dataclass_fields__ if name != "_hpke"}
    red.group._epoch.tree.suite = Covert(**fields)
    refused(blue, red.group.encrypt(b"hi"), "message-padding")
    assert blue.hears(red.group.encrypt(b"", padding=lambda length: length)) == b""


@proves("confirmation-tag")
def test_wrong_confirmation_tag() -> None:
    red, blue = form("red", "blue")
    refused(blue, committed(red, init_secret=Secret(os.urandom(32))).message, "confirmation-tag")


# Proposals and commits


@proves("update-sender", "remove-member", "psk-nonce", "psk-usage", "reinit-version", "encryption-key-fresh")
def test_bad_proposals() -> None:
    red, blue = form("red", "blue")
    own = red.group.member(0).leaf
    stale = sign_leaf_node(
        SUITE,
        red.signature_secret,
        own,
        encryption_key=own.encryption_key,
        source=UpdateSource(),
        group_id=b"room",
        leaf_index=0,
    )
    reinit_psk = ResumptionPsk(ResumptionUsage.REINIT, b"room", 0)
    for rule_id, proposal in (
        ("remove-member", Remove(5)),
        ("psk-nonce", PreSharedKey(PreSharedKeyID(ExternalPsk(b""), b"short"))),
        ("psk-usage", PreSharedKey(PreSharedKeyID(reinit_psk, bytes(32)))),
        ("reinit-version", ReInit(b"next", 0, 1, ())),
        ("encryption-key-fresh", Update(stale)),
    ):
        refused(blue, forged_proposal(red, proposal), rule_id)
    with breaks("update-sender"):
        proposal_rules.check_update_sender(red.group._epoch.tree, MemberSender(5))
    refused(blue, forged_proposal(red, ExternalInit(b"")), "external-init-sender")


def test_update_with_another_members_leaf_place() -> None:
    red, blue = form("red", "blue")
    misplaced = sign_leaf_node(
        SUITE,
        red.signature_secret,
        red.group.member(0).leaf,
        encryption_key=key_pair(),
        source=UpdateSource(),
        group_id=b"room",
        leaf_index=1,
    )
    refused(blue, forged_proposal(red, Update(misplaced)), "leaf-signature")


@proves(
    "proposal-known",
    "commit-no-own-update",
    "commit-committer-stays",
    "commit-one-change-per-leaf",
    "commit-adds-unique",
    "commit-psks-unique",
    "commit-one-group-context-extensions",
    "commit-path-present",
)
def test_bad_commits() -> None:
    red, blue, _ = form("red", "blue", "green")
    package = Party("white").offer().key_package
    psk = PreSharedKey(PreSharedKeyID(ExternalPsk(b""), bytes(32)))
    own_update = red.group.propose_update(now=NOW)
    blue.sees(own_update)
    ((reference, _, _),) = blue.group.pending_proposals
    for rule_id, proposals in (
        ("proposal-known", [ProposalByReference(bytes(32))]),
        ("commit-no-own-update", [ProposalByReference(reference)]),
        ("commit-committer-stays", [Remove(0)]),
        ("commit-one-change-per-leaf", [Remove(2), Remove(2)]),
        ("commit-adds-unique", [Add(package), Add(package)]),
        ("commit-psks-unique", [psk, psk]),
        ("commit-one-group-context-extensions", [GroupContextExtensions(()), GroupContextExtensions(())]),
    ):
        refused(blue, forged_commit(red, proposals), rule_id)
    for pathless in ([], [Remove(2)], [GroupContextExtensions(())]):
        refused(blue, forged_commit(red, pathless, path=None), "commit-path-present")


def test_commit_without_a_path_is_followed() -> None:
    """An Add needs no path; others may leave it out though this library never does."""
    red, blue = form("red", "blue")
    with breaks("confirmation-tag"):
        blue.sees(forged_commit(red, [Add(Party("green").offer().key_package)], path=None))


@proves("commit-reinit-alone", "commit-no-external-init")
def test_lists_with_reinit_and_external_init() -> None:
    reinit = ReInit(b"next", 1, 1, ())
    with breaks("commit-reinit-alone"):
        proposal_rules.check_proposal_list(0, [(1, reinit), (1, Remove(2))])
    with breaks("commit-no-external-init"):
        proposal_rules.check_proposal_list(0, [(1, ExternalInit(b""))])


# Paths


def good_path(sender: Party) -> UpdatePath:
    """Return a path that others accept, before anything in it is changed."""
    epoch = sender.group._epoch
    tree = committed(sender).epoch.tree
    leaf = tree.leaf(sender.group.own_leaf)
    assert leaf is not None
    nodes = []
    for node, copath in epoch.tree.filtered_direct_path(sender.group.own_leaf):
        parent = tree.parent_node(node)
        assert parent is not None
        nodes.append(
            UpdatePathNode(parent.encryption_key, tuple(ciphertext() for _ in tree.resolution(copath)))
        )
    return UpdatePath(leaf, tuple(nodes))


def ciphertext() -> Any:
    return HPKECiphertext(key_pair(), bytes(48))


def with_leaf(sender: Party, path: UpdatePath, **changes: Any) -> UpdatePath:
    """Return `path` with its leaf signed again after changes."""
    options = {"encryption_key": path.leaf_node.encryption_key, "source": path.leaf_node.source} | changes
    leaf = sign_leaf_node(
        SUITE,
        sender.signature_secret,
        path.leaf_node,
        group_id=b"room",
        leaf_index=sender.group.own_leaf,
        **options,
    )
    return UpdatePath(leaf, path.nodes)


def with_node(path: UpdatePath, **changes: Any) -> UpdatePath:
    return UpdatePath(path.leaf_node, (replace(path.nodes[0], **changes), *path.nodes[1:]))


BAD_PATHS: list[tuple[str, Callable[[Party, UpdatePath], UpdatePath]]] = [
    ("leaf-source", lambda red, path: with_leaf(red, path, source=UpdateSource())),
    (
        "leaf-signature",
        lambda red, path: UpdatePath(replace(path.leaf_node, signature=bytes(64)), path.nodes),
    ),
    ("encryption-key-fresh", lambda red, path: with_leaf(red, path, encryption_key=old_key(red))),
    ("path-keys-fit", lambda red, path: with_node(path, encryption_key=bytes(32))),
    ("path-keys-unique", lambda red, path: with_node(path, encryption_key=old_key(red))),
    ("path-keys-unique", lambda red, path: with_node(path, encryption_key=path.leaf_node.encryption_key)),
    ("path-length", lambda red, path: UpdatePath(path.leaf_node, path.nodes[1:])),
    (
        "path-length",
        lambda red, path: UpdatePath(path.leaf_node, (*path.nodes, UpdatePathNode(key_pair(), ()))),
    ),
    ("path-ciphertexts", lambda red, path: with_node(path, encrypted_path_secret=())),
    ("path-parent-hash", lambda red, path: with_node(path, encryption_key=key_pair())),
    ("path-parent-hash", lambda red, path: with_leaf(red, path, source=CommitSource(bytes(32)))),
]


def old_key(party: Party) -> bytes:
    return party.group.member(party.group.own_leaf).leaf.encryption_key


@proves(*(rule_id for rule_id, _ in BAD_PATHS))
@pytest.mark.parametrize(("rule_id", "change"), BAD_PATHS)
def test_bad_path(rule_id: str, change: Callable[[Party, UpdatePath], UpdatePath]) -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged_commit(red, [], path=change(red, good_path(red))), rule_id)


def test_path_that_does_not_open() -> None:
    red, blue, _ = form("red", "blue", "green")
    before = blue.group.state()
    with pytest.raises(MLSError):
        blue.sees(forged_commit(red, [], path=good_path(red)))
    assert blue.group.state() == before


@proves("path-secret-reachable", "path-keys-match")
def test_path_secrets() -> None:
    with breaks("path-secret-reachable"):
        path_rules.check_path_secret_reachable([])
    with breaks("path-keys-match"):
        path_rules.check_path_keys_match(ParentNode(key_pair(), b"", ()), key_pair())
    with breaks("path-keys-match"):
        path_rules.check_path_keys_match(None, key_pair())


# Trees


def grown() -> RatchetTree:
    """Return a tree of eight members, its parents set by several of them, leaf 7 unmerged at node 11."""
    parties = form(*(f"p{number}" for number in range(8)))
    parties[0].commits([Remove(7)], to=parties[1:7])
    parties[4].commits(to=[*parties[:4], *parties[5:7]])
    parties[0].adds(Party("late"), to=parties[1:7])
    tree = parties[0].group._epoch.tree
    parent = tree.parent_node(11)
    assert parent is not None
    assert parent.unmerged_leaves == (7,)
    return tree


def changed_parent(tree: RatchetTree, node: int, **changes: Any) -> RatchetTree:
    tree = tree.copy()
    parent = tree.parent_node(node)
    assert parent is not None
    tree.set_node(node, replace(parent, **changes))
    return tree


@proves(
    "tree-shape",
    "tree-hash",
    "tree-parent-keys",
    "tree-parent-keys-unique",
    "tree-unmerged-sorted",
    "tree-unmerged-leaves",
    "tree-unmerged-complete",
    "tree-parent-hash",
)
def test_bad_trees() -> None:
    good = grown()
    tree_rules.check_tree(good)
    nodes = good.contents().nodes
    for bad in ((), (*nodes, None), (nodes[1], *nodes[1:]), (nodes[0], nodes[0])):
        with breaks("tree-shape"):
            tree_rules.check_tree_shape(bad)
    with breaks("tree-hash"):
        tree_rules.check_tree_hash(good, bytes(32))
    leaf = good.leaf(0)
    assert leaf is not None
    for rule_id, node, changes in (
        ("tree-parent-keys", 3, {"encryption_key": bytes(32)}),
        ("tree-parent-keys-unique", 3, {"encryption_key": leaf.encryption_key}),
        ("tree-unmerged-sorted", 3, {"unmerged_leaves": (1, 0)}),
        ("tree-unmerged-sorted", 3, {"unmerged_leaves": (1, 1)}),
        ("tree-unmerged-leaves", 3, {"unmerged_leaves": (7,)}),
        ("tree-unmerged-complete", 7, {"unmerged_leaves": (6,)}),
        ("tree-parent-hash", 3, {"encryption_key": key_pair()}),
        ("tree-parent-hash", 1, {"parent_hash": bytes(32)}),
        ("tree-parent-hash", 11, {"unmerged_leaves": ()}),
    ):
        with breaks(rule_id):
            tree_rules.check_tree(changed_parent(good, node, **changes))
    without_late = good.copy()
    without_late.set_node(14, None)
    with breaks("tree-unmerged-leaves"):
        tree_rules.check_tree(without_late)


# Welcomes


@proves(
    "welcome-suite", "welcome-tree-given", "group-info-signer", "group-info-signature", "welcome-own-leaf"
)
def test_bad_welcomes() -> None:
    red, _ = form("red", "blue")
    epoch = red.group._epoch
    with breaks("welcome-suite"):
        welcome_rules.check_suites_agree(1, 1, 2)
    with breaks("welcome-tree-given"):
        welcome_rules.check_tree_given(None)
    info = GroupInfo(epoch.context, (), epoch.confirmation_tag, 6, b"")
    with breaks("group-info-signer"):
        welcome_rules.check_signer(epoch.tree, info)
    with breaks("group-info-signature"):
        welcome_rules.check_group_info_signature(SUITE, red.group.member(0).signature_key, info)
    with breaks("welcome-own-leaf"):
        welcome_rules.find_own_leaf(epoch.tree, Party("green").offer().key_package.leaf_node)


Forge = Callable[[GroupInfo, RatchetTree], tuple[GroupInfo, RatchetTree]]


class Forger:
    """A member who adds `victim` with a Welcome that is changed, then signed and sealed properly."""

    def __init__(self, *names: str) -> None:
        self.members = form("red", *names)
        self.red = self.members[0]
        self.victim = Party("victim")
        self.bundle = self.victim.offer()
        pending = self.red.group.commit([Add(self.bundle.key_package)], now=NOW)
        welcome = decode_message(pending.welcome or b"")
        assert isinstance(welcome, Welcome)
        self.welcome = welcome
        (entry,) = welcome.secrets
        opened = SUITE.decrypt_with_label(
            self.bundle.init_secret,
            b"Welcome",
            welcome.encrypted_group_info,
            entry.encrypted_group_secrets.kem_output,
            entry.encrypted_group_secrets.ciphertext,
        )
        self.secrets = GroupSecrets.decode(opened)
        key, nonce = welcome_key_nonce(SUITE, self.secrets.joiner_secret, psk_secret(SUITE, []))
        self.info = GroupInfo.decode(SUITE.open(key, nonce, b"", welcome.encrypted_group_info))
        self.tree = RatchetTree(SUITE, TreeNodes.decode(self.info.extensions[0].extension_data).nodes)

    def welcome_with(
        self,
        *,
        info: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        secrets: dict[str, Any] | None = None,
        tree: RatchetTree | bytes | None = None,
        signer: Party | None = None,
        tag: bytes | None = None,
    ) -> bytes:
        """Return a Welcome in which only what is given here is wrong."""
        changed: dict[str, Any] = {}
        encoded = self.tree.encode()
        if isinstance(tree, RatchetTree):
            encoded, changed["tree_hash"] = tree.encode(), tree.tree_hash()
        elif tree is not None:
            encoded = tree
        group_context = replace(self.info.group_context, **(changed | (context or {})))
        group_secrets = replace(self.secrets, **(secrets or {}))
        no_psk = psk_secret(SUITE, [])
        epoch, _ = derive_epoch(SUITE, group_secrets.joiner_secret, no_psk, group_context.encode())
        good_tag = SUITE.mac(epoch.confirmation_key, group_context.confirmed_transcript_hash)
        extensions = (Extension(2, encoded),)
        unsigned = GroupInfo(group_context, extensions, tag or good_tag, self.info.signer, b"")
        unsigned = replace(unsigned, **(info or {}))
        by = (signer or self.red).signature_secret
        signature = SUITE.sign_with_label(by, b"GroupInfoTBS", unsigned.tbs())
        key, nonce = welcome_key_nonce(SUITE, group_secrets.joiner_secret, no_psk)
        sealed_info = SUITE.seal(key, nonce, b"", replace(unsigned, signature=signature).encode())
        sealed = SUITE.encrypt_with_label(
            self.bundle.key_package.init_key, b"Welcome", sealed_info, group_secrets.encode()
        )
        entry = EncryptedGroupSecrets(self.bundle.reference, HPKECiphertext(*sealed))
        return encode_message(Welcome(SUITE.id, (entry,), sealed_info))

    def tree_with(self, node: int, **changes: Any) -> RatchetTree:
        tree = self.tree.copy()
        contents = tree.node(node)
        assert contents is not None
        tree.set_node(node, replace(contents, **changes))
        return tree


def test_a_forger_who_changes_nothing_is_believed() -> None:
    forger = Forger("blue", "green")
    forger.victim.join(forger.welcome_with())
    assert len(forger.victim.group.members()) == 4


def _reordered(forger: Forger) -> bytes:
    nodes = forger.tree.contents().nodes
    return TreeNodes((nodes[1], nodes[0], *nodes[2:])).encode()


def _without_victim(forger: Forger) -> RatchetTree:
    tree = forger.tree.copy()
    tree.remove_leaf(3)
    return tree


FORGERIES: list[tuple[str, Callable[[Forger], bytes]]] = [
    ("welcome-suite", lambda one: one.welcome_with(context={"cipher_suite": 2})),
    ("welcome-tree-given", lambda one: one.welcome_with(info={"extensions": ()})),
    ("extensions-unique", lambda one: one.welcome_with(info={"extensions": (Extension(9, b""),) * 2})),
    ("extensions-unique", lambda one: one.welcome_with(context={"extensions": (Extension(1, b""),) * 2})),
    (
        "context-extensions-supported",
        lambda one: one.welcome_with(context={"extensions": (Extension(0xF001, b""),)}),
    ),
    ("tree-shape", lambda one: one.welcome_with(tree=_reordered(one))),
    ("tree-hash", lambda one: one.welcome_with(context={"tree_hash": bytes(32)})),
    ("group-info-signer", lambda one: one.welcome_with(info={"signer": 2**31})),
    ("group-info-signature", lambda one: one.welcome_with(signer=one.members[1])),
    ("group-info-signature", lambda one: one.welcome_with(info={"signer": 1})),
    ("confirmation-tag", lambda one: one.welcome_with(tag=bytes(32))),
    (
        "welcome-own-leaf",
        lambda one: one.welcome_with(tree=_without_victim(one), secrets={"path_secret": None}),
    ),
    ("path-keys-match", lambda one: one.welcome_with(secrets={"path_secret": Secret(bytes(32))})),
    ("tree-parent-hash", lambda one: one.welcome_with(tree=one.tree_with(1, encryption_key=key_pair()))),
    ("tree-parent-keys", lambda one: one.welcome_with(tree=one.tree_with(1, encryption_key=bytes(32)))),
    ("leaf-signature", lambda one: one.welcome_with(tree=one.tree_with(0, signature=bytes(64)))),
    ("leaf-signature", lambda one: one.welcome_with(tree=one.tree_with(0, credential=BasicCredential(b"x")))),
]


@pytest.mark.parametrize(("rule_id", "forge"), FORGERIES)
def test_forged_welcome_is_refused(rule_id: str, forge: Callable[[Forger], bytes]) -> None:
    forger = Forger("blue", "green")
    with breaks(rule_id):
        forger.victim.join(forge(forger))


def test_malformed_group_secrets_and_branches_are_refused() -> None:
    forger = Forger("blue")
    branch = PreSharedKeyID(ResumptionPsk(ResumptionUsage.BRANCH, b"room", 0), bytes(32))
    with pytest.raises(LocalError):
        forger.victim.join(forger.welcome_with(secrets={"psks": (branch,)}))
    with pytest.raises(MalformedError):
        forger.victim.join(forger.welcome_with(tree=b"nonsense"))


def test_two_members_with_one_key_are_refused_on_joining() -> None:
    forger = Forger("blue", "green")
    blue = forger.members[1]
    leaf = forger.tree.leaf(0)
    assert leaf is not None
    twin = replace(leaf, signature_key=blue.group.member(1).signature_key)
    tbs = leaf_node_tbs(twin, b"room", 0)
    signature = SUITE.sign_with_label(blue.signature_secret, b"LeafNodeTBS", tbs)
    tree = forger.tree_with(0, signature_key=twin.signature_key, signature=signature)
    with breaks("leaves-unique"):
        forger.victim.join(forger.welcome_with(tree=tree, signer=blue))


def test_policy_judges_a_path_leaf() -> None:
    red, blue = form("red", "blue")
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_leaf = lambda leaf: isinstance(leaf.source, CommitSource)
    with pytest.raises(PolicyRejected):
        blue.sees(red.group.commit(now=NOW).message)


def test_policy_judges_an_update_and_a_creator() -> None:
    red, blue = form("red", "blue")
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_leaf = lambda leaf: isinstance(leaf.source, UpdateSource)
    with pytest.raises(PolicyRejected):
        blue.sees(red.group.propose_update(now=NOW))
    blue.policy.refuse_leaf = lambda leaf: True
    with pytest.raises(PolicyRejected):
        blue.create()


def test_unfit_keys_are_neither_encrypted_to_nor_decrypted_from() -> None:
    with pytest.raises(KeyRejected):
        SUITE.encrypt_with_label(bytes(32), b"label", b"", b"")
    with pytest.raises(DecryptionError):
        SUITE.decrypt_with_label(os.urandom(32), b"label", b"", bytes(32), bytes(32))


def test_path_leaf_that_does_not_fit_the_group() -> None:
    red, blue, _ = form("red", "blue", "green")
    path = good_path(red)
    stolen = Party("green")
    stolen.signature_secret = blue.signature_secret
    stolen.member = red.group
    twin = replace(path.leaf_node, signature_key=red.group.member(1).signature_key)
    refused(
        blue, forged_commit(red, [], path=with_leaf(stolen, UpdatePath(twin, path.nodes))), "leaves-unique"
    )


def test_separate_tree_that_is_not_the_groups() -> None:
    red, blue = Party("red"), Party("blue")
    red.create()
    pending = red.group.commit([Add(blue.offer().key_package)], now=NOW)
    tree = TreeNodes((red.group.member(0).leaf,)).encode()
    blue.join(pending.welcome, ratchet_tree=tree)  # the Welcome brings its own tree, which counts
    assert len(blue.group.members()) == 2


def test_every_rule_has_a_test() -> None:
    assert RULES.keys() == TESTED
    for rule in RULES.values():
        assert rule.text.endswith(".")
        assert rule.section[0].isdigit()
