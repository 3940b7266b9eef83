"""Cipher suites: labelled cryptography (RFC 9420, section 5) over registered primitives. Knows no groups."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidTag

from clave_crypto.codec import encode_vector
from clave_crypto.keys import Secret
from clave_crypto.mls.dhkem import P256, P384, P521, X448, X25519
from clave_crypto.mls.errors import DecryptionError, LocalError, UnsupportedError
from clave_crypto.mls.grease import GREASE
from clave_crypto.mls.hkdf import HKDF_SHA256, HKDF_SHA384, HKDF_SHA512, Hkdf
from clave_crypto.mls.hpke import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, Aead, Cipher, Hpke
from clave_crypto.mls.hybrid_kem import MLKEM768_X25519
from clave_crypto.mls.kem import Kem
from clave_crypto.mls.signatures import (
    ECDSA_P256,
    ECDSA_P384,
    ECDSA_P521,
    ED448,
    ED25519,
    SignatureScheme,
)

__all__ = [
    "MLKEM768_SUITE_ID",
    "SUITES",
    "CipherSuite",
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
    "find_suite",
    "set_mlkem768_suite_id",
]

MLKEM768_SUITE_ID = 0xF47A
"""Private-use number of MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519, until it is registered.

`set_mlkem768_suite_id` sets another one.
"""

_LABEL_PREFIX = b"MLS 1.0 "
_EXTERNAL_INIT_LABEL = b"MLS 1.0 external init secret"


@dataclass(frozen=True, repr=False)
class CipherSuite:
    """A cipher suite (RFC 9420, section 17.1); `words` describes it for people. Sizes are in bytes."""

    id: int
    name: str
    words: str
    kem: Kem
    kdf: Hkdf
    signature: SignatureScheme
    aead_entry: Aead

    @cached_property
    def hash_name(self) -> str:
        """The hash's name in `hashlib`."""
        return self.kdf.hash_name

    @cached_property
    def hash_size(self) -> int:
        """Bytes of a hash, and of a secret (Nh)."""
        return self.kdf.size

    @cached_property
    def key_size(self) -> int:
        """Bytes of an AEAD key (Nk)."""
        return self.aead_entry.key_size

    @cached_property
    def nonce_size(self) -> int:
        """Bytes of an AEAD nonce (Nn)."""
        return self.aead_entry.nonce_size

    @cached_property
    def aead(self) -> type[Cipher]:
        """The class of `cryptography` that `seal` and `open` use."""
        return self.aead_entry.cipher

    @cached_property
    def _hash(self) -> Callable[[bytes], hashlib._Hash]:
        found: Callable[[bytes], hashlib._Hash] = getattr(hashlib, self.hash_name)
        return found

    @cached_property
    def _hpke(self) -> Hpke:
        return Hpke(self.kem, self.kdf, self.aead_entry)

    def __repr__(self) -> str:
        return f"<CipherSuite {self.name}>"

    def hash(self, data: bytes) -> bytes:
        """Return Hash(data)."""
        return self._hash(data).digest()

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """Return RefHash(label, value) (section 5.2). The label is whole, prefix included."""
        return self.hash(encode_vector(label) + encode_vector(value))

    def mac(self, key: bytes, data: bytes) -> bytes:
        """Return MAC(key, data)."""
        return hmac.digest(key, data, self.hash_name)

    def extract(self, salt: bytes, ikm: bytes) -> Secret:
        """Return KDF.Extract(salt, ikm)."""
        return self.kdf.extract(salt, ikm)

    def expand(self, secret: bytes, info: bytes, length: int) -> Secret:
        """Return KDF.Expand(secret, info, length).

        Raises:
            ValueError: `length` is more than 255 hash sizes.

        """
        return self.kdf.expand(secret, info, length)

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> Secret:
        """Return ExpandWithLabel (section 8)."""
        return self.kdf.expand(secret, _kdf_label(label, length) + encode_vector(context), length)

    def derive_secret(self, secret: bytes, label: bytes) -> Secret:
        """Return DeriveSecret (section 8)."""
        return self.expand_with_label(secret, label, b"", self.hash_size)

    def derive_tree_secret(self, secret: bytes, label: bytes, generation: int, length: int) -> Secret:
        """Return DeriveTreeSecret (section 9.1)."""
        return self.expand_with_label(secret, label, generation.to_bytes(4, "big"), length)

    def sign_with_label(self, private: bytes, label: bytes, content: bytes) -> bytes:
        """Return SignWithLabel (section 5.1.2)."""
        return self.signature.sign(private, _labelled(label, content))

    def verify_with_label(self, public: bytes, label: bytes, content: bytes, signature: bytes) -> None:
        """Check SignWithLabel's result (section 5.1.2).

        Raises:
            KeyRejected: `public` must not be used.
            SignatureInvalid: the signature does not verify.

        """
        self.signature.verify(public, _labelled(label, content), signature)

    def encrypt_with_label(
        self, public: bytes, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        """Return EncryptWithLabel's (kem_output, ciphertext) (section 5.1.3).

        Raises:
            KeyRejected: `public` must not be used.

        """
        return self._hpke.seal(public, _encrypt_context(label, context), plaintext)

    def decrypt_with_label(
        self, private: bytes, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> Secret:
        """Return DecryptWithLabel's plaintext (section 5.1.3).

        Raises:
            DecryptionError: not encrypted to this key in this context, or `kem_output` is not a valid key.

        """
        return self._hpke.open(private, kem_output, _encrypt_context(label, context), ciphertext)

    def seal_external_init(self, public: bytes) -> tuple[bytes, Secret]:
        """Return (kem_output, init_secret) for a group whose external key is `public` (section 8.3).

        Raises:
            KeyRejected: `public` must not be used.

        """
        return self._hpke.send_export(public, b"", _EXTERNAL_INIT_LABEL, self.hash_size)

    def open_external_init(self, private: bytes, kem_output: bytes) -> Secret:
        """Return the init_secret in `kem_output`, given the group's external private key (section 8.3).

        Raises:
            DecryptionError: `kem_output` is not a valid key.

        """
        return self._hpke.receive_export(private, kem_output, b"", _EXTERNAL_INIT_LABEL, self.hash_size)

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Return AEAD.Seal."""
        return self.aead(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """Return AEAD.Open.

        Raises:
            DecryptionError: the ciphertext was not made with this key, nonce and data.

        """
        try:
            return self.aead(key).decrypt(nonce, ciphertext, aad)
        except (InvalidTag, ValueError):
            raise DecryptionError("the ciphertext does not open") from None


@lru_cache(maxsize=1024)
def _kdf_label(label: bytes, length: int) -> bytes:
    """Encode KDFLabel up to its context (section 8)."""
    return length.to_bytes(2, "big") + encode_vector(_LABEL_PREFIX + label)


@lru_cache(maxsize=1)
def _encrypt_context(label: bytes, context: bytes) -> bytes:
    """Encode EncryptContext, which is the same for everyone a path is encrypted to."""
    return _labelled(label, context)


def _labelled(label: bytes, content: bytes) -> bytes:
    """Encode SignContent or EncryptContext, which have the same shape."""
    return encode_vector(_LABEL_PREFIX + label) + encode_vector(content)


MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 = CipherSuite(
    0x0001,
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    "X25519, AES-128-GCM, SHA-256, Ed25519",
    X25519,
    HKDF_SHA256,
    ED25519,
    AES_128_GCM,
)

MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519 = CipherSuite(
    MLKEM768_SUITE_ID,
    "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
    "ML-KEM-768 with X25519 (post-quantum), AES-128-GCM, SHA-256, Ed25519",
    MLKEM768_X25519,
    HKDF_SHA256,
    ED25519,
    AES_128_GCM,
)

SUITES: dict[int, CipherSuite] = {
    suite.id: suite
    for suite in (
        MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        CipherSuite(
            0x0002,
            "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
            "P-256, AES-128-GCM, SHA-256, ECDSA on P-256",
            P256,
            HKDF_SHA256,
            ECDSA_P256,
            AES_128_GCM,
        ),
        CipherSuite(
            0x0003,
            "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
            "X25519, ChaCha20-Poly1305, SHA-256, Ed25519",
            X25519,
            HKDF_SHA256,
            ED25519,
            CHACHA20_POLY1305,
        ),
        CipherSuite(
            0x0004,
            "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
            "X448, AES-256-GCM, SHA-512, Ed448",
            X448,
            HKDF_SHA512,
            ED448,
            AES_256_GCM,
        ),
        CipherSuite(
            0x0005,
            "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
            "P-521, AES-256-GCM, SHA-512, ECDSA on P-521",
            P521,
            HKDF_SHA512,
            ECDSA_P521,
            AES_256_GCM,
        ),
        CipherSuite(
            0x0006,
            "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
            "X448, ChaCha20-Poly1305, SHA-512, Ed448",
            X448,
            HKDF_SHA512,
            ED448,
            CHACHA20_POLY1305,
        ),
        CipherSuite(
            0x0007,
            "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
            "P-384, AES-256-GCM, SHA-384, ECDSA on P-384",
            P384,
            HKDF_SHA384,
            ECDSA_P384,
            AES_256_GCM,
        ),
        MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    )
}
"""Every cipher suite this library has, by its number."""


def find_suite(suite_id: int) -> CipherSuite:
    """Return the cipher suite numbered `suite_id`.

    Raises:
        UnsupportedError: this library does not have it.

    """
    try:
        return SUITES[suite_id]
    except KeyError:
        raise UnsupportedError(f"cipher suite {suite_id:#06x} is not supported") from None


def set_mlkem768_suite_id(suite_id: int) -> None:
    """Give the post-quantum suite another number in this process, as peers may use another private one.

    Call it before anything is made or restored: what was stored under the former number is refused then.

    Raises:
        LocalError: another suite has the number, or it is none: 0, a GREASE value, or beyond 16 bits.

    """
    suite = MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
    if not 0 < suite_id < 1 << 16 or suite_id in GREASE or SUITES.get(suite_id, suite) is not suite:
        raise LocalError(f"{suite_id:#06x} cannot be the number of a cipher suite here")
    del SUITES[suite.id]
    object.__setattr__(suite, "id", suite_id)
    SUITES[suite_id] = suite
