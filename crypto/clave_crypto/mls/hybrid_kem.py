"""ML-KEM-768 with X25519, KEM 0x647a (draft-ietf-hpke-pq, section 4): secure while either of the two is.

Knows no use of the secret. A private key is the 32-byte seed that both halves are expanded from.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret, check_x25519_public
from clave_crypto.mls.x25519 import BACKEND, KEY_BYTES

__all__ = ["MLKEM768_X25519", "HybridKem"]

_SEED_SIZE = 32
_MLKEM_SEED_SIZE = 64
_MLKEM_PUBLIC_SIZE = 1184
_MLKEM_ENC_SIZE = 1088
_MOST_PARSED = 4096
"""Key objects kept: parsing one takes longer than encrypting to it."""

_COMBINER_LABEL = b"\\.//^\\"


class HybridKem:
    """The `Kem` MLKEM768-X25519."""

    id = 0x647A
    enc_size = _MLKEM_ENC_SIZE + 32

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        """Return (private, public): SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32)."""
        label, length = b"DeriveKeyPair", _SEED_SIZE.to_bytes(2, "big")
        labeled = ikm + b"HPKE-v1KEM\x64\x7a" + len(label).to_bytes(2, "big") + label + length
        private = Secret(hashlib.shake_256(labeled).digest(_SEED_SIZE))
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of the seed `private`; raises `ValueError`."""
        mlkem_private, x25519_private = _expand(private)
        return mlkem_private.public_key().public_bytes_raw() + BACKEND.public_key(x25519_private)

    def check_public(self, public: bytes) -> None:
        """Check a public key; ML-KEM's half must be reduced (FIPS 203, section 7.2); raises `KeyRejected`."""
        _load_mlkem(public)

    def check_enc(self, enc: bytes) -> None:
        """Check that an ML-KEM ciphertext and a usable X25519 key make up `enc`; raises `KeyRejected`."""
        check_x25519_public(enc[_MLKEM_ENC_SIZE:])

    def encap(self, public: bytes) -> tuple[Secret, bytes]:
        """Return a new (shared_secret, enc); raises `KeyRejected`."""
        mlkem_secret, mlkem_enc = _load_mlkem(public).encapsulate()
        ephemeral, x25519_public = Secret(os.urandom(KEY_BYTES)), public[_MLKEM_PUBLIC_SIZE:]
        x25519_enc = BACKEND.public_key(ephemeral)
        x25519_secret = BACKEND.exchange(ephemeral, x25519_public)
        return _combine(mlkem_secret, x25519_secret, x25519_enc, x25519_public), mlkem_enc + x25519_enc

    def decap(self, private: bytes, enc: bytes) -> Secret:
        """Return the shared_secret in `enc`; raises `KeyRejected` or `ValueError`."""
        self.check_enc(enc)
        mlkem_private, x25519_private = _expand(private)
        x25519_enc = enc[_MLKEM_ENC_SIZE:]
        mlkem_secret = mlkem_private.decapsulate(enc[:_MLKEM_ENC_SIZE])
        x25519_secret = BACKEND.exchange(x25519_private, x25519_enc)
        return _combine(mlkem_secret, x25519_secret, x25519_enc, BACKEND.public_key(x25519_private))


def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, Secret]:
    """Return the private keys of both halves."""
    if len(seed) != _SEED_SIZE:
        raise ValueError(f"a hybrid private key has {_SEED_SIZE} bytes, not {len(seed)}")
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_SIZE + KEY_BYTES)
    mlkem_private = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
    return mlkem_private, Secret(expanded[_MLKEM_SEED_SIZE:])


@lru_cache(maxsize=_MOST_PARSED)
def _load_mlkem(public: bytes) -> MLKEM768PublicKey:
    """Return ML-KEM's half of a peer's key, whose X25519 half is checked; raises `KeyRejected`."""
    if len(public) != _MLKEM_PUBLIC_SIZE + 32:
        raise KeyRejected(f"a hybrid public key has {_MLKEM_PUBLIC_SIZE + 32} bytes, not {len(public)}")
    check_x25519_public(public[_MLKEM_PUBLIC_SIZE:])
    try:
        return MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE])
    except ValueError:
        raise KeyRejected("the ML-KEM-768 public key is not reduced") from None


def _combine(mlkem_secret: bytes, x25519_secret: bytes, x25519_enc: bytes, x25519_public: bytes) -> Secret:
    """Combine both secrets. ML-KEM binds its ciphertext and key by itself; X25519's are hashed here."""
    joined = mlkem_secret + x25519_secret + x25519_enc + x25519_public + _COMBINER_LABEL
    return Secret(hashlib.sha3_256(joined).digest())


MLKEM768_X25519 = HybridKem()
