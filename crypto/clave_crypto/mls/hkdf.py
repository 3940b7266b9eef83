"""HKDF (RFC 5869), and the labels HPKE adds to it (RFC 9180, section 4). Knows no use of what it derives."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from clave_crypto.keys import Secret

__all__ = ["HKDF_SHA256", "HKDF_SHA384", "HKDF_SHA512", "Hkdf"]

_VERSION = b"HPKE-v1"


@dataclass(frozen=True)
class Hkdf:
    """HKDF over one hash: its number in HPKE's registry, the hash's name in `hashlib`, its size in bytes."""

    id: int
    hash_name: str
    size: int

    def extract(self, salt: bytes, ikm: bytes) -> Secret:
        """Return Extract(salt, ikm), `size` bytes."""
        return Secret(hmac.digest(salt, ikm, self.hash_name))

    def expand(self, secret: bytes, info: bytes, length: int) -> Secret:
        """Return Expand(secret, info, length).

        Raises:
            ValueError: `length` is more than 255 hash sizes.

        """
        block = hmac.digest(secret, info + b"\x01", self.hash_name)
        if length <= self.size:
            return Secret(block[:length])
        if length > 255 * self.size:
            raise ValueError(f"the KDF gives at most {255 * self.size} bytes")
        output = block
        for counter in range(2, -(-length // self.size) + 1):
            block = hmac.digest(secret, block + info + bytes([counter]), self.hash_name)
            output += block
        return Secret(output[:length])

    def labeled_extract(self, suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> Secret:
        """Return LabeledExtract(salt, label, ikm) for the KEM or HPKE suite `suite_id`."""
        return self.extract(salt, self.extract_label(suite_id, label) + ikm)

    def labeled_expand(
        self, suite_id: bytes, secret: bytes, label: bytes, info: bytes, length: int
    ) -> Secret:
        """Return LabeledExpand(secret, label, info, length) for the KEM or HPKE suite `suite_id`."""
        return self.expand(secret, self.expand_label(suite_id, label, length) + info, length)

    @staticmethod
    def extract_label(suite_id: bytes, label: bytes) -> bytes:
        """Return what LabeledExtract puts before its input."""
        return _VERSION + suite_id + label

    @staticmethod
    def expand_label(suite_id: bytes, label: bytes, length: int) -> bytes:
        """Return what LabeledExpand puts before its info, for `length` bytes."""
        return length.to_bytes(2, "big") + _VERSION + suite_id + label


HKDF_SHA256 = Hkdf(0x0001, "sha256", 32)
HKDF_SHA384 = Hkdf(0x0002, "sha384", 48)
HKDF_SHA512 = Hkdf(0x0003, "sha512", 64)
