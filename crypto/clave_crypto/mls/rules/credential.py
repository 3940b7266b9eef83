"""Rules for the credential of a leaf (RFC 9420, section 5.3). The application decides whom to believe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm

from clave_crypto.mls.credentials import X509Credential
from clave_crypto.mls.rules.registry import BrokenRuleError, rule
from clave_crypto.mls.x509 import certificate_chain

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from clave_crypto.mls.extensions import ExternalSender
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.suites import CipherSuite

__all__ = ["check_credential"]


def check_credential(suite: CipherSuite, bearer: LeafNode | ExternalSender) -> None:
    """Check that a credential is well formed and is for its bearer's signature key."""
    if isinstance(bearer.credential, X509Credential):
        check_certificate_key(suite, decode_certificates(bearer.credential)[0], bearer.signature_key)


@rule("credential-x509-form", "5.3")
def decode_certificates(credential: X509Credential) -> tuple[Certificate, ...]:
    """An X.509 credential is a chain of one or more certificates, each DER."""
    return certificate_chain(credential)


@rule("credential-x509-key", "5.3")
def check_certificate_key(suite: CipherSuite, certificate: Certificate, signature_key: bytes) -> None:
    """The public key of the first certificate is its bearer's signature key."""
    try:
        certified = suite.signature.encode_public(certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):
        raise BrokenRuleError("the certificate's public key is of a kind that is not supported") from None
    if certified != signature_key:
        raise BrokenRuleError("the certificate is for another key than the leaf's")
