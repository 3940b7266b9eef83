"""Blocks an account: nothing of it is shown, and its invitations are declined. Asks nobody."""

from __future__ import annotations

from typing import Protocol

from clave_client.rooms.local_room import LocalRoom
from clave_client.store.database import Store
from clave_client.store.journal import Journal

__all__ = ["BlockingContext", "block_account"]


class BlockingContext(Protocol):
    """What this needs of a `RoomSync`."""

    store: Store
    journal: Journal

    @property
    def rooms(self) -> dict[bytes, LocalRoom]:
        """The rooms in use, by id."""


def block_account(sync: BlockingContext, account: bytes, name: str) -> list[LocalRoom]:
    """Block an account under a name; return the rooms whose invitations `submit_noted` declines now."""
    refused = [room for room in sync.rooms.values() if room.is_invited_by(account)]
    with sync.store.transaction():
        sync.store.block(account, name)
        sync.journal.forget_account(account)
        for room in refused:
            room.refuse()
    return refused
