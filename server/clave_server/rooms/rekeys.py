"""Rekeys of one room that wait for another account's confirmation, one per account. Knows no room.

Functions return a new mapping and do not change their arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from clave_wire.header import Header

__all__ = ["MAX_REKEYS", "Rekey", "Rekeys", "add_rekey", "drop_epoch", "find_confirmed", "reference"]

MAX_REKEYS: Final = 256
"""Rekeys remembered of one room; above that the oldest is dropped."""

_LABEL: Final = b"clave rekey\0"


class Rekey(NamedTuple):
    """A rekey: entry `seq` of its room, sent by a device of the account named `author`.

    `ref` identifies it in a `CONFIRM`, `head` the epoch it was made in; `remove` has the devices it removes.
    """

    seq: int
    author: str
    ref: bytes
    head: bytes
    remove: tuple[bytes, ...]


Rekeys = Mapping[str, Rekey]
"""By author, the oldest first."""


def reference(payload: bytes) -> bytes:
    """Return the 32 bytes that identify the rekey with this payload: a labelled SHA-256."""
    return hashlib.sha256(_LABEL + payload).digest()


def add_rekey(rekeys: Rekeys, rekey: Rekey) -> Rekeys:
    """Return `rekeys` with `rekey` in place of its author's former one."""
    others = [one for one in rekeys.values() if one.author != rekey.author]
    return {one.author: one for one in [*others, rekey][-MAX_REKEYS:]}


def find_confirmed(rekeys: Rekeys, header: Header, device: bytes, account: str) -> Rekey | None:
    """Return the rekey that `header`, sent by `device` of `account`, confirms; None if it confirms none.

    Only another account than the author's can confirm, with a device that the rekey does not remove.
    """
    for rekey in rekeys.values():
        if rekey.ref == header.ref and rekey.head == header.head:
            return rekey if rekey.author != account and device not in rekey.remove else None
    return None


def drop_epoch(rekeys: Rekeys, head: bytes) -> Rekeys:
    """Return `rekeys` without those made in the epoch `head`, which has ended."""
    return {author: rekey for author, rekey in rekeys.items() if rekey.head != head}
