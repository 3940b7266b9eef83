"""The latest submissions of one device to a room, by which a repeated one is known. Knows no room."""

from __future__ import annotations

import struct
from typing import Final

from clave_server.errors import Refusal
from clave_wire.messages import Code

__all__ = ["MAX_RECENT", "AlreadyAccepted", "Recent", "pack_recent", "refuse_repeated", "unpack_recent"]

MAX_RECENT: Final = 32
"""Latest submissions of a device whose seq is remembered."""

Recent = list[tuple[int, int]]
"""(submission, seq), both increasing."""


class AlreadyAccepted(Exception):
    """The submission was accepted before, as entry `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"accepted before as entry {seq}")
        self.seq = seq


def refuse_repeated(recent: Recent, submission: int) -> None:
    """Raise `AlreadyAccepted` for a submission that is remembered, `Refusal` for an older one."""
    for former, seq in reversed(recent):
        if former == submission:
            raise AlreadyAccepted(seq)
    raise Refusal(Code.RENUMBER, "this submission number was used before, too long ago to tell for what")


def pack_recent(recent: Recent) -> bytes:
    """Encode the latest `MAX_RECENT` submissions as big-endian u64 pairs."""
    latest = recent[-MAX_RECENT:]
    return struct.pack(f">{2 * len(latest)}Q", *(number for pair in latest for number in pair))


def unpack_recent(packed: bytes) -> Recent:
    """Decode what `pack_recent` encoded."""
    return list(struct.iter_unpack(">QQ", packed))
