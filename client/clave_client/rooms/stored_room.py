"""One room as stored on this device: its record, its group, its commits, outbox and log chain.

Each operation is written in one transaction. Knows no network, and decides nothing about what is sent.
"""

from __future__ import annotations

import copy
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import msgspec

from clave_client.errors import RoomUnreadable, StoreDamaged
from clave_client.events import Person
from clave_client.formats.agreed_state import AgreedState
from clave_client.formats.payload import UnverifiedEntry
from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.commit_records import RekeyIntent
from clave_client.rooms.epoch_tracker import EpochTracker
from clave_client.rooms.first_record import first_record
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.log_chain import LogChain
from clave_client.rooms.message_counts import MessageCounts
from clave_client.rooms.outbox import Outbox
from clave_client.rooms.pending_commits import PendingCommits
from clave_client.rooms.policy import agreed_state, device_identity, restore_group
from clave_client.rooms.refused_payloads import RefusedPayloads
from clave_client.rooms.rekeys import PendingRekeys, Rekey
from clave_client.rooms.relay_restores import decode_restores
from clave_client.rooms.roster import Roster, RosterMember
from clave_client.rooms.state_rules import check_removal
from clave_client.rooms.stored_group import StoredGroup
from clave_client.store.database import RoomRecord, Store
from clave_client.store.settings import ANSWER
from clave_client.values import ERA_BITS, Phase
from clave_crypto.identity import DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import Group, MemberSender, MLSError, PolicyRejected
from clave_wire.messages import Entry, Kind
from clave_wire.text import sanitize

__all__ = ["DIRECT", "JOINT", "LEGACY_COMMIT_PART", "REFUSED", "InFlight", "StoredRoom"]

LEGACY_COMMIT_PART = "pending"
"""The stored part with an own commit of protocol 3: u64 submission number, then the commit."""

DIRECT = "direct"
"""The setting of a room with the accounts that it is between, as asking the group takes keys."""

REFUSED = "refused"
"""The setting of a room that is the declined invitation of a blocked account."""

JOINT = "joint"
"""The setting of a room between two people that says that both have joined it."""

_CHANGES = (
    "record", "intent", "late", "relay_restores", "leave_proposals", "refused_payloads", "last_accepted",
    "draining", "joining", "offered_at", "_saved_record", "_is_archived",
)  # fmt: skip
"""Attributes that an operation can change; restored when it fails."""


@dataclass(frozen=True)
class InFlight:
    """A submission that the relay has not answered yet."""

    kind: Kind
    payload: bytes


class StoredRoom:
    """The stored state of a `LocalRoom`. Make it with `create`, `join` or `load`.

    `in_flight` are submissions by number; `draining` says that one was refused, so those behind it will
    be too, and nothing is submitted until all are answered. `resumed` says that the relay streams the
    log, `not_routed` that its member list lacks this device, `too_old` that the profile was restored from
    a backup, `log_replaced` that the relay was. `late` are the history seqs of messages read after what
    follows them in the log. `leave_proposals` are the entries by which members leave, by leaf.
    `rejoin_infos` counts the answers that devices got. `offered_at` is the entry up to which what was
    last offered to holders of links has seen the log, 0 in a room without links. `joining` says how this
    device joined by a link, until that is certain. `unsent` are the messages that were given up when the
    room was closed. `is_refused` says that this is an invitation of a blocked account, which is declined
    and never shown.
    """

    chain: LogChain
    _is_archived: bool | None = None

    def __init__(self, store: Store, record: RoomRecord, clock: Callable[[], float]) -> None:
        self._store = store
        self._saved_record: RoomRecord | None = None
        self._stored_group = StoredGroup(store, record.id)
        self._end = 0
        self.clock = clock
        self.record = record
        self.outbox = Outbox(store, record.id)
        self.commits = PendingCommits(store, record.id, self.outbox)
        self.rekeys = PendingRekeys(store, record.id)
        self.counts = MessageCounts(store, record.id)
        self.epochs = EpochTracker(store, record.id)
        self.intent = RekeyIntent()
        self.joining: JoinRecord | None = None
        self.offered_at = 0
        self.relay_restores: list[tuple[bytes, int]] | None = None
        self.late: frozenset[int] = frozenset()
        self.in_flight: dict[int, InFlight] = {}
        self.refused_payloads = RefusedPayloads()
        self.rejoin_infos: Counter[bytes] = Counter()
        self.leave_proposals: dict[int, int] = {}
        self.last_accepted = 0
        self.draining = False
        self.log_replaced = False
        self.resumed = False
        self.not_routed = False
        self.too_old = False
        self.unsent: dict[bytes, str] = {}
        self.is_refused = False

    # --- creating and loading ---

    @classmethod
    def create(cls, store: Store, group: Group, clock: Callable[[], float], incarnation: bytes = b"") -> Self:
        """Store a group this device just created, at the relay of this incarnation."""
        return cls._store_new(store, group, Phase.JOINED, None, clock, incarnation)

    @classmethod
    def join(cls, store: Store, group: Group, join_point: JoinPoint, clock: Callable[[], float]) -> Self:
        """Store a group this device was added to, as an invitation to answer."""
        return cls._store_new(store, group, Phase.INVITED, join_point, clock, join_point.incarnation)

    @classmethod
    def _store_new(
        cls,
        store: Store,
        group: Group,
        phase: Phase,
        join_point: JoinPoint | None,
        clock: Callable[[], float],
        incarnation: bytes,
    ) -> Self:
        record = first_record(store, group, phase, join_point, incarnation)
        seen = None if join_point is None else join_point.seen
        with store.transaction():
            store.forget_group(record.id)
            room = cls(store, record, clock)
            room.chain = LogChain(store, record.id, record.cursor)
            if seen is None:
                room.chain.start_after(record.cursor)
            else:
                room.chain.begin(seen)
            room.set_group(group)
            room.roster.remember(room.roster.members().values())
            inviter = b"" if join_point is None else room.roster.account(group.welcomed_by)
            room.epochs.begin(inviter, record.cursor)
            room.put_part("submissions before", record.submission.to_bytes(8, "big"))
            direct = "".join(account.hex() for account in agreed_state(group.extensions).direct)
            store.set_room_setting(record.id, DIRECT, direct)
            for setting in (REFUSED, JOINT, ANSWER):
                store.set_room_setting(record.id, setting, "")
            room._save()
        return room

    @classmethod
    def load(cls, store: Store, record: RoomRecord, clock: Callable[[], float]) -> Self:
        """Load a room from the store.

        Raises `RoomUnreadable` when its cipher suite or stored form is unknown to this program.
        """
        room = cls(store, record, clock)
        room._read_back()
        return room

    def reload(self) -> None:
        """Load again what is on disk, after a batch that was rolled back."""
        record = self._store.room(self.id)
        if record is not None:
            self.record = record
            self._read_back()

    def restore_group(self) -> None:
        """Have the group restored from what is on disk, after messages that were rolled back."""
        self._stored_group.forget()

    def _read_back(self) -> None:
        """Load what is small; keys only of what waits for the log to decide."""
        parts = self._store.small_parts(self.id)
        if "epoch" not in parts or "ratchets" not in parts:
            raise StoreDamaged(f"the keys of room {self.record.title} are missing; restore a backup")
        with self._checking_form():
            self._stored_group.load(parts["epoch"])
            self.commits.load(parts)
        self.epochs.load(parts)
        self.is_refused = bool(self._store.room_setting(self.id, REFUSED))
        intent, joining = parts.get("wish"), parts.get("joining")
        self.joining = None if joining is None else JoinRecord.decode(joining)
        self.offered_at = int.from_bytes(parts.get("offered", b""), "big")
        self.late = self._store.late(self.id)
        self.leave_proposals = dict(struct.iter_unpack(">IQ", parts.get("leavings", b"")))
        restores = parts.get("restores")
        self.relay_restores = None if restores is None else decode_restores(restores)
        self.intent = RekeyIntent() if intent is None else RekeyIntent.decode(intent)
        self._saved_record = self.record
        self.chain = LogChain(self._store, self.id, self.record.cursor)
        self.rekeys = PendingRekeys(self._store, self.id)
        if waiting := self._store.waiting(self.id):
            self.rekeys.load(waiting, self.group, self.roster, self.commits.payloads)

    @contextmanager
    def _checking_form(self) -> Iterator[None]:
        """Raise `RoomUnreadable` when what is stored cannot be restored."""
        try:
            yield
        except (MLSError, msgspec.DecodeError) as error:
            raise RoomUnreadable(self.record.title, sanitize(str(error))) from None

    def part(self, name: str) -> bytes | None:
        """Return a stored part of this room."""
        return self._store.part(self.id, name)

    def put_part(self, name: str, data: bytes | None) -> None:
        """Store a part of this room, or with None delete it. The caller opens the transaction."""
        self._store.put_part(self.id, name, data)

    # --- state ---

    @property
    def group(self) -> Group:
        """The group; its keys are restored when this is first used. Raises `RoomUnreadable`."""
        if (group := self._stored_group.restored) is not None:
            return group
        with self._checking_form():
            return self._stored_group.group

    @property
    def roster(self) -> Roster:
        """The members in the present epoch. Raises `RoomUnreadable`."""
        if (roster := self._stored_group.decoded) is not None:
            return roster
        with self._checking_form():
            return self._stored_group.roster

    @property
    def head(self) -> bytes:
        """The id of the present epoch."""
        return self.roster.head

    @property
    def id(self) -> bytes:
        """The room's id, which is the MLS group's too."""
        return self.record.id

    @property
    def state(self) -> AgreedState:
        """What the members agree on."""
        return agreed_state(self.group.extensions)

    @property
    def cannot_follow(self) -> bool:
        """Whether the log entered an epoch that this device cannot open."""
        return self.record.lost > 0

    @property
    def account(self) -> bytes:
        """The account of this device."""
        return self.roster.account()

    def history_seq(self, seq: int) -> int:
        """Return the history seq of entry `seq`: era << 40 | seq."""
        return self.record.era << ERA_BITS | seq

    @property
    def device(self) -> DeviceKey:
        """This device's key."""
        secret = self._store.get("device_secret")
        if secret is None:
            raise StoreDamaged("the profile's own key is missing; restore a backup")
        return DeviceKey.from_secret(Secret(secret))

    # --- reading the log; the caller opens transactions ---

    def set(self, **changes: int | str | bytes | Phase) -> None:
        """Change fields of the record; `changing` writes them."""
        if (changed := msgspec.structs.replace(self.record, **changes)) != self.record:
            self.record = changed

    def advance(self, entry: Entry) -> None:
        """Advance the cursor and the log chain by the next entry, before it is checked."""
        self.set(cursor=entry.seq)
        self.chain.extend(entry)
        if entry.kind is not Kind.APPLICATION:
            self.set(read=entry.seq)
        if entry.sender == self.roster.own_device:
            self.last_accepted = max(self.last_accepted, entry.submission)
            if self.in_flight.pop(entry.submission, None) is not None:
                self.refused_payloads = self.refused_payloads.without(entry.payload)
            self.draining &= bool(self.in_flight)

    def finish_legacy(self, seq: int) -> None:
        """After the last entry of protocol 3, restart the log chain and delete what was made for it."""
        if self.record.legacy == seq:
            self.chain.start_after(seq)
            self.set(read=seq)
            self.put_part(LEGACY_COMMIT_PART, None)
            self.discard_ciphertexts()

    def note_late(self, place: int) -> None:
        """Note a message that is read after what follows it in the log."""
        if place < self.history_seq(self.record.cursor):
            self._set_late(self.late | {place})

    def _set_late(self, late: frozenset[int]) -> None:
        self._store.set_late(self.id, added=late - self.late, dropped=self.late - late)
        self.late = late

    def copy_group(self) -> Group:
        """Return a copy of the group, to try a change on."""
        return restore_group(self.group.state())

    def set_group(self, group: Group) -> None:
        """Replace the group, or note that its proposals changed (in the caller's transaction)."""
        self._stored_group.set(group)

    def member(self, device: bytes) -> RosterMember:
        """Return the member with this device."""
        return next(m for m in self.roster.members().values() if m.signature_key == device)

    def withdraw_leave(self) -> None:
        """Withdraw this device's proposal to leave, which is not in the log (in the caller's transaction)."""
        self._withdraw_own()

    def discard_ciphertexts(self) -> None:
        """Have everything that waits encrypted again. The caller opens the transaction."""
        for item in self.outbox.waiting():
            self._store.put_ciphertext(item.position, None, None)

    def enter_epoch(self, group: Group, confirmed: Rekey | None) -> list[UnverifiedEntry]:
        """Enter the epoch of `group`; return the messages that were buffered for it.

        `confirmed` is the rekey that began it, if any. The caller opens the transaction.
        """
        switched = not self.cannot_follow and self.commits.rejoining and self.commits.leads_to(group)
        self.epochs.leave_epoch(self.group, self.record.cursor, switched=switched)
        is_own, left = self.commits.successor is group, self._still_leaving(confirmed)
        before, leavers = self.roster, self.roster.leavers()
        self._set_leave_proposals({})
        self.set_group(group)
        buffered = self.rekeys.clear(confirmed)
        self.commits.drop()
        here = [device for device in self.intent.removes if self.roster.has(device) and device not in left]
        gone = before.missing_in(self.roster)
        has_removals = any(member.leaf_index not in leavers for member in gone)
        undone = self.intent.undone(group.extensions, has_removals=has_removals)
        shared = not here and not undone and bool(left)
        accounts = [account for account in self.intent.accounts if account in self.roster.accounts]
        intent = msgspec.structs.replace(
            undone, removes=[*here, *left], shared=shared and not accounts, accounts=accounts
        )
        self._set_intent(RekeyIntent() if is_own else intent)
        return buffered

    def _still_leaving(self, confirmed: Rekey | None) -> list[bytes]:
        """Return the devices whose leave stays pending because `confirmed` is only a device's rejoin.

        Not that device, which proposes it again; and only those that this account may remove.
        """
        if confirmed is None or not confirmed.external:
            return []
        members, back = self.roster.members(), confirmed.parsed.entry.sender
        left = [members[leaf] for leaf in self.roster.leavers()]
        return sorted(
            each.signature_key for each in left if each.signature_key != back and self._may_remove(each)
        )

    def _may_remove(self, member: RosterMember) -> bool:
        if member.account == self.account and (not self.state.is_former or self.roster.is_current):
            return True
        try:
            check_removal(self.state, self.account, member.account, lambda _: "")
        except PolicyRejected:
            return False
        return True

    # --- rejoins ---

    def is_from_earlier_membership(self, entry: Entry) -> bool:
        """Return whether an entry of this device is of an earlier membership, of which nothing is stored."""
        return entry.submission <= int.from_bytes(self.part("submissions before") or b"", "big")

    def find(self, device: bytes) -> Person | None:
        """Return the member with this device, of the present epoch or one left by a rejoin, or who joins."""
        former = (each.members[device] for each in self.epochs.former_rosters if device in each.members)
        found = self.roster.find(device)
        if found is None and (identity := next(former, None)) is not None:
            return self.roster.person_of(device_identity(identity, device))
        if found is None and (joiner := self.rekeys.joiner(device)) is not None:
            return self.roster.person_of(joiner)
        return found

    @property
    def others(self) -> frozenset[bytes]:
        """The other accounts, of the present epoch and of those left by a rejoin."""
        former = (item for each in self.epochs.former_rosters for item in each.members.items())
        accounts = {device_identity(identity, device).account for device, identity in former}
        return (self.roster.accounts | accounts) - {self.account}

    # --- its own commits ---

    def drop_refused_commit(self) -> None:
        """Delete this device's commit, which the relay refused for good. The caller opens the transaction."""
        self.commits.drop_newest()
        self._set_intent(RekeyIntent())

    def _set_intent(self, intent: RekeyIntent) -> None:
        self.intent = intent
        self.put_part("wish", intent.encode() if intent else None)

    # --- transactions ---

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Run one operation and write what it changed, in one transaction.

        A failure restores everything but ratchet keys, which are used up: nothing was sent with them.
        """
        before = {name: getattr(self, name) for name in _CHANGES}
        in_flight, waiting = dict(self.in_flight), self.rekeys.copy()
        commits, epochs = copy.copy(self.commits), copy.copy(self.epochs)
        stored_group, chain = copy.copy(self._stored_group), self.chain.copy()
        try:
            with self._store.transaction():
                yield
                self._save()
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            self.in_flight, self.commits, self.epochs = in_flight, commits, epochs
            self._stored_group, self.chain, self.counts = stored_group, chain, self.counts.renewed()
            self.rekeys.restore(waiting)
            raise

    def _save(self) -> None:
        if self.record != self._saved_record:
            self._store.put_room(self.record)
            self._saved_record = self.record
        if self.record.phase in (Phase.CLOSED, Phase.BEHIND):
            return
        self._stored_group.save()
        self.chain.save()
        self.counts.save()
        self.commits.save_successor()

    def apply_leave(self, group: Group, leaf: int, seq: int) -> None:
        """Replace the group by a copy that took the leave of `leaf`, entry `seq` (in a transaction)."""
        self.set_group(group)
        self._set_leave_proposals({**self.leave_proposals, leaf: seq})

    def _drop_leaves_after(self, seq: int) -> None:
        """Withdraw the leave proposals after entry `seq`, which the relay has lost."""
        lost = {MemberSender(leaf) for leaf, place in self.leave_proposals.items() if place > seq}
        for reference, sender, _ in self.group.pending_proposals:
            if sender in lost:
                self.group.withdraw(reference)
        self.set_group(self.group)
        self._set_leave_proposals(
            {leaf: place for leaf, place in self.leave_proposals.items() if place <= seq}
        )

    def _set_leave_proposals(self, leave_proposals: dict[int, int]) -> None:
        if leave_proposals != self.leave_proposals:
            self.leave_proposals = leave_proposals
            packed = b"".join(struct.pack(">IQ", *leaving) for leaving in leave_proposals.items())
            self.put_part("leavings", packed or None)

    def _withdraw_own(self) -> None:
        """Withdraw this device's own proposals, which are not in the log."""
        own = MemberSender(self.group.own_leaf)
        for reference, sender, _ in self.group.pending_proposals:
            if sender == own:
                self.group.withdraw(reference)
