"""Segments: consecutive entries of one room, stored as one row of frames.

A frame begins with its u32 length (`clave_wire.framing`) and seqs have no gap, so that an entry's offset is
found without decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from clave_server.errors import DamageError
from clave_wire.errors import RemoteError
from clave_wire.framing import HEADER_BYTES, FrameBuffer, unpack_to_client
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import Entry

__all__ = ["CHUNK_BYTES", "Segment", "split"]

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of a segment, and of one catch-up read; a single larger entry is a segment too."""

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries `first` to `last` of `room`: their frames as they are sent, back to back."""

    room: bytes
    first: int
    last: int
    frames: bytes

    def digest(self) -> bytes:
        """Return the checksum (16 bytes) of frames, room and seqs that is stored with the frames."""
        hasher = hashlib.blake2b(self.room, digest_size=_DIGEST_BYTES)
        hasher.update(self.first.to_bytes(8, "big") + self.last.to_bytes(8, "big"))
        hasher.update(self.frames)
        return hasher.digest()

    def verify(self, digest: bytes) -> None:
        """Raise `DamageError` unless `digest` is that of these entries."""
        if self.digest() != digest:
            raise DamageError(
                f"entries {self.first} to {self.last} of room {self.room.hex()} are damaged on disk"
            )

    def between(self, after: int, until: int) -> bytes:
        """Return the frames of the entries above `after`, up to and including `until`."""
        if after < self.first and until >= self.last:
            return self.frames
        start = self._offset(after + 1)
        return self.frames[start : self._offset(until + 1)]

    def entries(self) -> Iterator[Entry]:
        """Decode the entries. Raises `DamageError`."""
        try:
            for body in FrameBuffer(MAX_FRAME).cut(self.frames):
                entry = unpack_to_client(body)
                if not isinstance(entry, Entry):
                    raise DamageError(f"room {self.room.hex()} has something else than an entry on disk")
                yield entry
        except RemoteError as error:
            raise DamageError(f"room {self.room.hex()} has no entries on disk: {error}") from None

    def _offset(self, seq: int) -> int:
        offset = 0
        for _ in range(self.first, min(seq, self.last + 1)):
            offset += HEADER_BYTES + int.from_bytes(self.frames[offset : offset + HEADER_BYTES], "big")
        return offset


def split(room: bytes, first: int, frames: Sequence[bytes]) -> Iterator[Segment]:
    """Split frames of consecutive entries, from seq `first` on, into segments of about `CHUNK_BYTES`."""
    start = size = 0
    for index, frame in enumerate(frames):
        if size and size + len(frame) > CHUNK_BYTES:
            yield Segment(room, first + start, first + index - 1, b"".join(frames[start:index]))
            start, size = index, 0
        size += len(frame)
    yield Segment(room, first + start, first + len(frames) - 1, b"".join(frames[start:]))
