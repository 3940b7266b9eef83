"""ML-KEM-768 with X25519, KEM 0x647a (draft-ietf-hpke-pq, section 4): secure while either of the two is.

Knows no use of the secret. A private key is the 32-byte seed that both halves are expanded from.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret, check_x25519_public

__all__ = ["MLKEM768_X25519", "HybridKem"]

_SEED_SIZE = 32
_MLKEM_SEED_SIZE = 64
_MLKEM_PUBLIC_SIZE = 1184
_MLKEM_ENC_SIZE = 1088
_COMBINER_LABEL = b"\\.//^\\"


class HybridKem:
    """The `Kem` MLKEM768-X25519."""

    id = 0x647A
    hpke_id = hpke.KEM.MLKEM768_X25519
    enc_size = _MLKEM_ENC_SIZE + 32

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        """Return (private, public): SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32)."""
        label, length = b"DeriveKeyPair", _SEED_SIZE.to_bytes(2, "big")
        labeled = ikm + b"HPKE-v1KEM\x64\x7a" + len(label).to_bytes(2, "big") + label + length
        private = Secret(hashlib.shake_256(labeled).digest(_SEED_SIZE))
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of the seed `private`; raises `ValueError`."""
        return _public_bytes(*_expand(private))

    def check_public(self, public: bytes) -> None:
        """Check a public key; ML-KEM's half must be reduced (FIPS 203, section 7.2); raises `KeyRejected`."""
        _load_halves(public)

    def check_enc(self, enc: bytes) -> None:
        """Check that an ML-KEM ciphertext and a usable X25519 key make up `enc`; raises `KeyRejected`."""
        check_x25519_public(enc[_MLKEM_ENC_SIZE:])

    def load_private(self, private: bytes) -> hpke.MLKEM768X25519PrivateKey:
        """Return the key object of the seed `private`; raises `ValueError`."""
        return hpke.MLKEM768X25519PrivateKey(*_expand(private))

    def load_public(self, public: bytes) -> hpke.MLKEM768X25519PublicKey:
        """Return the key object of a peer's key; raises `KeyRejected`."""
        return hpke.MLKEM768X25519PublicKey(*_load_halves(public))

    def encap(self, public: bytes) -> tuple[Secret, bytes]:
        """Return a new (shared_secret, enc); raises `KeyRejected`."""
        mlkem_public, x25519_public = _load_halves(public)
        mlkem_secret, mlkem_enc = mlkem_public.encapsulate()
        ephemeral = X25519PrivateKey.generate()
        x25519_enc = ephemeral.public_key().public_bytes_raw()
        x25519_secret = ephemeral.exchange(x25519_public)
        shared = _combine(mlkem_secret, x25519_secret, x25519_enc, public[_MLKEM_PUBLIC_SIZE:])
        return shared, mlkem_enc + x25519_enc

    def decap(self, private: bytes, enc: bytes) -> Secret:
        """Return the shared_secret in `enc`; raises `KeyRejected` or `ValueError`."""
        self.check_enc(enc)
        mlkem_private, x25519_private = _expand(private)
        x25519_enc = enc[_MLKEM_ENC_SIZE:]
        mlkem_secret = mlkem_private.decapsulate(enc[:_MLKEM_ENC_SIZE])
        x25519_secret = x25519_private.exchange(X25519PublicKey.from_public_bytes(x25519_enc))
        own_public = x25519_private.public_key().public_bytes_raw()
        return _combine(mlkem_secret, x25519_secret, x25519_enc, own_public)


def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(seed) != _SEED_SIZE:
        raise ValueError(f"a hybrid private key has {_SEED_SIZE} bytes, not {len(seed)}")
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_SIZE + 32)
    mlkem_private = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
    return mlkem_private, X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:])


def _public_bytes(mlkem_private: MLKEM768PrivateKey, x25519_private: X25519PrivateKey) -> bytes:
    return mlkem_private.public_key().public_bytes_raw() + x25519_private.public_key().public_bytes_raw()


def _load_halves(public: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
    if len(public) != _MLKEM_PUBLIC_SIZE + 32:
        raise KeyRejected(f"a hybrid public key has {_MLKEM_PUBLIC_SIZE + 32} bytes, not {len(public)}")
    check_x25519_public(public[_MLKEM_PUBLIC_SIZE:])
    try:
        mlkem_public = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE])
    except ValueError:
        raise KeyRejected("the ML-KEM-768 public key is not reduced") from None
    return mlkem_public, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_SIZE:])


def _combine(mlkem_secret: bytes, x25519_secret: bytes, x25519_enc: bytes, x25519_public: bytes) -> Secret:
    """Combine both secrets. ML-KEM binds its ciphertext and key by itself; X25519's are hashed here."""
    joined = mlkem_secret + x25519_secret + x25519_enc + x25519_public + _COMBINER_LABEL
    return Secret(hashlib.sha3_256(joined).digest())


MLKEM768_X25519 = HybridKem()
