"""The rekeys of one room that wait to be confirmed: the newest one of each account. Knows no room.

Each function returns what is remembered afterwards and leaves what it was given as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from clave_wire.header import Header

__all__ = ["MAX_REKEYS", "Rekey", "Rekeys", "find_confirmed", "forget_head", "reference", "remember"]

MAX_REKEYS: Final = 256
"""Rekeys that are remembered of one room; the oldest is forgotten."""

_LABEL: Final = b"clave rekey\0"


class Rekey(NamedTuple):
    """A rekey, entry `seq` of its room, by a device of the account named `author`.

    `ref` is what a `CONFIRM` names it by, `head` the epoch it was made in, `remove` the devices it removes.
    """

    seq: int
    author: str
    ref: bytes
    head: bytes
    remove: tuple[bytes, ...]


Rekeys = Mapping[str, Rekey]
"""By author, the oldest first."""


def reference(payload: bytes) -> bytes:
    """Return the 32 bytes that name the rekey with this payload."""
    return hashlib.sha256(_LABEL + payload).digest()


def remember(rekeys: Rekeys, rekey: Rekey) -> Rekeys:
    """Remember a rekey instead of its author's one before."""
    others = [one for one in rekeys.values() if one.author != rekey.author]
    return {one.author: one for one in [*others, rekey][-MAX_REKEYS:]}


def find_confirmed(rekeys: Rekeys, header: Header, device: bytes, account: str) -> Rekey | None:
    """Return the rekey that `device`, of the account so named, confirms with `header`, None if it does not.

    Another account than its author's has to confirm it, by a device that it does not remove.
    """
    for rekey in rekeys.values():
        if rekey.ref == header.ref and rekey.head == header.head:
            return rekey if rekey.author != account and device not in rekey.remove else None
    return None


def forget_head(rekeys: Rekeys, head: bytes) -> Rekeys:
    """Forget the rekeys that were made in the epoch `head`, another epoch having followed it."""
    return {author: rekey for author, rekey in rekeys.items() if rekey.head != head}
