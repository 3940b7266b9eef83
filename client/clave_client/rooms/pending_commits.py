"""This device's commits in one room that the log has not decided yet, and their epochs. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping

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
    """The commits of this device that can still apply. The caller opens transactions.

    `newest` leads to the epoch of the group `successor`. `earlier` are rekeys in the log that it is to
    replace, each with its group; they can still be confirmed until it is in the log too.
    """

    def __init__(self, store: Store, room: bytes, outbox: Outbox) -> None:
        self._store = store
        self._room = room
        self._outbox = outbox
        self.newest: OwnCommit | None = None
        self.successor: Group | None = None
        self.earlier: list[tuple[OwnCommit, Group]] = []

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Load what is stored; `parts` are the room's. Raises `MLSError`."""
        commit, successor, ratchets = (parts.get(name) for name in ("commit", "tip", "tip ratchets"))
        self.newest, self.successor = None, None
        if commit is not None and successor is not None and ratchets is not None:
            self.newest = OwnCommit.decode(commit)
            self.successor = restore_group(GroupState(successor, ratchets))
        earlier = EarlierRekey.decode(parts.get("formers", EarlierRekey.encode([])))
        self.earlier = [(one.commit, restore_group(GroupState(one.epoch, one.ratchets))) for one in earlier]

    def save_successor(self) -> None:
        """Store the newest commit's group as it is now: its ratchets advance with each message."""
        if self.successor is not None:
            state = self.successor.state()
            self._put("tip", state.epoch)
            self._put("tip ratchets", state.ratchets)

    def _put(self, name: str, data: bytes | None) -> None:
        self._store.put_part(self._room, name, data)

    # --- state ---

    @property
    def awaits_confirmation(self) -> bool:
        """Whether the newest commit is a rekey in the log that no other account has confirmed yet."""
        return self.newest is not None and self.newest.logged

    @property
    def rejoining(self) -> bool:
        """Whether the newest commit is an external one, by which this device rejoins."""
        return self.newest is not None and self.newest.external

    @property
    def payloads(self) -> list[bytes]:
        """The payloads of the newest commit and the earlier ones."""
        pending = [] if self.newest is None else [self.newest]
        return [one.payload for one in [*pending, *(former for former, _ in self.earlier)]]

    @property
    def heads(self) -> list[bytes]:
        """The ids of the unconfirmed epochs in which this device has sent, or sends, messages."""
        tips = [self.successor] if self.successor is not None and self.awaits_confirmation else []
        return [epoch_id(successor) for successor in [*tips, *(successor for _, successor in self.earlier)]]

    def is_newest(self, payload: bytes) -> bool:
        """Return whether this is the payload of the newest commit."""
        return self.newest is not None and self.newest.payload == payload

    def leads_to(self, group: Group) -> bool:
        """Return whether `group` is the successor of one of the commits."""
        return group is self.successor or any(group is successor for _, successor in self.earlier)

    # --- changes ---

    def add(self, pending: OwnCommit, successor: Group) -> None:
        """Store a new commit; a rekey that is in the log stays pending until the new one is there too."""
        if self.awaits_confirmation and self.newest is not None and self.successor is not None:
            self._set_earlier([*self.earlier, (self.newest, self.successor)][-_MOST_EARLIER:])
        self.newest, self.successor = pending, successor
        self._put("commit", pending.encode())

    def mark_logged(self) -> None:
        """Note that the newest commit, a rekey, is in the log: it replaces those made in the same epoch."""
        assert self.newest is not None  # noqa: S101 (the caller found it there)
        self.newest = msgspec.structs.replace(self.newest, logged=True)
        self._put("commit", self.newest.encode())
        if self.earlier:
            head = self.newest.head
            self._set_earlier([(one, successor) for one, successor in self.earlier if one.head != head])
            self._outbox.confirm(b"")

    def take_successor(self, payload: bytes) -> Group:
        """Return the successor of the commit with this payload, which applies; confirm its messages."""
        own = [] if self.newest is None or self.successor is None else [(self.newest, self.successor)]
        successor = next(
            successor for pending, successor in [*own, *self.earlier] if pending.payload == payload
        )
        self._outbox.confirm(epoch_id(successor))
        return successor

    def drop(self) -> None:
        """Delete all of them and queue the messages of their epochs again."""
        if self.newest is not None:
            self._outbox.confirm(b"")
        self.newest = self.successor = None
        self._set_earlier([])
        for part in ("commit", "tip", "tip ratchets"):
            self._put(part, None)

    def drop_newest(self) -> None:
        """Delete the newest commit; the rekey that it was to replace waits on."""
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
