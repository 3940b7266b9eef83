"""Which certificates to accept from the relay: pinned, announced by it, or signed by an authority.

Knows no sockets, and of the store only two calls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from clave_client.errors import RelayChanged, RelayFault, RelayNotOfLink
from clave_wire.login import certificate_digest, fingerprint_text, succession

__all__ = ["LINK_PIN_BYTES", "CertificateTrust", "check_succession"]

LINK_PIN_BYTES: Final = 16
"""Bytes of a digest in a link: nobody can make another certificate, or account, with the same ones."""


class _KeyValues(Protocol):
    """What is needed of the store: byte values by key."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...


@dataclass(frozen=True)
class CertificateTrust:
    """The accepted certificates, by SHA-256 digest; empty before the first contact.

    `pin` is the present one. `following` is the next one, announced by the relay that holds `pin`. `host` is
    the name that a certificate authority signed for at the first contact; any certificate signed for that
    name is accepted too. `expected` is how the digest begins at the first contact, as a link says, or zeros
    if an authority has to have signed it.
    """

    pin: bytes | None = None
    following: bytes | None = None
    host: str = ""
    expected: bytes = b""

    @classmethod
    def load(cls, store: _KeyValues) -> CertificateTrust:
        """Load what `save` stored."""
        return cls(
            store.get("relay_pin") or None,
            store.get("relay_next") or None,
            (store.get("relay_host") or b"").decode(),
        )

    def save(self, store: _KeyValues) -> None:
        """Store it. The caller opens the transaction."""
        for key, value in (
            ("relay_pin", self.pin),
            ("relay_next", self.following),
            ("relay_host", self.host.encode()),
        ):
            store.put(key, value or b"")

    def with_pin(self, pin: bytes) -> CertificateTrust:
        """Return the trust after the user gave a fingerprint: authorities are no longer asked."""
        return CertificateTrust(pin, self.following if pin == self.pin else None)

    def with_link_pin(self, pin: bytes) -> CertificateTrust:
        """Return the trust with what a link says of the certificate, for the first contact."""
        return replace(self, expected=pin)

    def asks_authorities(self, host: str) -> bool:
        """Return whether an authority's signature on the certificate of `host` makes a difference."""
        return self.pin is None or self.host == host.lower()

    def evaluate(self, shown: bytes, host: str, *, vouched: bool) -> CertificateTrust:
        """Return the trust after `host` presented the certificate with digest `shown`.

        `vouched` says that an authority signed it. Raises `RelayChanged` when it is not accepted.
        """
        if self.pin is None:
            self._check_expected(shown, vouched=vouched)
            return CertificateTrust(shown, None, host.lower() if vouched else "")
        if shown == self.pin:
            return self
        if shown == self.following or (vouched and self.host == host.lower()):
            return CertificateTrust(shown, None, self.host)
        raise RelayChanged(
            f"the relay's key changed, nothing was sent: expected {fingerprint_text(self.pin)}, "
            f"got {fingerprint_text(shown)}; ask its operator"
        )

    def _check_expected(self, shown: bytes, *, vouched: bool) -> None:
        """Raise `RelayChanged` if this is not the relay that a link is of."""
        is_named = any(self.expected)
        if not (shown.startswith(self.expected) if is_named else vouched or not self.expected):
            got = fingerprint_text(shown)
            raise RelayNotOfLink(
                "this is another relay than the link's, or its key changed since; nothing was sent: got"
                f" {got}; ask for a new link"
            )

    @property
    def link_pin(self) -> bytes:
        """What a link to this relay says: how the pin begins, or zeros for a relay of an authority's."""
        return bytes(LINK_PIN_BYTES) if self.host else (self.pin or b"")[:LINK_PIN_BYTES]

    def fits_link(self, pin: bytes) -> bool:
        """Return whether the relay with these certificates is the one of a link with that pin."""
        accepted = filter(None, (self.pin, self.following))
        return any(digest.startswith(pin) for digest in accepted) or (bool(self.host) and not any(pin))

    def change_text(self, former: CertificateTrust) -> str | None:
        """Return what to tell the user when the pinned certificate replaced another, else None."""
        if self.pin is None or former.pin in (None, self.pin):
            return None
        why = "that it had announced" if self.pin == former.following else "that an authority vouches for"
        return f"the relay has another certificate, one {why}: {fingerprint_text(self.pin)}"

    def with_announced(self, following: bytes) -> CertificateTrust:
        """Return the trust after the relay announced a next certificate; announcing `pin` withdraws it."""
        return replace(self, following=None if following == self.pin else following)


def check_succession(certificate: bytes, following: bytes, signature: bytes) -> None:
    """Check the signature by the key of `certificate` (DER) over the announced digest `following`.

    Raises `RelayFault` when it does not verify.
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
