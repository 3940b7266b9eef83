"""Key packages: what others need to add a client that is offline (RFC 9420, section 10)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from clave_crypto.codec import KeptStruct, Struct, encode_vector, struct, u16
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.credentials import BasicCredential, Credential, CredentialType
from clave_crypto.mls.errors import LocalError, StateError, UnsupportedError
from clave_crypto.mls.extensions import DEFAULT_EXTENSION_TYPES, Extension, ExtensionType, find_extension
from clave_crypto.mls.grease import DEFAULT_GREASE, GREASE, Grease, grease_extension, pick_grease
from clave_crypto.mls.leaf_node import (
    Capabilities,
    KeyPackageSource,
    LeafNode,
    ProtocolVersion,
    UpdateSource,
    sign_leaf_node,
)
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposal_types import ProposalType
from clave_crypto.mls.suites import SUITES, CipherSuite, find_suite
from clave_crypto.mls.wire_format import WireFormat

__all__ = [
    "KeyPackage",
    "KeyPackageBundle",
    "RandomBytes",
    "VerifiedKeyPackage",
    "leaf_template",
    "new_leaf_node",
    "replace_in_leaf",
]

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes, as `os.urandom` does."""


@struct(tag=WireFormat.KEY_PACKAGE)
class KeyPackage(KeptStruct):
    """A client's key package, not verified: call `verify` before use."""

    version: u16
    cipher_suite: u16
    init_key: bytes
    leaf_node: LeafNode
    extensions: tuple[Extension, ...]
    signature: bytes

    def tbs(self) -> bytes:
        """Return the encoded KeyPackageTBS."""
        return self.encode()[: -len(encode_vector(self.signature))]

    @property
    def last_resort(self) -> bool:
        """Whether its owner allows it to be used more than once, when no other is left."""
        return find_extension(self.extensions, ExtensionType.LAST_RESORT) is not None

    @checked
    def verify(self, *, policy: Policy, limits: Limits = DEFAULT_LIMITS, now: int) -> VerifiedKeyPackage:
        """Check it before adding its client (section 10.1); `now` is in seconds since 1970.

        Raises:
            UnsupportedError: its cipher suite is not supported.
            ValidationError: it breaks a rule.
            PolicyRejected: the application refuses its leaf.

        """
        from clave_crypto.mls.rules.key_package import check_key_package

        suite = find_suite(self.cipher_suite)
        check_key_package(suite, self, policy=policy, limits=limits, now=now)
        policy.check_leaf(self.leaf_node)
        reference = suite.ref_hash(b"MLS 1.0 KeyPackage Reference", self.encode())
        return VerifiedKeyPackage(self, suite, reference)


@dataclass(frozen=True)
class VerifiedKeyPackage:
    """A key package that `KeyPackage.verify` accepted."""

    key_package: KeyPackage
    suite: CipherSuite
    reference: bytes

    @property
    def identity(self) -> bytes:
        """The identity in its credential."""
        return self.key_package.leaf_node.credential.identity

    @property
    def signature_key(self) -> bytes:
        """The public key its owner signs with."""
        return self.key_package.leaf_node.signature_key


@struct()
class _StoredBundle(Struct):
    key_package: KeyPackage
    init_secret: Secret
    leaf_secret: Secret
    signature_secret: Secret


@dataclass(frozen=True)
class KeyPackageBundle:
    """A client's own key package with its private keys. Delete it once used, unless it is a last resort."""

    key_package: KeyPackage
    init_secret: Secret
    leaf_secret: Secret
    signature_secret: Secret

    @classmethod
    @checked
    def generate(
        cls,
        suite: CipherSuite,
        identity: bytes | Credential,
        signature_secret: Secret,
        *,
        not_before: int,
        not_after: int,
        last_resort: bool = False,
        extension_types: Sequence[u16] = (),
        proposal_types: Sequence[u16] = (),
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> KeyPackageBundle:
        """Make a key package with new keys, valid between two times in seconds since 1970.

        `identity` given as bytes makes a basic credential. `extension_types` and `proposal_types` are those
        that the application supports beyond the default ones.

        Raises:
            LocalError: the lifetime ends before it begins, or `signature_secret` is not a key of the suite.

        """
        extensions: tuple[Extension, ...] = ()
        if last_resort:
            extensions = (Extension(ExtensionType.LAST_RESORT, b""),)
            extension_types = (*extension_types, ExtensionType.LAST_RESORT)
        init_secret, init_key = suite.kem.derive_key_pair(random(suite.hash_size))
        leaf, leaf_secret = new_leaf_node(
            suite,
            identity,
            signature_secret,
            not_before=not_before,
            not_after=not_after,
            extension_types=extension_types,
            proposal_types=proposal_types,
            grease=grease,
            random=random,
        )
        if grease.key_package_extensions:
            listed = next(each for each in leaf.capabilities.extensions if each in GREASE)
            extensions = (*extensions, grease_extension(random, listed))
        unsigned = KeyPackage(ProtocolVersion.MLS10, suite.id, init_key, leaf, extensions, b"")
        signature = suite.sign_with_label(signature_secret, b"KeyPackageTBS", unsigned.tbs())
        key_package = KeyPackage(ProtocolVersion.MLS10, suite.id, init_key, leaf, extensions, signature)
        return cls(key_package, init_secret, leaf_secret, signature_secret)

    @property
    def suite(self) -> CipherSuite:
        """Its cipher suite."""
        return find_suite(self.key_package.cipher_suite)

    @property
    def reference(self) -> bytes:
        """Its KeyPackageRef, by which a Welcome names it (section 5.2)."""
        return self.suite.ref_hash(b"MLS 1.0 KeyPackage Reference", self.key_package.encode())

    def encode(self) -> bytes:
        """Return the bundle for storage, private keys included."""
        return _StoredBundle(
            self.key_package, self.init_secret, self.leaf_secret, self.signature_secret
        ).encode()

    @classmethod
    @checked
    def decode(cls, data: bytes) -> Self:
        """Return the bundle that `encode` stored.

        Raises:
            StateError: `data` is not a stored bundle.

        """
        try:
            stored = _StoredBundle.decode(data)
            find_suite(stored.key_package.cipher_suite)
        except (DecodeError, UnsupportedError) as error:
            raise StateError(f"not a stored key package: {error}") from error
        return cls(stored.key_package, stored.init_secret, stored.leaf_secret, stored.signature_secret)


def leaf_template(
    suite: CipherSuite,
    identity: bytes | Credential,
    signature_secret: Secret,
    extension_types: Sequence[int],
    proposal_types: Sequence[int],
    grease: Grease,
    random: RandomBytes,
    leaf_extensions: Sequence[Extension] = (),
) -> LeafNode:
    """Return an unsigned leaf; `sign_leaf_node` sets its encryption key, source and signature.

    Raises `LocalError`.
    """
    value = pick_grease(random)
    ignored = (value,) if grease.capabilities else ()
    is_used = grease.leaf_extensions or grease.key_package_extensions
    capabilities = Capabilities(
        versions=(ProtocolVersion.MLS10,),
        cipher_suites=(*SUITES, *ignored),
        extensions=(
            *sorted(set(extension_types) - DEFAULT_EXTENSION_TYPES),
            *((value,) if is_used else ignored),
        ),
        proposals=(ProposalType.SELF_REMOVE, *sorted(set(proposal_types)), *ignored),
        credentials=(*CredentialType, *ignored),
    )
    signature_key = _signature_key(suite, signature_secret)
    credential = BasicCredential(identity) if isinstance(identity, bytes) else identity
    extensions = (*leaf_extensions, *((Extension(value, b""),) if grease.leaf_extensions else ()))
    return LeafNode(b"", signature_key, credential, capabilities, UpdateSource(), extensions, b"")


def replace_in_leaf(
    suite: CipherSuite,
    leaf: LeafNode,
    signature_secret: Secret | None,
    credential: Credential | None,
    extension_types: Sequence[int],
) -> LeafNode:
    """Return `leaf` with another signature key and credential where they are given, listing more extensions.

    `extension_types` are listed in its capabilities beside those that are. Raises `LocalError`.
    """
    listed = leaf.capabilities.extensions
    added = sorted(set(extension_types) - DEFAULT_EXTENSION_TYPES - set(listed))
    if signature_secret is None and credential is None and not added:
        return leaf
    capabilities = Capabilities(
        leaf.capabilities.versions,
        leaf.capabilities.cipher_suites,
        (*listed, *added),
        leaf.capabilities.proposals,
        leaf.capabilities.credentials,
    )
    return LeafNode(
        leaf.encryption_key,
        leaf.signature_key if signature_secret is None else _signature_key(suite, signature_secret),
        credential or leaf.credential,
        capabilities,
        leaf.source,
        leaf.extensions,
        b"",
    )


def _signature_key(suite: CipherSuite, signature_secret: Secret) -> bytes:
    try:
        return suite.signature.public_key(signature_secret)
    except ValueError as error:
        raise LocalError(f"signature_secret is not a private key of {suite.name}: {error}") from None


def new_leaf_node(
    suite: CipherSuite,
    identity: bytes | Credential,
    signature_secret: Secret,
    *,
    not_before: int,
    not_after: int,
    extension_types: Sequence[int],
    proposal_types: Sequence[int],
    grease: Grease,
    random: RandomBytes,
) -> tuple[LeafNode, Secret]:
    """Return a signed leaf as in a key package, and its private encryption key. Raises `LocalError`."""
    if not_after < not_before:
        raise LocalError("not_after is before not_before")
    leaf_secret, encryption_key = suite.kem.derive_key_pair(random(suite.hash_size))
    template = leaf_template(
        suite, identity, signature_secret, extension_types, proposal_types, grease, random
    )
    source = KeyPackageSource(not_before, not_after)
    leaf = sign_leaf_node(suite, signature_secret, template, encryption_key=encryption_key, source=source)
    return leaf, leaf_secret
