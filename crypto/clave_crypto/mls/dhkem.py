"""DHKEM (RFC 9180, section 4.1) over the five groups of the registry. Knows no use of the secret."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clave_crypto.keys import (
    Secret,
    check_x448_public,
    check_x25519_public,
    load_ec_private,
    load_ec_public,
)
from clave_crypto.mls import x25519
from clave_crypto.mls.hkdf import HKDF_SHA256, HKDF_SHA384, HKDF_SHA512, Hkdf

__all__ = ["P256", "P384", "P521", "X448", "X25519", "DhKem"]

_Private = TypeVar("_Private")
_Public = TypeVar("_Public")


class DhKem(ABC, Generic[_Private, _Public]):
    """A `Kem` made of a Diffie-Hellman group and HKDF; sizes are in bytes."""

    def __init__(self, kem_id: int, kdf: Hkdf, *, key_size: int, enc_size: int) -> None:
        self.id = kem_id
        self.enc_size = enc_size
        self._key_size = key_size
        self._kdf = kdf
        self._suite_id = b"KEM" + kem_id.to_bytes(2, "big")
        self._prk_label = kdf.extract_label(self._suite_id, b"eae_prk")
        self._secret_label = kdf.expand_label(self._suite_id, b"shared_secret", kdf.size)

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        """Return (private, public) derived from `ikm` (section 7.1.3)."""
        private = self._private_from(self._kdf.labeled_extract(self._suite_id, b"", b"dkp_prk", ikm))
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of `private`; raises `ValueError`."""
        return self._public_bytes(self.load_private(private))

    def check_enc(self, enc: bytes) -> None:
        """Check that `enc` is a usable ephemeral public key; raises `KeyRejected`."""
        self.check_public(enc)

    def encap(self, public: bytes) -> tuple[Secret, bytes]:
        """Return a new (shared_secret, enc); raises `KeyRejected`."""
        return self.encap_from(self._generate(), public)

    def encap_from(self, ephemeral: _Private, public: bytes) -> tuple[Secret, bytes]:
        """Return (shared_secret, enc) by a private key that is used only once; raises `KeyRejected`."""
        enc = self._public_bytes(ephemeral)
        return self._shared_secret(self._exchange(ephemeral, self.load_public(public)), enc + public), enc

    def decap(self, private: bytes, enc: bytes) -> Secret:
        """Return the shared_secret in `enc`; raises `KeyRejected` or `ValueError`."""
        own = self.load_private(private)
        shared = self._exchange(own, self.load_public(enc))
        return self._shared_secret(shared, enc + self._public_bytes(own))

    def _shared_secret(self, shared: bytes, kem_context: bytes) -> Secret:
        prk = self._kdf.extract(b"", self._prk_label + shared)
        return self._kdf.expand(prk, self._secret_label + kem_context, self._kdf.size)

    @abstractmethod
    def check_public(self, public: bytes) -> None:
        """Check that a peer's public key may be used; raises `KeyRejected`."""

    @abstractmethod
    def load_private(self, private: bytes) -> _Private:
        """Return the key object of `private`; raises `ValueError`."""

    @abstractmethod
    def load_public(self, public: bytes) -> _Public:
        """Return the key object of a peer's key; raises `KeyRejected`."""

    @abstractmethod
    def _private_from(self, dkp_prk: bytes) -> Secret: ...

    @abstractmethod
    def _generate(self) -> _Private: ...

    @abstractmethod
    def _public_bytes(self, private: _Private) -> bytes: ...

    @abstractmethod
    def _exchange(self, private: _Private, public: _Public) -> bytes: ...


class _MontgomeryKem(DhKem[_Private, _Public]):
    """DHKEM over a curve of RFC 7748: any string of the right length is a private key."""

    def _private_from(self, dkp_prk: bytes) -> Secret:
        return self._kdf.labeled_expand(self._suite_id, dkp_prk, b"sk", b"", self._key_size)


class _X25519(_MontgomeryKem[bytes, bytes]):
    def check_public(self, public: bytes) -> None:
        check_x25519_public(public)

    def load_private(self, private: bytes) -> bytes:
        return private  # `x25519` checks its length

    def load_public(self, public: bytes) -> bytes:
        check_x25519_public(public)
        return public

    def _generate(self) -> Secret:
        return Secret(os.urandom(x25519.KEY_BYTES))

    def _public_bytes(self, private: bytes) -> bytes:
        return x25519.BACKEND.public_key(private)

    def _exchange(self, private: bytes, public: bytes) -> bytes:
        return x25519.BACKEND.exchange(private, public)


class _X448(_MontgomeryKem[X448PrivateKey, X448PublicKey]):
    def check_public(self, public: bytes) -> None:
        check_x448_public(public)

    def load_private(self, private: bytes) -> X448PrivateKey:
        return X448PrivateKey.from_private_bytes(private)

    def load_public(self, public: bytes) -> X448PublicKey:
        check_x448_public(public)
        return X448PublicKey.from_public_bytes(public)

    def _generate(self) -> X448PrivateKey:
        return X448PrivateKey.generate()

    def _public_bytes(self, private: X448PrivateKey) -> bytes:
        return private.public_key().public_bytes_raw()

    def _exchange(self, private: X448PrivateKey, public: X448PublicKey) -> bytes:
        return private.exchange(public)


class _NistKem(DhKem[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]):
    """DHKEM over a NIST curve: private keys are big-endian scalars, public keys uncompressed points."""

    def __init__(self, kem_id: int, kdf: Hkdf, curve: ec.EllipticCurve) -> None:
        size = (curve.key_size + 7) // 8
        super().__init__(kem_id, kdf, key_size=size, enc_size=1 + 2 * size)
        self._curve = curve

    def check_public(self, public: bytes) -> None:
        load_ec_public(self._curve, public)

    def load_private(self, private: bytes) -> ec.EllipticCurvePrivateKey:
        return load_ec_private(self._curve, private)

    def load_public(self, public: bytes) -> ec.EllipticCurvePublicKey:
        return load_ec_public(self._curve, public)

    def _private_from(self, dkp_prk: bytes) -> Secret:
        mask = (1 << self._curve.key_size) - 1
        for counter in range(256):
            candidate = self._kdf.labeled_expand(
                self._suite_id, dkp_prk, b"candidate", bytes([counter]), self._key_size
            )
            scalar = int.from_bytes(candidate, "big") & mask
            if 0 < scalar < self._curve.group_order:
                return Secret(scalar.to_bytes(self._key_size, "big"))
        raise ValueError("no private key can be derived from this input")

    def _generate(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(self._curve)

    def _public_bytes(self, private: ec.EllipticCurvePrivateKey) -> bytes:
        return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def _exchange(self, private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
        return private.exchange(ec.ECDH(), public)


P256 = _NistKem(0x0010, HKDF_SHA256, ec.SECP256R1())
P384 = _NistKem(0x0011, HKDF_SHA384, ec.SECP384R1())
P521 = _NistKem(0x0012, HKDF_SHA512, ec.SECP521R1())
X25519 = _X25519(0x0020, HKDF_SHA256, key_size=32, enc_size=32)
X448 = _X448(0x0021, HKDF_SHA512, key_size=56, enc_size=56)
