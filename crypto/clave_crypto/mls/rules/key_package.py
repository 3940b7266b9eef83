"""Rules for key packages (RFC 9420, sections 10 and 10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_crypto.mls.extensions import DEFAULT_EXTENSION_TYPES
from clave_crypto.mls.leaf_node import KeyPackageSource, ProtocolVersion
from clave_crypto.mls.rules.extensions import check_extensions
from clave_crypto.mls.rules.leaf import check_leaf, check_lifetime, check_lifetime_bounded
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.mls.key_package import KeyPackage
    from clave_crypto.mls.limits import Limits
    from clave_crypto.mls.policy import Policy
    from clave_crypto.mls.suites import CipherSuite

__all__ = ["check_key_package"]


def check_key_package(
    suite: CipherSuite, key_package: KeyPackage, *, policy: Policy, limits: Limits, now: int | None
) -> None:
    """Check a key package for use with `suite`; its lifetime too unless `now` is None."""
    check_version(key_package)
    check_suite(suite, key_package)
    check_init_key(suite, key_package)
    check_init_key_differs(key_package)
    check_extensions(key_package.extensions)
    check_extensions_listed(key_package, policy)
    check_leaf(suite, key_package.leaf_node, KeyPackageSource)
    check_lifetime_bounded(key_package.leaf_node, limits)
    if now is not None:
        check_lifetime(key_package.leaf_node, now)
    check_signature(suite, key_package)


@rule("key-package-version", "10.1")
def check_version(key_package: KeyPackage) -> None:
    """A key package is for the group's protocol version, and so for that of the message it comes in."""
    if key_package.version != ProtocolVersion.MLS10:
        raise BrokenRuleError("the key package is for another protocol version")


@rule("key-package-suite", "10.1")
def check_suite(suite: CipherSuite, key_package: KeyPackage) -> None:
    """A key package is for the group's cipher suite."""
    if key_package.cipher_suite != suite.id:
        raise BrokenRuleError("the key package is for another cipher suite")


@rule("key-package-init-key", "10")
def check_init_key(suite: CipherSuite, key_package: KeyPackage) -> None:
    """A key package's init key is fit for use."""
    suite.kem.check_public(key_package.init_key)


@rule("key-package-init-key-differs", "10.1")
def check_init_key_differs(key_package: KeyPackage) -> None:
    """A key package's init key is not its leaf's encryption key."""
    if key_package.init_key == key_package.leaf_node.encryption_key:
        raise BrokenRuleError("the init key is the leaf's encryption key")


@rule("key-package-extensions-listed", "10")
def check_extensions_listed(key_package: KeyPackage, policy: Policy) -> None:
    """Every extension a key package has is listed in its leaf's capabilities, unless the policy waives it."""
    used = {extension.extension_type for extension in key_package.extensions} - DEFAULT_EXTENSION_TYPES
    if not all(map(policy.may_be_unlisted, used - set(key_package.leaf_node.capabilities.extensions))):
        raise BrokenRuleError("an extension of the key package is not listed in the capabilities")


@rule("key-package-signature", "10.1")
def check_signature(suite: CipherSuite, key_package: KeyPackage) -> None:
    """A key package is signed by its leaf's signature key."""
    public = key_package.leaf_node.signature_key
    suite.verify_with_label(public, b"KeyPackageTBS", key_package.tbs(), key_package.signature)
