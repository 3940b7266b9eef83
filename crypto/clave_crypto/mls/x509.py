"""Certificate chains of `X509Credential` (RFC 9420, section 5.3): read, and checked up to trusted roots.

Knows no leaf and no policy. A policy calls `check_chain`, then judges the names in the certificate returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning

from clave_crypto.errors import DecodeError
from clave_crypto.mls.credentials import X509Credential
from clave_crypto.mls.errors import PolicyRejected

__all__ = ["certificate_chain", "check_chain"]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectAlternativeName)
"""Extensions that may be critical: the first two are obeyed, names are for the policy to judge."""


def certificate_chain(credential: X509Credential) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a credential, the member's own first. They are read, not verified.

    Raises:
        DecodeError: there is none, or one is not DER.

    """
    if not credential.certificates:
        raise DecodeError("the credential has no certificate")
    return tuple(_load(encoded) for encoded in credential.certificates)


def check_chain(credential: X509Credential, roots: Sequence[x509.Certificate], now: int) -> x509.Certificate:
    """Return the member's certificate, if its chain leads to one of `roots` and is valid at `now`.

    Each certificate must be issued by the next, the last be a root or issued by one (RFC 5280, section 6).
    Not supported, and refused: name constraints, other critical extensions, hashes other than SHA-2.

    Args:
        credential: the chain; certificates that every peer has among its roots may be left out of it.
        roots: the trusted certificates; those of authorities are checked by the same rules.
        now: seconds since 1970, UTC.

    Raises:
        DecodeError: there is no certificate, or one is not DER.
        PolicyRejected: the chain does not lead to a root, or a certificate may not be used in its place.

    """
    chain = list(certificate_chain(credential))
    if chain[-1] not in roots:
        chain.append(_find_issuer(chain[-1], roots))
    try:
        for certificate in chain:
            _check_validity(certificate, now)
            _check_extensions_understood(certificate)
        _check_may_sign(chain[0])
        for below, (issued, issuer) in enumerate(pairwise(chain)):
            _check_authority(issuer, below)
            _check_issued(issued, issuer)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise PolicyRejected("a certificate's extensions are malformed") from None
    return chain[0]


def _load(encoded: bytes) -> x509.Certificate:
    # `cryptography` warns of a serial number that is not positive, and a warning may be an error here.
    try:
        certificate = x509.load_der_x509_certificate(encoded)
    except (ValueError, x509.InvalidVersion, CryptographyDeprecationWarning):
        raise DecodeError("a certificate is not DER, or not a certificate of RFC 5280") from None
    if certificate.serial_number <= 0:
        raise DecodeError("a certificate's serial number is not positive")
    return certificate


def _find_issuer(certificate: x509.Certificate, roots: Sequence[x509.Certificate]) -> x509.Certificate:
    for root in roots:
        if _is_issued(certificate, root):
            return root
    raise PolicyRejected("the certificate chain does not lead to a trusted root")


def _is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    if not _is_issued(certificate, issuer):
        raise PolicyRejected("a certificate is not issued by the next one")
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        raise PolicyRejected(f"a certificate is signed with {algorithm.name}")


def _check_validity(certificate: x509.Certificate, now: int) -> None:
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not begin <= now <= end:
        raise PolicyRejected("a certificate is not valid yet, or not any more")


def _check_extensions_understood(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            raise PolicyRejected("a certificate has name constraints, which are not supported")
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise PolicyRejected(f"a certificate has the critical extension {extension.oid.dotted_string}")


def _check_may_sign(certificate: x509.Certificate) -> None:
    usage = _find(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise PolicyRejected("the member's certificate is not for signatures")


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """Check that a certificate may issue, with `below` authorities between it and the member's."""
    constraints = _find(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise PolicyRejected("a certificate's issuer is not an authority's certificate")
    if constraints.path_length is not None and constraints.path_length < below:
        raise PolicyRejected("the certificate chain is longer than an authority allows")
    usage = _find(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise PolicyRejected("an authority's certificate is not for issuing others")


def _find(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
