"""HPKE's base mode (RFC 9180, section 5.1): one message, or one exported secret. Knows no labels of MLS.

`cryptography` encrypts where it has the KEM; the key schedule here is for the exporter and for X448.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import DecryptionError
from clave_crypto.mls.hkdf import HKDF_SHA256, HKDF_SHA384, HKDF_SHA512, Hkdf
from clave_crypto.mls.kem import Kem

__all__ = ["AES_128_GCM", "AES_256_GCM", "CHACHA20_POLY1305", "Aead", "Cipher", "Hpke"]


class Cipher(Protocol):
    """An AEAD with its key, as in `cryptography`."""

    def __init__(self, key: bytes, /) -> None: ...

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Return the ciphertext, tag included."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Return the plaintext; raises `InvalidTag`."""


@dataclass(frozen=True)
class Aead:
    """An AEAD of the registry (section 7.3); sizes are in bytes."""

    id: int
    hpke_id: hpke.AEAD
    cipher: type[Cipher]
    key_size: int
    nonce_size: int = 12


AES_128_GCM = Aead(0x0001, hpke.AEAD.AES_128_GCM, AESGCM, key_size=16)
AES_256_GCM = Aead(0x0002, hpke.AEAD.AES_256_GCM, AESGCM, key_size=32)
CHACHA20_POLY1305 = Aead(0x0003, hpke.AEAD.CHACHA20_POLY1305, ChaCha20Poly1305, key_size=32)

_KDFS = {
    HKDF_SHA256: hpke.KDF.HKDF_SHA256,
    HKDF_SHA384: hpke.KDF.HKDF_SHA384,
    HKDF_SHA512: hpke.KDF.HKDF_SHA512,
}


@dataclass(frozen=True)
class _Context:
    """Secrets that the key schedule derives from a shared secret (section 5.1), for a single message."""

    key: Secret
    base_nonce: Secret
    exporter_secret: Secret


class Hpke:
    """An HPKE cipher suite: one KEM, KDF and AEAD."""

    def __init__(self, kem: Kem, kdf: Hkdf, aead: Aead) -> None:
        self._kem = kem
        self._kdf = kdf
        self._aead = aead
        self._suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem.id, kdf.id, aead.id))
        self._ready = hpke.Suite(kem.hpke_id, _KDFS[kdf], aead.hpke_id) if kem.hpke_id else None

    def seal(self, public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Return (enc, ciphertext) of SealBase with no associated data (section 6.1).

        Raises:
            KeyRejected: `public` must not be used.

        """
        if self._ready:
            key = self._kem.load_public(public)
            sealed = self._ready.encrypt(plaintext, key, info)  # type: ignore[arg-type]  # X448 is never ready
            return sealed[: self._kem.enc_size], sealed[self._kem.enc_size :]
        shared_secret, enc = self._kem.encap(public)
        context = self._schedule(shared_secret, info)
        return enc, self._aead.cipher(context.key).encrypt(context.base_nonce, plaintext, b"")

    def open(self, private: bytes, enc: bytes, info: bytes, ciphertext: bytes) -> Secret:
        """Return OpenBase's plaintext (section 6.1).

        Raises:
            DecryptionError: not encrypted to this key with this `info`, or `enc` is not a valid key.

        """
        try:
            if self._ready:
                self._kem.check_enc(enc)
                key = self._kem.load_private(private)
                sealed = enc + ciphertext
                return Secret(self._ready.decrypt(sealed, key, info))  # type: ignore[arg-type]  # as above
            context = self._schedule(self._kem.decap(private, enc), info)
            return Secret(self._aead.cipher(context.key).decrypt(context.base_nonce, ciphertext, b""))
        except (InvalidTag, KeyRejected, ValueError):
            raise DecryptionError("the public-key ciphertext does not open") from None

    def send_export(self, public: bytes, info: bytes, label: bytes, length: int) -> tuple[bytes, Secret]:
        """Return (enc, secret) of SendExportBase, `label` being the exporter context (section 6.2).

        Raises:
            KeyRejected: `public` must not be used.

        """
        shared_secret, enc = self._kem.encap(public)
        return enc, self._export(self._schedule(shared_secret, info), label, length)

    def receive_export(self, private: bytes, enc: bytes, info: bytes, label: bytes, length: int) -> Secret:
        """Return the secret of ReceiveExportBase (section 6.2).

        Raises:
            DecryptionError: `enc` is not a valid key.

        """
        try:
            shared_secret = self._kem.decap(private, enc)
        except (KeyRejected, ValueError):
            raise DecryptionError("the encapsulated key does not open") from None
        return self._export(self._schedule(shared_secret, info), label, length)

    def _schedule(self, shared_secret: Secret, info: bytes) -> _Context:
        """Return the context of KeySchedule in base mode, without a pre-shared key."""
        extract, expand, suite_id = self._kdf.labeled_extract, self._kdf.labeled_expand, self._suite_id
        psk_id_hash = extract(suite_id, b"", b"psk_id_hash", b"")
        info_hash = extract(suite_id, b"", b"info_hash", info)
        context = b"\x00" + psk_id_hash + info_hash
        secret = extract(suite_id, shared_secret, b"secret", b"")
        return _Context(
            key=expand(suite_id, secret, b"key", context, self._aead.key_size),
            base_nonce=expand(suite_id, secret, b"base_nonce", context, self._aead.nonce_size),
            exporter_secret=expand(suite_id, secret, b"exp", context, self._kdf.size),
        )

    def _export(self, context: _Context, label: bytes, length: int) -> Secret:
        return self._kdf.labeled_expand(self._suite_id, context.exporter_secret, b"sec", label, length)
