"""Signature schemes as MLS uses them: keys and signatures are bytes. Knows no labels."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clave_crypto.identity import verify_signature
from clave_crypto.keys import check_ed25519_public

__all__ = ["ED25519", "SignatureScheme"]


class SignatureScheme(Protocol):
    """A signature scheme."""

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of `private`."""

    def check_public(self, public: bytes) -> None:
        """Refuse a peer's unfit public key; raises `KeyRejected`."""

    def sign(self, private: bytes, message: bytes) -> bytes:
        """Return the signature of `message`."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Check a signature; raises `KeyRejected` or `SignatureInvalid`."""


class _Ed25519:
    def public_key(self, private: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()

    def check_public(self, public: bytes) -> None:
        check_ed25519_public(public)

    def sign(self, private: bytes, message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(private).sign(message)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        verify_signature(public, message, signature)


ED25519: SignatureScheme = _Ed25519()
