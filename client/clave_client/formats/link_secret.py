"""The secret of a link by which somebody joins a room, and the two key pairs that follow from it. No I/O."""

from __future__ import annotations

import hashlib
import os
from typing import Final, Self

from clave_crypto.identity import DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import CipherSuite
from clave_wire.links import LinkProof, join_transcript

__all__ = ["SEED_BYTES", "LinkSecret"]

SEED_BYTES: Final = 16

_KEY_LABEL: Final = b"clave 1 link signature key\0"
_KEM_LABEL: Final = b"clave 1 link KEM key\0"


class LinkSecret:
    """The secret of a link (16 bytes), from which its two key pairs follow; left out of `repr`."""

    __slots__ = ("_signing", "seed")

    def __init__(self, seed: Secret) -> None:
        self.seed = seed
        self._signing = DeviceKey.from_secret(Secret(hashlib.sha256(_KEY_LABEL + seed).digest()))

    def __repr__(self) -> str:
        return f"<LinkSecret {self.key.hex()}>"

    @classmethod
    def generate(cls) -> Self:
        """Make the secret of a new link."""
        return cls(Secret(os.urandom(SEED_BYTES)))

    @property
    def key(self) -> bytes:
        """The link's public Ed25519 key (32 bytes), by which the relay and the members know it."""
        return self._signing.public

    def kem_keys(self, suite: CipherSuite) -> tuple[Secret, bytes]:
        """Return the private and the public key to which members of a room of `suite` seal."""
        ikm = hashlib.sha512(_KEM_LABEL + suite.id.to_bytes(2, "big") + self.seed).digest()
        return suite.kem.derive_key_pair(ikm)

    def prove(self, room: bytes, head: bytes, device: bytes, name: str) -> LinkProof:
        """Return the proof that a device of the account `name` may join from the epoch `head`."""
        return LinkProof(self.key, self._signing.sign(join_transcript(room, head, device, name)))
