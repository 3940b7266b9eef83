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

    `group` and `roster` raise `MLSError` when the stored form is unknown to this program or damaged;
    `restored` and `decoded` are the same without reading the store, None before the first use.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self.restored: Group | None = None
        self.decoded: Roster | None = None
        self._saved_epoch: bytes | None = None

    def load(self, epoch: bytes) -> None:
        """Start from what is stored; `epoch` are the first bytes of that part.

        Raises `MLSError` when they show a version or a cipher suite that is unknown to this program.
        """
        self.restored = self.decoded = self._saved_epoch = None
        check_readable(epoch)

    def forget(self) -> None:
        """Have the keys restored again when they are used next."""
        self.restored = None

    @property
    def group(self) -> Group:
        """The group; its keys are restored when this is first used."""
        if self.restored is None:
            epoch, ratchets = self._part("epoch"), self._part("ratchets")
            self.restored, self._saved_epoch = restore_group(GroupState(epoch, ratchets)), epoch
        return self.restored

    @property
    def roster(self) -> Roster:
        """The members; needs no keys, except once in a room that an earlier version stored."""
        if self.decoded is None:
            stored = self._store.part(self._room, "roster")
            if stored is not None:
                self.decoded = Roster.decode(stored, self._room, self._store)
            else:
                self.decoded = Roster.of(self.group, self._store)
                with self._store.transaction():
                    self._store.put_part(self._room, "roster", self.decoded.encode())
        return self.decoded

    def set(self, group: Group) -> None:
        """Replace the group, or note that its pending proposals changed."""
        self.restored, self.decoded = group, Roster.of(group, self._store)

    def save(self) -> None:
        """Store what changed; nothing has if the keys were not used."""
        if self.restored is None:
            return
        state = self.restored.state()
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
