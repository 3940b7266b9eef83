"""A cipher suite for simulations whose public-key operations are hashes: fast, and no security whatever.

Whoever plays by the program's rules can open and sign only what its keys allow, so everything that depends on
who holds which key behaves as with a real suite. Lives among the tests, so no shipped package can import it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clave_crypto.errors import KeyRejected, SignatureInvalid
from clave_crypto.keys import Secret
from clave_crypto.mls.hkdf import HKDF_SHA256
from clave_crypto.mls.hpke import AES_128_GCM
from clave_crypto.mls.suites import SUITES, CipherSuite

__all__ = ["FAST", "fast_suite_known"]


def _digest(label: bytes, *parts: bytes) -> bytes:
    return hashlib.sha256(label + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


class _Kem:
    """Keys are 32 bytes; the public one is the hash of the private one, and so on."""

    id = 0xFFFE
    enc_size = 32

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        private = Secret(_digest(b"private", ikm))
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        if len(private) != 32:
            raise ValueError("a private key has 32 bytes")
        return _digest(b"public", private)

    def check_public(self, public: bytes) -> None:
        if len(public) != 32:
            raise KeyRejected("a public key has 32 bytes")

    check_enc = check_public

    def encap(self, public: bytes) -> tuple[Secret, bytes]:
        self.check_public(public)
        enc = os.urandom(32)
        return Secret(_digest(b"shared", public, enc)), enc

    def decap(self, private: bytes, enc: bytes) -> Secret:
        self.check_enc(enc)
        return Secret(_digest(b"shared", self.public_key(private), enc))


@lru_cache(maxsize=4096)
def _public(private: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


class _Signature:
    """Keys are those of Ed25519, as a device's key is one; a signature hashes public key and message."""

    def generate(self, random: Callable[[int], bytes]) -> Secret:
        return Secret(random(32))

    def public_key(self, private: bytes) -> bytes:
        return _public(bytes(private))

    def check_public(self, public: bytes) -> None:
        if len(public) != 32:
            raise KeyRejected("a public key has 32 bytes")

    def encode_public(self, key: object) -> bytes:
        raise KeyRejected("there are no key objects of this scheme")

    def sign(self, private: bytes, message: bytes) -> bytes:
        public = self.public_key(private)
        return _digest(b"signed", public, message) + bytes(32)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        self.check_public(public)
        if signature != _digest(b"signed", public, message) + bytes(32):
            raise SignatureInvalid("the signature does not verify")


FAST = CipherSuite(
    0xF0FA,
    "SIMULATION_NO_SECURITY",
    "hashes without security (simulation only)",
    _Kem(),
    HKDF_SHA256,
    _Signature(),
    AES_128_GCM,
)


@contextmanager
def fast_suite_known() -> Iterator[None]:
    """Have the MLS library find this suite by its number."""
    SUITES[FAST.id] = FAST
    try:
        yield
    finally:
        del SUITES[FAST.id]
