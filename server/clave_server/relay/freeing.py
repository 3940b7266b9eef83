"""Frees the name of an account: its key can no longer log in, and anybody can register the name anew.

The account's devices stay in their rooms until members remove them. Runs on the database threads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import apsw

from clave_server.accounts import directory
from clave_server.rooms.invitations import delete_invitations_of
from clave_wire.text import fold

__all__ = ["FreedAccount", "free_account"]


@dataclass(frozen=True)
class FreedAccount:
    """Whose name was freed; `devices` counts its devices, `released` bytes of deleted welcomes by account."""

    account: bytes
    name: str
    devices: int
    released: Counter[bytes]


def free_account(connection: apsw.Connection, name: str, account: bytes | None = None) -> FreedAccount:
    """Free a name; key packages and invitations of its account are deleted.

    Raises `AdminError` if nobody has it, or with `account` another one.
    """
    owner, name, devices = directory.free_name(connection, fold(name), account)
    released = Counter[bytes]()
    for device in devices:
        released += delete_invitations_of(connection, device)
    return FreedAccount(owner, name, len(devices), released)
