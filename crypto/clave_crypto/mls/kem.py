"""Key encapsulation (RFC 9180): key pairs, and which public keys are fit. Encrypts nothing itself."""

from __future__ import annotations

import hmac
from typing import Protocol

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clave_crypto.keys import Secret, check_x25519_public

__all__ = ["X25519", "Kem"]


class Kem(Protocol):
    """A key encapsulation mechanism whose keys are bytes."""

    @property
    def hpke_id(self) -> hpke.KEM:
        """Its name in `cryptography`."""

    @property
    def enc_size(self) -> int:
        """Bytes of an encapsulated key."""

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        """Return (private, public) derived from `ikm` (RFC 9180, section 7.1.3)."""

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of `private`."""

    def check_public(self, public: bytes) -> None:
        """Refuse a peer's unfit public key; raises `KeyRejected`."""

    def load_private(self, private: bytes) -> X25519PrivateKey:
        """Return the key object that `cryptography` decrypts with."""

    def load_public(self, public: bytes) -> X25519PublicKey:
        """Return the key object that `cryptography` encrypts to; raises `KeyRejected`."""


class _X25519:
    """DHKEM(X25519, HKDF-SHA256), KEM id 0x0020."""

    hpke_id = hpke.KEM.X25519
    enc_size = 32
    _suite_id = b"KEM\x00\x20"

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        prk = hmac.digest(b"", b"HPKE-v1" + self._suite_id + b"dkp_prk" + ikm, "sha256")
        labeled_info = b"\x00\x20HPKE-v1" + self._suite_id + b"sk"
        private = Secret(hmac.digest(prk, labeled_info + b"\x01", "sha256"))
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        return self.load_private(private).public_key().public_bytes_raw()

    def check_public(self, public: bytes) -> None:
        check_x25519_public(public)

    def load_private(self, private: bytes) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(private)

    def load_public(self, public: bytes) -> X25519PublicKey:
        check_x25519_public(public)
        return X25519PublicKey.from_public_bytes(public)


X25519: Kem = _X25519()
