"""A group's state in two parts of the store: the pages of its tree are packed behind its epoch.

Knows bytes only: the library checks whether they make a group.
"""

from __future__ import annotations

import struct

from clave_crypto.mls import GroupState, StateError

__all__ = ["pack_epoch", "unpack_state"]

_OLD_VERSIONS = (b"\0\1", b"\0\2")
"""First bytes of what the library stored with the whole tree in it, which has nothing behind it."""


def pack_epoch(state: GroupState) -> bytes:
    """Return the epoch and the pages as one part, which begins like the epoch.

    Behind the epoch there are, for each page, its number and its length as 4 bytes each, and the page; at the
    end the length of the epoch as 4 bytes.
    """
    pages = (struct.pack(">II", page, len(data)) + data for page, data in state.pages.items())
    return b"".join((state.epoch, *pages, len(state.epoch).to_bytes(4, "big")))


def unpack_state(packed: bytes, ratchets: bytes) -> GroupState:
    """Return the state whose epoch `pack_epoch` packed, or an earlier version of this program stored.

    Raises `StateError`.
    """
    if packed[:2] in _OLD_VERSIONS:
        return GroupState(packed, ratchets)
    at, end = int.from_bytes(packed[-4:], "big"), len(packed) - 4
    epoch, pages = packed[:at], {}
    while at < end:
        if at + 8 > end:
            raise StateError("the stored pages of a group are cut off")
        page, length = struct.unpack_from(">II", packed, at)
        pages[page] = packed[at + 8 : at + 8 + length]
        at += 8 + length
    if at != end:
        raise StateError("the stored pages of a group do not end where they should")
    return GroupState(epoch, ratchets, pages)
