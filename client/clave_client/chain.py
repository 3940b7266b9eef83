"""A hash chain over one room's log, by which members notice that a relay shows them different histories.

The chain starts anew with each epoch, so that whoever joins with a commit can follow it from there. Each message
says how its sender saw it (`content.Seen`).
"""

from __future__ import annotations

import hashlib

import msgspec

from clave_wire.messages import Entry

__all__ = ["extend", "start"]

_LABEL = b"clave 1 log chain"
_encoder = msgspec.msgpack.Encoder()


def start(room: bytes, seq: int, epoch: int) -> bytes:
    """Return the chain's hash after the commit at `seq` that began `epoch` (0 and 0 for a new room)."""
    return hashlib.sha256(_LABEL + room + seq.to_bytes(8, "big") + epoch.to_bytes(8, "big")).digest()


def extend(link: bytes, entry: Entry) -> bytes:
    """Return the chain's hash after `entry`."""
    return hashlib.sha256(link + _encoder.encode(entry)).digest()
