"""This device's commits in one room until the log decides, and the epochs they lead to. Sends nothing."""

from __future__ import annotations

import msgspec

from clave_client.formats.payload import epoch_id
from clave_client.rooms.commit_records import EarlierRekey, OwnCommit
from clave_client.rooms.outbox import Outbox
from clave_client.rooms.policy import restore_group
from clave_client.store.database import Store
from clave_crypto.mls import Group, GroupState

__all__ = ["PendingCommits"]

_MOST_EARLIER = 8


class PendingCommits:
    """The commits of this device that can still count. Transactions are the caller's.

    `pending` is the newest one and leads to `tip`. `formers` are rekeys in the log that it is to replace,
    each with the group it leads to; they can count until it is in the log too.
    """

    def __init__(self, store: Store, room: bytes, outbox: Outbox) -> None:
        self._store = store
        self._room = room
        self._outbox = outbox
        self.newest: OwnCommit | None = None
        self.successor: Group | None = None
        self.earlier: list[tuple[OwnCommit, Group]] = []

    def load(self) -> None:
        """Read back what is stored. Raises `MLSError`."""
        commit, successor, ratchets = self._part("commit"), self._part("tip"), self._part("tip ratchets")
        self.newest, self.successor = None, None
        if commit is not None and successor is not None and ratchets is not None:
            self.newest = OwnCommit.decode(commit)
            self.successor = restore_group(GroupState(successor, ratchets))
        earlier = EarlierRekey.decode(self._part("formers") or EarlierRekey.encode([]))
        self.earlier = [(one.pending, restore_group(GroupState(one.epoch, one.ratchets))) for one in earlier]

    def save_successor(self) -> None:
        """Store the group that the newest commit leads to, as it is now."""
        if self.successor is not None:
            state = self.successor.state()
            self._put("tip", state.epoch)
            self._put("tip ratchets", state.ratchets)

    def _part(self, name: str) -> bytes | None:
        return self._store.part(self._room, name)

    def _put(self, name: str, data: bytes | None) -> None:
        self._store.put_part(self._room, name, data)

    # --- what they are ---

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a rekey of this device is in the log and waits for another account."""
        return self.newest is not None and self.newest.placed

    @property
    def rejoining(self) -> bool:
        """Whether this device is on its way back by an external commit."""
        return self.newest is not None and self.newest.external

    @property
    def payloads(self) -> list[bytes]:
        """The commits' payloads: the newest, and those it replaces."""
        pending = [] if self.newest is None else [self.newest]
        return [one.payload for one in [*pending, *(former for former, _ in self.earlier)]]

    @property
    def heads(self) -> list[bytes]:
        """The epochs in which this device has spoken, or speaks, before they are confirmed."""
        tips = [self.successor] if self.successor is not None and self.awaits_confirmation else []
        return [epoch_id(successor) for successor in [*tips, *(successor for _, successor in self.earlier)]]

    def is_newest(self, payload: bytes) -> bool:
        """Whether this is the payload of the newest one."""
        return self.newest is not None and self.newest.payload == payload

    def leads_to(self, group: Group) -> bool:
        """Whether `group` is what one of them leads to."""
        return group is self.successor or any(group is successor for _, successor in self.earlier)

    # --- what becomes of them ---

    def add(self, pending: OwnCommit, successor: Group) -> None:
        """Keep a new commit; one that is in the log can count until the new one is there too."""
        if self.awaits_confirmation and self.newest is not None and self.successor is not None:
            self._set_earlier([*self.earlier, (self.newest, self.successor)][-_MOST_EARLIER:])
        self.newest, self.successor = pending, successor
        self._put("commit", pending.encode())

    def mark_logged(self) -> None:
        """Note that the newest one, a rekey, is in the log, in the place of the one before it."""
        assert self.newest is not None  # noqa: S101 (the caller found it there)
        self.newest = msgspec.structs.replace(self.newest, placed=True)
        self._put("commit", self.newest.encode())
        if self.earlier:
            head = self.newest.head
            self._set_earlier([(one, successor) for one, successor in self.earlier if one.head != head])
            self._outbox.confirm(b"")

    def follow(self, payload: bytes) -> Group:
        """Return the group that the one with this payload leads to, as it is in the log."""
        own = [] if self.newest is None or self.successor is None else [(self.newest, self.successor)]
        successor = next(
            successor for pending, successor in [*own, *self.earlier] if pending.payload == payload
        )
        self._outbox.confirm(epoch_id(successor))
        return successor

    def drop(self) -> None:
        """Forget all of them, as they do not count, and queue anew what was said in their epochs."""
        if self.newest is not None:
            self._outbox.confirm(b"")
        self.newest = self.successor = None
        self._set_earlier([])
        for part in ("commit", "tip", "tip ratchets"):
            self._put(part, None)

    def drop_newest(self) -> None:
        """Forget the newest one; the one that it was to replace waits on."""
        earlier = self.earlier
        if self.awaits_confirmation or not earlier:
            self.drop()
            return
        self._set_earlier(earlier[:-1])
        self.newest, self.successor = earlier[-1]
        self._put("commit", self.newest.encode())

    def _set_earlier(self, earlier: list[tuple[OwnCommit, Group]]) -> None:
        self.earlier = earlier
        states = [(pending, successor.state()) for pending, successor in earlier]
        stored = [EarlierRekey(pending, state.epoch, state.ratchets) for pending, state in states]
        self._put("formers", EarlierRekey.encode(stored) if stored else None)
