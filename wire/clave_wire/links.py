"""What the key of a link signs, so that its holder can join a room by itself. Holds no keys.

The relay and the members check the same signature: the relay in `Submit.welcome`, the members in the leaf.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from clave_wire.errors import RemoteError
from clave_wire.messages import Code

__all__ = ["PROOF_BYTES", "LinkProof", "join_transcript"]

PROOF_BYTES: Final = 32 + 64

_LABEL: Final = b"clave join by link\x00"


class LinkProof(NamedTuple):
    """That a device may join: the link's Ed25519 public key (32 bytes), its signature (64 bytes)."""

    link: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Return its 96 bytes."""
        return self.link + self.signature

    @classmethod
    def decode(cls, data: bytes) -> LinkProof:
        """Parse what `encode` returned. Raises `RemoteError`."""
        if len(data) != PROOF_BYTES:
            raise RemoteError(Code.MALFORMED, f"the proof of a link has {PROOF_BYTES} bytes")
        return cls(data[:32], data[32:])


def join_transcript(room: bytes, head: bytes, device: bytes, name: str) -> bytes:
    """Return what a link's key signs for one device: room (16 bytes), epoch and device (32), account name.

    `head` is the epoch from which the device joins, as in its entry's header.
    """
    return _LABEL + room + head + device + name.encode()
