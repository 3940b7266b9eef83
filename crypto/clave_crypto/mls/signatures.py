"""Signature schemes of MLS (RFC 9420, section 5.1.1): keys and signatures are bytes. Knows no labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clave_crypto.errors import KeyRejected, SignatureInvalid
from clave_crypto.keys import (
    Secret,
    check_ed448_encoding,
    check_ed25519_encoding,
    load_ec_private,
    load_ec_public,
)

__all__ = ["ECDSA_P256", "ECDSA_P384", "ECDSA_P521", "ED448", "ED25519", "SignatureScheme"]


class SignatureScheme(Protocol):
    """A signature scheme."""

    def generate(self, random: Callable[[int], bytes]) -> Secret:
        """Return a new private key, made of `random(size)`."""

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of `private`; raises `ValueError` if that is not a private key."""

    def check_public(self, public: bytes) -> None:
        """Check that a peer's public key may be used; raises `KeyRejected`.

        An EdDSA key may still be off the curve: no signature verifies under such a key, and checking costs as
        much as verifying.
        """

    def encode_public(self, key: object) -> bytes:
        """Return the bytes of a key object of `cryptography`; raises `KeyRejected` if of another scheme."""

    def sign(self, private: bytes, message: bytes) -> bytes:
        """Return the signature of `message`; raises `ValueError` if `private` is not a private key."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Check a signature; raises `KeyRejected` or `SignatureInvalid`."""


_KEPT_KEYS: Final = 4
"""Private keys kept loaded: a client has one or two, and loading one takes as long as signing with it."""

_load_ed25519 = lru_cache(_KEPT_KEYS)(Ed25519PrivateKey.from_private_bytes)
_load_ed448 = lru_cache(_KEPT_KEYS)(Ed448PrivateKey.from_private_bytes)
_load_ecdsa = lru_cache(_KEPT_KEYS)(load_ec_private)


class _Ed25519:
    """EdDSA with Ed25519 (RFC 8032): any 32 bytes are a private key."""

    def generate(self, random: Callable[[int], bytes]) -> Secret:
        return Secret(random(32))

    def public_key(self, private: bytes) -> bytes:
        return _load_ed25519(private).public_key().public_bytes_raw()

    def check_public(self, public: bytes) -> None:
        check_ed25519_encoding(public)

    def encode_public(self, key: object) -> bytes:
        if not isinstance(key, Ed25519PublicKey):
            raise KeyRejected("the key is not one for Ed25519")
        return key.public_bytes_raw()

    def sign(self, private: bytes, message: bytes) -> bytes:
        return _load_ed25519(private).sign(message)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        check_ed25519_encoding(public)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalid("the signature does not verify") from None


class _Ed448:
    """EdDSA with Ed448 (RFC 8032): any 57 bytes are a private key."""

    def generate(self, random: Callable[[int], bytes]) -> Secret:
        return Secret(random(57))

    def public_key(self, private: bytes) -> bytes:
        return _load_ed448(private).public_key().public_bytes_raw()

    def check_public(self, public: bytes) -> None:
        check_ed448_encoding(public)

    def encode_public(self, key: object) -> bytes:
        if not isinstance(key, Ed448PublicKey):
            raise KeyRejected("the key is not one for Ed448")
        return key.public_bytes_raw()

    def sign(self, private: bytes, message: bytes) -> bytes:
        return _load_ed448(private).sign(message)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        check_ed448_encoding(public)
        try:
            Ed448PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalid("the signature does not verify") from None


class _Ecdsa:
    """ECDSA: scalars as private keys, uncompressed points as public ones, DER signatures."""

    def __init__(self, curve: ec.EllipticCurve, hash_algorithm: hashes.HashAlgorithm) -> None:
        self._curve = curve
        self._algorithm = ec.ECDSA(hash_algorithm)

    def generate(self, random: Callable[[int], bytes]) -> Secret:
        # FIPS 186-5, appendix A.2.1: 64 bits more than the order make the bias negligible.
        size = (self._curve.key_size + 7) // 8
        wide = int.from_bytes(random(size + 8), "big")
        return Secret((wide % (self._curve.group_order - 1) + 1).to_bytes(size, "big"))

    def public_key(self, private: bytes) -> bytes:
        return self.encode_public(_load_ecdsa(self._curve, private).public_key())

    def check_public(self, public: bytes) -> None:
        load_ec_public(self._curve, public)

    def encode_public(self, key: object) -> bytes:
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != self._curve.name:
            raise KeyRejected(f"the key is not one for ECDSA on {self._curve.name}")
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, private: bytes, message: bytes) -> bytes:
        return _load_ecdsa(self._curve, private).sign(message, self._algorithm)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        try:
            load_ec_public(self._curve, public).verify(signature, message, self._algorithm)
        except InvalidSignature:
            raise SignatureInvalid("the signature does not verify") from None


ED25519: SignatureScheme = _Ed25519()
ED448: SignatureScheme = _Ed448()
ECDSA_P256: SignatureScheme = _Ecdsa(ec.SECP256R1(), hashes.SHA256())
ECDSA_P384: SignatureScheme = _Ecdsa(ec.SECP384R1(), hashes.SHA384())
ECDSA_P521: SignatureScheme = _Ecdsa(ec.SECP521R1(), hashes.SHA512())
