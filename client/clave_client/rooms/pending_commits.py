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

_MOST_FORMER = 8


class PendingCommits:
    """The commits of this device that can still count. Transactions are the caller's.

    `pending` is the newest one and leads to `tip`. `formers` are rekeys in the log that it is to replace,
    each with the group it leads to; they can count until it is in the log too.
    """

    def __init__(self, store: Store, room: bytes, outbox: Outbox) -> None:
        self._store = store
        self._room = room
        self._outbox = outbox
        self.pending: OwnCommit | None = None
        self.tip: Group | None = None
        self.formers: list[tuple[OwnCommit, Group]] = []

    def load(self) -> None:
        """Read back what is stored. Raises `MLSError`."""
        commit, tip, ratchets = self._part("commit"), self._part("tip"), self._part("tip ratchets")
        self.pending, self.tip = None, None
        if commit is not None and tip is not None and ratchets is not None:
            self.pending = OwnCommit.decode(commit)
            self.tip = restore_group(GroupState(tip, ratchets))
        formers = EarlierRekey.decode(self._part("formers") or EarlierRekey.encode([]))
        self.formers = [(one.pending, restore_group(GroupState(one.epoch, one.ratchets))) for one in formers]

    def save_tip(self) -> None:
        """Store the group that the newest commit leads to, as it is now."""
        if self.tip is not None:
            state = self.tip.state()
            self._put("tip", state.epoch)
            self._put("tip ratchets", state.ratchets)

    def _part(self, name: str) -> bytes | None:
        return self._store.part(self._room, name)

    def _put(self, name: str, data: bytes | None) -> None:
        self._store.put_part(self._room, name, data)

    # --- what they are ---

    @property
    def unconfirmed(self) -> bool:
        """Whether a rekey of this device is in the log and waits for another account."""
        return self.pending is not None and self.pending.placed

    @property
    def returning(self) -> bool:
        """Whether this device is on its way back by an external commit."""
        return self.pending is not None and self.pending.external

    @property
    def payloads(self) -> list[bytes]:
        """The commits' payloads: the newest, and those it replaces."""
        pending = [] if self.pending is None else [self.pending]
        return [one.payload for one in [*pending, *(former for former, _ in self.formers)]]

    @property
    def heads(self) -> list[bytes]:
        """The epochs in which this device has spoken, or speaks, before they are confirmed."""
        tips = [self.tip] if self.tip is not None and self.unconfirmed else []
        return [epoch_id(tip) for tip in [*tips, *(tip for _, tip in self.formers)]]

    def is_newest(self, payload: bytes) -> bool:
        """Whether this is the payload of the newest one."""
        return self.pending is not None and self.pending.payload == payload

    def lead_to(self, group: Group) -> bool:
        """Whether `group` is what one of them leads to."""
        return group is self.tip or any(group is tip for _, tip in self.formers)

    # --- what becomes of them ---

    def add(self, pending: OwnCommit, tip: Group) -> None:
        """Keep a new commit; one that is in the log can count until the new one is there too."""
        if self.unconfirmed and self.pending is not None and self.tip is not None:
            self._keep_formers([*self.formers, (self.pending, self.tip)][-_MOST_FORMER:])
        self.pending, self.tip = pending, tip
        self._put("commit", pending.encode())

    def place(self) -> None:
        """Note that the newest one, a rekey, is in the log, in the place of the one before it."""
        assert self.pending is not None  # noqa: S101 (the caller found it there)
        self.pending = msgspec.structs.replace(self.pending, placed=True)
        self._put("commit", self.pending.encode())
        if self.formers:
            head = self.pending.head
            self._keep_formers([(one, tip) for one, tip in self.formers if one.head != head])
            self._outbox.confirm(b"")

    def follow(self, payload: bytes) -> Group:
        """Return the group that the one with this payload leads to, as it is in the log."""
        own = [] if self.pending is None or self.tip is None else [(self.pending, self.tip)]
        tip = next(tip for pending, tip in [*own, *self.formers] if pending.payload == payload)
        self._outbox.confirm(epoch_id(tip))
        return tip

    def drop(self) -> None:
        """Forget all of them, as they do not count, and queue anew what was said in their epochs."""
        if self.pending is not None:
            self._outbox.confirm(b"")
        self.pending = self.tip = None
        self._keep_formers([])
        for part in ("commit", "tip", "tip ratchets"):
            self._put(part, None)

    def drop_newest(self) -> None:
        """Forget the newest one; the one that it was to replace waits on."""
        formers = self.formers
        if self.unconfirmed or not formers:
            self.drop()
            return
        self._keep_formers(formers[:-1])
        self.pending, self.tip = formers[-1]
        self._put("commit", self.pending.encode())

    def _keep_formers(self, formers: list[tuple[OwnCommit, Group]]) -> None:
        self.formers = formers
        states = [(pending, tip.state()) for pending, tip in formers]
        stored = [EarlierRekey(pending, state.epoch, state.ratchets) for pending, state in states]
        self._put("formers", EarlierRekey.encode(stored) if stored else None)
