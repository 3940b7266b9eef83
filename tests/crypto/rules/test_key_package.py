"""Key packages that must be refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.mls import Add, Extension, Grease, KeyPackage, Limits, LocalError, UnsupportedError
from clave_crypto.mls.grease import GREASE
from clave_crypto.mls.leaf_node import KeyPackageSource, leaf_node_tbs
from clave_crypto.mls.limits import DEFAULT_LIMITS
from forgekit import capabilities, forged_commit, forged_proposal, signed
from groupkit import NOW, SUITE, Party, form
from rulekit import breaks, proves, refused

BAD_PACKAGES: list[tuple[str, Callable[[KeyPackage], KeyPackage]]] = [
    ("key-package-version", lambda one: replace(one, version=2)),
    ("key-package-init-key", lambda one: replace(one, init_key=bytes(32))),
    ("key-package-init-key", lambda one: replace(one, init_key=b"short")),
    ("key-package-init-key-differs", lambda one: replace(one, init_key=one.leaf_node.encryption_key)),
    ("extension-content", lambda one: replace(one, extensions=(Extension(3, b"nonsense"),))),
    ("extensions-unique", lambda one: replace(one, extensions=(Extension(1, b""), Extension(1, b"")))),
    ("key-package-extensions-listed", lambda one: replace(one, extensions=(Extension(0xF00D, b"unlisted"),))),
]


@proves(*(rule_id for rule_id, _ in BAD_PACKAGES))
@pytest.mark.parametrize(("rule_id", "change"), BAD_PACKAGES)
def test_bad_key_package(rule_id: str, change: Callable[[KeyPackage], KeyPackage]) -> None:
    red, blue = form("red", "blue")
    owner = Party("green")
    package = signed(owner, change(owner.offer().key_package))
    with breaks(rule_id):
        package.verify(policy=red.policy, now=NOW)
    refused(blue, forged_proposal(red, Add(package)), rule_id)
    refused(blue, forged_commit(red, [Add(package)]), rule_id)


@proves("key-package-signature")
def test_key_package_with_an_invalid_signature() -> None:
    red, blue = form("red", "blue")
    package = replace(Party("green").offer().key_package, signature=bytes(64))
    with breaks("key-package-signature"):
        package.verify(policy=red.policy, now=NOW)
    refused(blue, forged_commit(red, [Add(package)]), "key-package-signature")


@proves("key-package-suite")
def test_key_package_for_another_suite() -> None:
    red, blue = form("red", "blue")
    owner = Party("green")
    package = signed(owner, replace(owner.offer().key_package, cipher_suite=3))
    package.verify(policy=red.policy, now=NOW)
    with breaks("key-package-suite", red):
        red.group.commit([Add(package)], now=NOW)
    refused(blue, forged_proposal(red, Add(package)), "key-package-suite")
    refused(blue, forged_commit(red, [Add(package)]), "key-package-suite")
    with pytest.raises(UnsupportedError):
        replace(package, cipher_suite=0x7777).verify(policy=red.policy, now=NOW)


def test_unknown_extensions_and_capabilities_are_ignored() -> None:
    red, blue = form("red", "blue")
    grease = capabilities(extensions=(0x0A0A, 0x3A3A), proposals=(0x1A1A,), credentials=(1, 0x2A2A))
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


@pytest.mark.parametrize("last_resort", [False, True])
@pytest.mark.parametrize(
    "grease", [Grease(*places) for places in itertools.product((False, True), repeat=4)], ids=str
)
def test_grease_is_where_it_is_wanted_and_listed(grease: Grease, last_resort: bool) -> None:
    red, green = Party("red"), Party("green")
    for _ in range(30):
        package = green.offer(last_resort=last_resort, grease=grease).key_package
        package.verify(policy=red.policy, now=NOW)
        leaf = package.leaf_node
        used = [each.extension_type for each in package.extensions if each.extension_type in GREASE]
        assert len(used) == grease.key_package_extensions
        assert len(leaf.extensions) == grease.leaf_extensions
        assert any(each in GREASE for each in leaf.capabilities.proposals) == grease.capabilities


def test_no_extension_is_grease_by_default() -> None:
    """OpenMLS refuses such leaves and key packages."""
    package = Party("green").offer().key_package
    assert package.extensions == package.leaf_node.extensions == ()
    assert set(GREASE) & set(package.leaf_node.capabilities.extensions)


@proves("leaf-lifetime-bounded")
def test_lifetimes_that_are_too_long_or_end_before_they_begin() -> None:
    red, blue = form("red", "blue")
    owner = Party("green")
    longest = DEFAULT_LIMITS.lifetime
    owner.offer(not_before=NOW, not_after=NOW + longest).key_package.verify(policy=red.policy, now=NOW)
    for source in (KeyPackageSource(NOW, NOW + longest + 1), KeyPackageSource(NOW, NOW - 1)):
        package = owner.offer().key_package
        leaf = replace(package.leaf_node, source=source)
        tbs = leaf_node_tbs(leaf, b"", 0)
        leaf = replace(leaf, signature=SUITE.sign_with_label(owner.signature_secret, b"LeafNodeTBS", tbs))
        package = signed(owner, replace(package, leaf_node=leaf))
        with breaks("leaf-lifetime-bounded"):
            package.verify(policy=red.policy, now=NOW)
        refused(blue, forged_commit(red, [Add(package)]), "leaf-lifetime-bounded")


def test_the_longest_lifetime_is_set_by_the_caller() -> None:
    red = Party("red")
    red.create(limits=Limits(lifetime=1 << 40))
    package = Party("green").offer(not_after=NOW + (1 << 39)).key_package
    with breaks("leaf-lifetime-bounded"):
        package.verify(policy=red.policy, now=NOW)
    package.verify(policy=red.policy, limits=Limits(lifetime=1 << 40), now=NOW)
    welcome = red.commits([Add(package)]).welcome
    assert welcome is not None
    joiner = Party("green")
    with pytest.raises(LocalError, match="none of this client's key packages"):
        joiner.join(welcome)


@proves("leaf-lifetime-bounded")
def test_a_joiner_checks_the_lifetimes_of_all_members() -> None:
    red, green = Party("red"), Party("green")
    red.create(not_after=NOW + DEFAULT_LIMITS.lifetime * 2)
    welcome = red.commits([Add(green.offer().key_package)], path=False).welcome
    with breaks("leaf-lifetime-bounded"):
        green.join(welcome)
    green.join(welcome, limits=Limits(lifetime=1 << 40))
