"""Leaves that must be refused, by themselves or together with others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.mls import (
    Add,
    Extension,
    GroupContextExtensions,
    KeyPackage,
    RequiredCapabilities,
    Update,
)
from clave_crypto.mls.leaf_node import CommitSource, KeyPackageSource, UpdateSource, sign_leaf_node
from clave_crypto.mls.proposals import ProposalByReference
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.leaf import check_leaves_fit_group
from forgekit import (
    SMALL_ORDER,
    Forger,
    capabilities,
    certified,
    forged_commit,
    forged_proposal,
    good_path,
    offered,
    with_leaf,
)
from groupkit import DAY, NOW, SUITE, Party, form
from rulekit import breaks, proves, refused

BAD_LEAVES: list[tuple[str, Callable[[], KeyPackage]]] = [
    ("leaf-source", lambda: offered(source=UpdateSource())),
    ("leaf-source", lambda: offered(source=CommitSource(b""))),
    ("leaf-encryption-key", lambda: offered(encryption_key=bytes(32))),
    ("leaf-encryption-key", lambda: offered(encryption_key=b"\xff" * 32)),
    ("leaf-signature-key", lambda: offered(signature_key=SMALL_ORDER, signature=SMALL_ORDER + bytes(32))),
    ("leaf-signature", lambda: offered(signature=bytes(64))),
    ("leaf-signature", lambda: offered(signature_key=Party("x").offer().key_package.leaf_node.signature_key)),
    ("extensions-unique", lambda: offered(extensions=(Extension(1, b""), Extension(1, b"")))),
    ("extension-content", lambda: offered(extensions=(Extension(1, b""),))),
    ("leaf-extensions-listed", lambda: offered(extensions=(Extension(0xF001, b""),))),
    ("leaf-credential-listed", lambda: offered(capabilities=capabilities(credentials=(2,)))),
    ("leaf-version-listed", lambda: offered(capabilities=capabilities(versions=(2,)))),
    ("leaf-suite-listed", lambda: offered(capabilities=capabilities(cipher_suites=(2,)))),
]


@proves(*(rule_id for rule_id, _ in BAD_LEAVES))
@pytest.mark.parametrize(("rule_id", "make"), BAD_LEAVES)
def test_bad_leaf_in_a_key_package(rule_id: str, make: Callable[[], KeyPackage]) -> None:
    package = make()
    red, blue = form("red", "blue")
    with breaks(rule_id):
        package.verify(policy=red.policy, now=NOW)
    with breaks(rule_id, red):
        red.group.commit([Add(package)], now=NOW)
    refused(blue, forged_proposal(red, Add(package)), rule_id)
    refused(blue, forged_commit(red, [Add(package)]), rule_id)


@proves("leaf-lifetime")
@pytest.mark.parametrize("lifetime", [(NOW + 1, NOW + 2), (NOW - 2, NOW - 1)])
def test_leaf_out_of_its_lifetime_is_not_added(lifetime: tuple[int, int]) -> None:
    package = offered(source=KeyPackageSource(*lifetime))
    (red,) = form("red")
    with breaks("leaf-lifetime"):
        package.verify(policy=red.policy, now=NOW)
    with breaks("leaf-lifetime", red):
        red.group.commit([Add(package)], now=NOW)
    with breaks("leaf-lifetime", red):
        red.group.propose(Add(package), now=NOW)


def test_leaf_can_be_added_in_the_first_and_last_second_of_its_lifetime() -> None:
    (red,) = form("red")
    offered(source=KeyPackageSource(NOW, NOW)).verify(policy=red.policy, now=NOW)


def test_receivers_do_not_judge_by_their_clocks() -> None:
    red, blue, green = form("red", "blue", "green")
    package = offered(source=KeyPackageSource(NOW + DAY, NOW + 2 * DAY))
    proposal = forged_proposal(red, Add(package))
    for one in (blue, green):
        assert one.sees(proposal).proposal == Add(package)
    pending = blue.group.commit(now=NOW)
    assert pending.added == (), "but nobody sends on what is not valid now"
    later = green.group.commit(now=NOW + DAY)
    assert [member.identity for member in later.added] == [b"blue"]


@proves("leaf-key-not-a-parents")
@pytest.mark.parametrize("kind", ["update", "add"])
def test_leaf_with_the_key_of_a_parent(kind: str) -> None:
    """Members could continue, but no new member could join the tree."""
    red, blue, green, white = form("red", "blue", "green", "white")
    red.commits(to=[blue, green, white])
    parent = red.group._epoch.tree.parent_node(1)
    assert parent is not None
    if kind == "update":
        leaf = sign_leaf_node(
            SUITE,
            white.signature_secret,
            white.group.member(3).leaf,
            encryption_key=parent.encryption_key,
            source=UpdateSource(),
            group_id=b"room",
            leaf_index=3,
        )
        proposal = forged_proposal(white, Update(leaf))
        for one in (red, blue, green):
            one.sees(proposal)
        ((reference, _, _),) = blue.group.pending_proposals
        refused(blue, forged_commit(green, [ProposalByReference(reference)]), "leaf-key-not-a-parents")
    else:
        package = offered(encryption_key=parent.encryption_key)
        with breaks("leaf-key-not-a-parents"):
            red.group.commit([Add(package)], now=NOW)
        refused(blue, forged_commit(green, [Add(package)]), "leaf-key-not-a-parents")


@proves("leaf-signature-keys-unique")
def test_adding_a_client_that_is_already_a_member() -> None:
    red, blue, green = form("red", "blue", "green")
    refused(blue, forged_commit(red, [Add(green.offer().key_package)]), "leaf-signature-keys-unique")
    with breaks("leaf-signature-keys-unique", red):
        red.group.commit([Add(green.offer().key_package)], now=NOW)


@proves("leaf-signature-keys-unique")
def test_path_with_another_members_signature_key() -> None:
    red, blue, _ = form("red", "blue", "green")
    path = good_path(red)
    twin = replace(path.leaf_node, signature_key=red.group.member(1).signature_key)
    thief = Party("thief")
    thief.signature_secret, thief.member = blue.signature_secret, red.group
    stolen = with_leaf(thief, replace(path, leaf_node=twin))
    refused(blue, forged_commit(red, [], path=stolen), "leaf-signature-keys-unique")


@proves("leaf-encryption-keys-unique")
def test_client_with_a_members_encryption_key() -> None:
    red, blue, green = form("red", "blue", "green")
    package = offered(encryption_key=green.group.member(2).leaf.encryption_key)
    refused(blue, forged_commit(red, [Add(package)]), "leaf-encryption-keys-unique")


@proves("leaf-signature-keys-unique")
def test_two_members_with_one_key_are_refused_on_joining() -> None:
    red, blue, _ = form("red", "blue", "green")
    victim = Party("victim")
    bundle = victim.offer()
    forger = Forger(red, bundle, red.group.commit([Add(bundle.key_package)], now=NOW).welcome or b"")
    impostor = Party("red")
    impostor.signature_secret, impostor.member = blue.signature_secret, red.group
    old_leaf = forger.tree.leaf(0)
    assert old_leaf is not None
    leaf = replace(old_leaf, signature_key=blue.group.member(1).signature_key)
    twin = with_leaf(impostor, replace(good_path(red), leaf_node=leaf)).leaf_node
    tree = forger.tree_with(0, signature_key=twin.signature_key, signature=twin.signature)
    with breaks("leaf-signature-keys-unique"):
        victim.join(forger.welcome_with(tree=tree, signer=blue))


NEEDS: list[tuple[str, list[Extension]]] = [
    ("context-extensions-supported", [Extension(0xF001, b"")]),
    ("required-extensions", [Extension(3, RequiredCapabilities((0xF001,), (), ()).encode())]),
    ("required-proposals", [Extension(3, RequiredCapabilities((), (0xF001,), ()).encode())]),
    ("required-credentials", [Extension(3, RequiredCapabilities((), (), (3,)).encode())]),
    ("extension-content", [Extension(1, b"nonsense")]),
    ("extension-content", [Extension(2, b"nonsense")]),
    ("extension-content", [Extension(3, b"nonsense")]),
    ("extension-content", [Extension(4, b"nonsense")]),
    ("extension-content", [Extension(5, b"nonsense")]),
    ("extensions-unique", [Extension(5, b""), Extension(5, b"")]),
]


@proves(*(rule_id for rule_id, _ in NEEDS))
@pytest.mark.parametrize(("rule_id", "extensions"), NEEDS)
def test_group_requires_what_a_member_does_not_support(rule_id: str, extensions: list[Extension]) -> None:
    with breaks(rule_id):
        Party("red").create(extensions=extensions)
    red, blue = form("red", "blue")
    proposal = GroupContextExtensions(tuple(extensions))
    with breaks(rule_id, red):
        red.group.commit([proposal], now=NOW)
    refused(blue, forged_commit(red, [proposal]), rule_id)


def test_members_who_support_just_what_the_group_needs() -> None:
    needed = capabilities(extensions=(0xF001,), proposals=(0xF001,), credentials=(1,))
    required = RequiredCapabilities((0xF001,), (0xF001,), (1,)).encode()
    tree = RatchetTree(SUITE, [offered(capabilities=needed).leaf_node])
    check_leaves_fit_group(tree.census, [Extension(0xF001, b""), Extension(3, required)])


@proves("grease-unused")
@pytest.mark.parametrize(
    "extension",
    [
        Extension(0x0A0A, b""),
        Extension(3, RequiredCapabilities((0x0A0A,), (), ()).encode()),
        Extension(3, RequiredCapabilities((), (0x0A0A,), ()).encode()),
        Extension(3, RequiredCapabilities((), (), (0x0A0A,)).encode()),
    ],
)
def test_grease_value_in_the_group_context(extension: Extension) -> None:
    red, blue = Party("red"), Party("blue")
    red.create(random=bytes)
    pending = red.commits([Add(blue.offer(random=distinct).key_package)])
    blue.join(pending.welcome)
    assert all(0x0A0A in member.leaf.capabilities.extensions for member in blue.group.members())
    refused(blue, forged_commit(red, [GroupContextExtensions((extension,))]), "grease-unused")
    with breaks("grease-unused", red):
        red.group.commit([GroupContextExtensions((extension,))], now=NOW)


def distinct(size: int) -> bytes:
    """Return random bytes, but always the same choice of a GREASE value."""
    return bytes(size) if size < 16 else os.urandom(size)


def test_default_types_can_be_required() -> None:
    required = RequiredCapabilities((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (1,))
    red, blue = form("red", "blue", extensions=[Extension(3, required.encode())])
    assert red.group.extensions == blue.group.extensions


@proves("credentials-supported")
def test_credential_type_that_a_member_does_not_support() -> None:
    red, blue = form("red", "blue")
    green = Party("green")
    certified_one = offered(green, credential=certified(green))
    basic_only = offered(capabilities=capabilities(credentials=(1,)))
    for packages in ([certified_one, basic_only], [basic_only, certified_one]):
        refused(blue, forged_commit(red, [Add(one) for one in packages]), "credentials-supported")
        with breaks("credentials-supported", red):
            red.group.commit([Add(one) for one in packages], now=NOW)
    red.commits([Add(certified_one)], to=[blue])
