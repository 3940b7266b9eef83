"""The certificates that a relay may show a profile: pinned, announced, or vouched for by an authority.

Knows signatures and digests, no sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from clave_client.errors import RelayChanged, RelayFault
from clave_client.store.database import Store
from clave_wire.login import certificate_digest, fingerprint_text, succession

__all__ = ["CertificateTrust", "check_succession"]


@dataclass(frozen=True)
class CertificateTrust:
    """What is known of a relay's certificates, by their SHA-256; nothing at all before the first contact.

    `following` is announced by the relay that has the `pin`. `host` is the name that a certificate authority
    vouched for at the first contact: another certificate for that very name is believed too.
    """

    pin: bytes | None = None
    following: bytes | None = None
    host: str = ""

    @classmethod
    def load(cls, store: Store) -> CertificateTrust:
        """Read what `save` kept."""
        return cls(
            store.get("relay_pin") or None,
            store.get("relay_next") or None,
            (store.get("relay_host") or b"").decode(),
        )

    def save(self, store: Store) -> None:
        """Keep it; a transaction is the caller's."""
        for key, value in (
            ("relay_pin", self.pin),
            ("relay_next", self.following),
            ("relay_host", self.host.encode()),
        ):
            store.put(key, value or b"")

    def insist(self, pin: bytes) -> CertificateTrust:
        """Return what is left when a person gave the fingerprint: no authority is asked any more."""
        return CertificateTrust(pin, self.following if pin == self.pin else None)

    def asks_authorities(self, host: str) -> bool:
        """Tell whether it matters if an authority vouches for the certificate of `host`."""
        return self.pin is None or self.host == host.lower()

    def judge(self, shown: bytes, host: str, *, vouched: bool) -> CertificateTrust:
        """Return what to trust from now on, given the certificate that `host` showed.

        Raises `RelayChanged` when it is none of those that may be shown.
        """
        if self.pin is None:
            return CertificateTrust(shown, None, host.lower() if vouched else "")
        if shown == self.pin:
            return self
        if shown == self.following or (vouched and self.host == host.lower()):
            return CertificateTrust(shown, None, self.host)
        raise RelayChanged(
            f"the relay's key changed, nothing was sent: expected {fingerprint_text(self.pin)}, "
            f"got {fingerprint_text(shown)}; ask its operator, and if that is right give it with --pin"
        )

    def announced(self, following: bytes) -> CertificateTrust:
        """Return this with another certificate that may come to be shown; the pin itself withdraws it."""
        return replace(self, following=None if following == self.pin else following)


def check_succession(certificate: bytes, following: bytes, signature: bytes) -> None:
    """Check that the key of `certificate` (DER) announced the one with the digest `following`.

    Raises `RelayFault`.
    """
    signed = succession(certificate_digest(certificate), following)
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            raise RelayFault(
                "the relay announced a certificate with a kind of key that cannot; ask its operator"
            )
    except (InvalidSignature, ValueError):
        raise RelayFault(
            "the relay announced a certificate that its present key did not sign; ask its operator"
        ) from None
