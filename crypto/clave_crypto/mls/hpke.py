"""HPKE's base mode (RFC 9180, section 5.1): one message, or one exported secret. Knows no labels of MLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import DecryptionError
from clave_crypto.mls.hkdf import Hkdf
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
    cipher: type[Cipher]
    key_size: int
    nonce_size: int = 12


AES_128_GCM = Aead(0x0001, AESGCM, key_size=16)
AES_256_GCM = Aead(0x0002, AESGCM, key_size=32)
CHACHA20_POLY1305 = Aead(0x0003, ChaCha20Poly1305, key_size=32)


@dataclass(frozen=True)
class _Schedule:
    """What the key schedule makes of an `info` (section 5.1): the input of each of its three expansions."""

    key_info: bytes
    nonce_info: bytes
    exporter_info: bytes


class Hpke:
    """An HPKE cipher suite: one KEM, KDF and AEAD."""

    def __init__(self, kem: Kem, kdf: Hkdf, aead: Aead) -> None:
        self._kem = kem
        self._kdf = kdf
        self._aead = aead
        self._suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem.id, kdf.id, aead.id))
        self._secret_label = kdf.extract_label(self._suite_id, b"secret")
        self._latest = b"", self._make_schedule(b"")

    def seal(self, public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Return (enc, ciphertext) of SealBase with no associated data (section 6.1).

        Raises:
            KeyRejected: `public` must not be used.

        """
        shared_secret, enc = self._kem.encap(public)
        key, nonce = self._key_nonce(shared_secret, info)
        return enc, self._aead.cipher(key).encrypt(nonce, plaintext, b"")

    def open(self, private: bytes, enc: bytes, info: bytes, ciphertext: bytes) -> Secret:
        """Return OpenBase's plaintext (section 6.1).

        Raises:
            DecryptionError: not encrypted to this key with this `info`, or `enc` is not a valid key.

        """
        try:
            key, nonce = self._key_nonce(self._kem.decap(private, enc), info)
            return Secret(self._aead.cipher(key).decrypt(nonce, ciphertext, b""))
        except (InvalidTag, KeyRejected, ValueError):
            raise DecryptionError("the public-key ciphertext does not open") from None

    def send_export(self, public: bytes, info: bytes, label: bytes, length: int) -> tuple[bytes, Secret]:
        """Return (enc, secret) of SendExportBase, `label` being the exporter context (section 6.2).

        Raises:
            KeyRejected: `public` must not be used.

        """
        shared_secret, enc = self._kem.encap(public)
        return enc, self._export(shared_secret, info, label, length)

    def receive_export(self, private: bytes, enc: bytes, info: bytes, label: bytes, length: int) -> Secret:
        """Return the secret of ReceiveExportBase (section 6.2).

        Raises:
            DecryptionError: `enc` is not a valid key.

        """
        try:
            shared_secret = self._kem.decap(private, enc)
        except (KeyRejected, ValueError):
            raise DecryptionError("the encapsulated key does not open") from None
        return self._export(shared_secret, info, label, length)

    def _key_nonce(self, shared_secret: Secret, info: bytes) -> tuple[Secret, Secret]:
        """Return the key and the nonce of the first message, by KeySchedule in base mode."""
        schedule, secret = self._schedule(info), self._kdf.extract(shared_secret, self._secret_label)
        key = self._kdf.expand(secret, schedule.key_info, self._aead.key_size)
        return key, self._kdf.expand(secret, schedule.nonce_info, self._aead.nonce_size)

    def _exporter_secret(self, shared_secret: Secret, info: bytes) -> Secret:
        """Return the exporter_secret of KeySchedule in base mode."""
        secret = self._kdf.extract(shared_secret, self._secret_label)
        return self._kdf.expand(secret, self._schedule(info).exporter_info, self._kdf.size)

    def _export(self, shared_secret: Secret, info: bytes, label: bytes, length: int) -> Secret:
        secret = self._exporter_secret(shared_secret, info)
        return self._kdf.labeled_expand(self._suite_id, secret, b"sec", label, length)

    def _schedule(self, info: bytes) -> _Schedule:
        """Return what is made of `info`, hashed once for all who get a path or a Welcome."""
        known, schedule = self._latest
        if known is not info:
            schedule = self._make_schedule(info)
            self._latest = info, schedule
        return schedule

    def _make_schedule(self, info: bytes) -> _Schedule:
        extract, label = self._kdf.labeled_extract, self._kdf.expand_label
        psk_id_hash = extract(self._suite_id, b"", b"psk_id_hash", b"")
        info_hash = extract(self._suite_id, b"", b"info_hash", info)
        context = b"\x00" + psk_id_hash + info_hash
        return _Schedule(
            key_info=label(self._suite_id, b"key", self._aead.key_size) + context,
            nonce_info=label(self._suite_id, b"base_nonce", self._aead.nonce_size) + context,
            exporter_info=label(self._suite_id, b"exp", self._kdf.size) + context,
        )
