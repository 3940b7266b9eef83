"""Cipher suites: labelled cryptography (RFC 9420, section 5) over registered primitives. Knows no groups."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clave_crypto.codec import encode_vector
from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import DecryptionError, UnsupportedError
from clave_crypto.mls.kem import X25519, Kem
from clave_crypto.mls.signatures import ED25519, SignatureScheme

__all__ = [
    "SUITES",
    "CipherSuite",
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    "find_suite",
]

_LABEL_PREFIX = b"MLS 1.0 "


class _Aead(Protocol):
    def __init__(self, key: bytes, /) -> None: ...
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


@dataclass(frozen=True, repr=False)
class CipherSuite:
    """One entry of the registry (RFC 9420, section 17.1); sizes are in bytes."""

    id: int
    name: str
    hash_name: str
    hash_size: int
    key_size: int
    nonce_size: int
    kem: Kem
    signature: SignatureScheme
    aead: type[_Aead]
    hpke_kdf: hpke.KDF
    hpke_aead: hpke.AEAD
    _hpke: hpke.Suite = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hpke", hpke.Suite(self.kem.hpke_id, self.hpke_kdf, self.hpke_aead))

    def __repr__(self) -> str:
        return f"<CipherSuite {self.name}>"

    def hash(self, data: bytes) -> bytes:
        """Return Hash(data)."""
        return hashlib.new(self.hash_name, data).digest()

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """Return RefHash(label, value) (section 5.2). The label is whole, prefix included."""
        return self.hash(encode_vector(label) + encode_vector(value))

    def mac(self, key: bytes, data: bytes) -> bytes:
        """Return MAC(key, data)."""
        return hmac.digest(key, data, self.hash_name)

    def extract(self, salt: bytes, ikm: bytes) -> Secret:
        """Return KDF.Extract(salt, ikm)."""
        return Secret(hmac.digest(salt, ikm, self.hash_name))

    def expand(self, secret: bytes, info: bytes, length: int) -> Secret:
        """Return KDF.Expand(secret, info, length).

        Raises:
            ValueError: `length` is more than the KDF can give.

        """
        if length > 255 * self.hash_size:
            raise ValueError(f"the KDF gives at most {255 * self.hash_size} bytes")
        block = output = b""
        counter = 0
        while len(output) < length:
            counter += 1
            block = hmac.digest(secret, block + info + counter.to_bytes(1, "big"), self.hash_name)
            output += block
        return Secret(output[:length])

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> Secret:
        """Return ExpandWithLabel (section 8)."""
        info = length.to_bytes(2, "big") + encode_vector(_LABEL_PREFIX + label) + encode_vector(context)
        return self.expand(secret, info, length)

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
        sealed = self._hpke.encrypt(plaintext, self.kem.load_public(public), _labelled(label, context))
        return sealed[: self.kem.enc_size], sealed[self.kem.enc_size :]

    def decrypt_with_label(
        self, private: bytes, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> Secret:
        """Return DecryptWithLabel's plaintext (section 5.1.3).

        Raises:
            DecryptionError: not encrypted to this key in this context, or `kem_output` is not a fit key.

        """
        try:
            self.kem.check_public(kem_output)
            plaintext = self._hpke.decrypt(
                kem_output + ciphertext, self.kem.load_private(private), _labelled(label, context)
            )
        except (InvalidTag, KeyRejected, ValueError):
            raise DecryptionError("the public-key ciphertext does not open") from None
        return Secret(plaintext)

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


def _labelled(label: bytes, content: bytes) -> bytes:
    """Encode SignContent or EncryptContext, which have the same shape."""
    return encode_vector(_LABEL_PREFIX + label) + encode_vector(content)


MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 = CipherSuite(
    id=0x0001,
    name="MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    hash_name="sha256",
    hash_size=32,
    key_size=16,
    nonce_size=12,
    kem=X25519,
    signature=ED25519,
    aead=AESGCM,
    hpke_kdf=hpke.KDF.HKDF_SHA256,
    hpke_aead=hpke.AEAD.AES_128_GCM,
)

SUITES: dict[int, CipherSuite] = {
    suite.id: suite for suite in (MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,)
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
