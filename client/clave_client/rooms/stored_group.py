"""The stored group of one room, whose keys are restored when they are first used. Decides nothing.

The roster is stored beside the keys, as comparing it with the relay's takes none.
"""

from __future__ import annotations

from clave_client.rooms.policy import restore_group
from clave_client.rooms.roster import Roster
from clave_client.store.database import Store
from clave_crypto.mls import Group, GroupState, StateError, check_readable

__all__ = ["StoredGroup"]


class StoredGroup:
    """The group of one room as stored. The caller opens transactions.

    `group` and `roster` raise `MLSError` when the stored form is unknown to this program or damaged.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self._group: Group | None = None
        self._roster: Roster | None = None
        self._saved_epoch: bytes | None = None

    def load(self, epoch: bytes) -> None:
        """Start from what is stored; `epoch` are the first bytes of that part.

        Raises `MLSError` when they show a version or a cipher suite that is unknown to this program.
        """
        self._group = self._roster = self._saved_epoch = None
        check_readable(epoch)

    @property
    def group(self) -> Group:
        """The group; its keys are restored when this is first used."""
        if self._group is None:
            epoch, ratchets = self._part("epoch"), self._part("ratchets")
            self._group, self._saved_epoch = restore_group(GroupState(epoch, ratchets)), epoch
        return self._group

    @property
    def roster(self) -> Roster:
        """The members; needs no keys, except once in a room that an earlier version stored."""
        if self._roster is None:
            stored = self._store.part(self._room, "roster")
            if stored is not None:
                self._roster = Roster.decode(stored, self._room, self._store)
            else:
                self._roster = Roster.of(self.group, self._store)
                with self._store.transaction():
                    self._store.put_part(self._room, "roster", self._roster.encode())
        return self._roster

    def set(self, group: Group) -> None:
        """Replace the group, or note that its pending proposals changed."""
        self._group, self._roster = group, Roster.of(group, self._store)

    def save(self) -> None:
        """Store what changed; nothing has if the keys were not used."""
        if self._group is None:
            return
        state = self._group.state()
        if state.epoch != self._saved_epoch:
            self._store.put_part(self._room, "epoch", state.epoch)
            self._store.put_part(self._room, "roster", self.roster.encode())
            self._saved_epoch = state.epoch
        self._store.put_part(self._room, "ratchets", state.ratchets)

    def _part(self, name: str) -> bytes:
        data = self._store.part(self._room, name)
        if data is None:
            raise StateError(f"its {name} is missing")
        return data
