"""Rules for one leaf node, and for leaves together (RFC 9420, sections 7.2, 7.3, 11.1 and 13.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clave_crypto.mls.extensions import (
    DEFAULT_EXTENSION_TYPES,
    Extension,
    ExtensionType,
    RequiredCapabilities,
    find_extension,
)
from clave_crypto.mls.grease import GREASE
from clave_crypto.mls.leaf_node import KeyPackageSource, LeafNode, ProtocolVersion, leaf_node_tbs
from clave_crypto.mls.proposal_types import DEFAULT_PROPOSAL_TYPES
from clave_crypto.mls.rules.credential import check_credential
from clave_crypto.mls.rules.extensions import check_extensions
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.codec import Struct
    from clave_crypto.mls.census import Census
    from clave_crypto.mls.limits import Limits
    from clave_crypto.mls.ratchet_tree import RatchetTree
    from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "check_key_not_a_parents",
    "check_leaf",
    "check_leaves_fit_group",
    "check_leaves_unique",
    "check_lifetime",
    "check_lifetime_bounded",
]


def check_leaf(
    suite: CipherSuite, leaf: LeafNode, source: type[Struct], *, group_id: bytes = b"", leaf_index: int = 0
) -> None:
    """Check one leaf by itself; `group_id` and `leaf_index` are its place in a group."""
    check_source(leaf, source)
    check_encryption_key(suite, leaf)
    check_signature_key(suite, leaf)
    check_extensions(leaf.extensions)
    check_extensions_listed(leaf.extensions, leaf)
    check_credential_listed(leaf)
    check_version_listed(leaf)
    check_suite_listed(suite, leaf)
    check_signature(suite, leaf, group_id, leaf_index)
    check_credential(suite, leaf)


@rule("leaf-source", "7.3")
def check_source(leaf: LeafNode, source: type[Struct]) -> None:
    """A leaf's source is the one expected where the leaf is."""
    if not isinstance(leaf.source, source):
        raise BrokenRuleError("the leaf node has another source than expected here")


@rule("leaf-encryption-key", "5.1")
def check_encryption_key(suite: CipherSuite, leaf: LeafNode) -> None:
    """A leaf's encryption key is fit for use."""
    suite.kem.check_public(leaf.encryption_key)


@rule("leaf-signature-key", "5.1")
def check_signature_key(suite: CipherSuite, leaf: LeafNode) -> None:
    """A leaf's signature key is fit for use."""
    suite.signature.check_public(leaf.signature_key)


@rule("leaf-signature", "7.3")
def check_signature(suite: CipherSuite, leaf: LeafNode, group_id: bytes, leaf_index: int) -> None:
    """A leaf is signed by its own signature key, for the group and place it is in."""
    tbs = leaf_node_tbs(leaf, group_id, leaf_index)
    suite.verify_with_label(leaf.signature_key, b"LeafNodeTBS", tbs, leaf.signature)


@rule("leaf-extensions-listed", "7.3")
def check_extensions_listed(extensions: Iterable[Extension], leaf: LeafNode) -> None:
    """Every extension a leaf has is listed in its capabilities."""
    used = {extension.extension_type for extension in extensions}
    if not used - DEFAULT_EXTENSION_TYPES <= set(leaf.capabilities.extensions):
        raise BrokenRuleError("an extension is not listed in the capabilities")


@rule("leaf-credential-listed", "7.2")
def check_credential_listed(leaf: LeafNode) -> None:
    """A leaf's credential type is listed in its capabilities."""
    if _credential_type(leaf) not in leaf.capabilities.credentials:
        raise BrokenRuleError("the credential's type is not listed in the capabilities")


@rule("leaf-version-listed", "11.1")
def check_version_listed(leaf: LeafNode) -> None:
    """A leaf's capabilities list the protocol version in use."""
    if ProtocolVersion.MLS10 not in leaf.capabilities.versions:
        raise BrokenRuleError("the capabilities do not list the protocol version")


@rule("leaf-suite-listed", "11.1")
def check_suite_listed(suite: CipherSuite, leaf: LeafNode) -> None:
    """A leaf's capabilities list the cipher suite in use."""
    if suite.id not in leaf.capabilities.cipher_suites:
        raise BrokenRuleError("the capabilities do not list the cipher suite")


@rule("leaf-lifetime", "7.3")
def check_lifetime(leaf: LeafNode, now: int) -> None:
    """A leaf that a client adds to a group is within its lifetime."""
    source = leaf.source
    if isinstance(source, KeyPackageSource) and not source.not_before <= now <= source.not_after:
        raise BrokenRuleError("the leaf node's lifetime has not begun or is over")


@rule("leaf-lifetime-bounded", "7.2")
def check_lifetime_bounded(leaf: LeafNode, limits: Limits) -> None:
    """A leaf's lifetime ends after it begins, and is no longer than the application accepts."""
    source = leaf.source
    if isinstance(source, KeyPackageSource) and not (
        0 <= source.not_after - source.not_before <= limits.lifetime
    ):
        raise BrokenRuleError(
            f"the leaf node's lifetime is longer than {limits.lifetime} s, or ends too early"
        )


@rule("leaf-key-not-a-parents", "16.7")
def check_key_not_a_parents(tree: RatchetTree, leaf: LeafNode) -> None:
    """A leaf that comes into the tree does not have the encryption key of a parent."""
    if tree.parent_holds_key(leaf.encryption_key):
        raise BrokenRuleError("the leaf has the encryption key of a parent in the tree")


def check_leaves_unique(census: Census) -> None:
    """Check that no two members share a key."""
    check_signature_keys_unique(census)
    check_encryption_keys_unique(census)


@rule("leaf-signature-keys-unique", "7.3")
def check_signature_keys_unique(census: Census) -> None:
    """No two members have the same signature key."""
    if len(census.signature_keys) != census.members:
        raise BrokenRuleError("two members have the same signature key")


@rule("leaf-encryption-keys-unique", "7.3")
def check_encryption_keys_unique(census: Census) -> None:
    """No two members have the same encryption key."""
    if len(census.encryption_keys) != census.members:
        raise BrokenRuleError("two members have the same encryption key")


def check_leaves_fit_group(census: Census, extensions: Sequence[Extension]) -> None:
    """Check that every member supports what the group and the other members use."""
    required = _required_capabilities(extensions)
    used_extensions = {extension.extension_type for extension in extensions} - DEFAULT_EXTENSION_TYPES
    credentials = {int.from_bytes(tag, "big") for tag in census.credential_tags}
    check_grease_unused(used_extensions, required)
    required_extensions = set(required.extension_types) - DEFAULT_EXTENSION_TYPES
    required_proposals = set(required.proposal_types) - DEFAULT_PROPOSAL_TYPES
    required_credentials = set(required.credential_types)
    for capabilities in census.capabilities:
        check_context_extensions_supported(used_extensions, capabilities.extensions)
        check_credentials_supported(credentials, capabilities.credentials)
        check_required_extensions(required_extensions, capabilities.extensions)
        check_required_proposals(required_proposals, capabilities.proposals)
        check_required_credentials(required_credentials, capabilities.credentials)


@rule("context-extensions-supported", "13.4")
def check_context_extensions_supported(used: set[int], supported: Sequence[int]) -> None:
    """Every member supports every extension of the group context."""
    if not used <= set(supported):
        raise BrokenRuleError("a member does not support an extension the group uses")


@rule("grease-unused", "13.5")
def check_grease_unused(used: set[int], required: RequiredCapabilities) -> None:
    """A group uses and requires no GREASE value: this client lists them like others, and supports none."""
    required_types = (*required.extension_types, *required.proposal_types, *required.credential_types)
    if not used.union(required_types).isdisjoint(GREASE):
        raise BrokenRuleError("the group uses or requires a GREASE value, which nobody supports")


@rule("credentials-supported", "7.3")
def check_credentials_supported(used: set[int], supported: Sequence[int]) -> None:
    """Every member supports every credential type in use."""
    if not used <= set(supported):
        raise BrokenRuleError("a member does not support a credential type in use")


@rule("required-extensions", "7.3")
def check_required_extensions(required: set[int], supported: Sequence[int]) -> None:
    """Every member supports the required extension types."""
    if not required <= set(supported):
        raise BrokenRuleError("a member does not support a required extension")


@rule("required-proposals", "7.3")
def check_required_proposals(required: set[int], supported: Sequence[int]) -> None:
    """Every member supports the required proposal types."""
    if not required <= set(supported):
        raise BrokenRuleError("a member does not support a required proposal type")


@rule("required-credentials", "7.3")
def check_required_credentials(required: set[int], supported: Sequence[int]) -> None:
    """Every member supports the required credential types."""
    if not required <= set(supported):
        raise BrokenRuleError("a member does not support a required credential type")


def _required_capabilities(extensions: Sequence[Extension]) -> RequiredCapabilities:
    data = find_extension(extensions, ExtensionType.REQUIRED_CAPABILITIES)
    return RequiredCapabilities((), (), ()) if data is None else RequiredCapabilities.decode(data)


def _credential_type(leaf: LeafNode) -> int:
    return int.from_bytes(leaf.credential.tag, "big")
