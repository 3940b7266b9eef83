"""One room as this device holds it: the group, the cursor in the log, and what is on its way.

The `prepare_*` methods return what to submit; `log_reader` takes in what the relay streams. Each call is one
transaction, so whatever it returns is on disk already. Knows no network and no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from clave_client import events
from clave_client.chain import LogChain
from clave_client.content import Content, ContentKind, encode_content
from clave_client.errors import RelayFault, RoomBehind, RoomUnreadable, StateTooOld, StoreDamaged, UsageError
from clave_client.events import Event, Person
from clave_client.outbox import Outbox
from clave_client.policy import RoomPolicy, room_state
from clave_client.room_state import ROOM_STATE_EXTENSION, RoomState
from clave_client.roster import Roster
from clave_client.store import Phase, RoomRecord, Store
from clave_crypto.mls import (
    Extension,
    Group,
    GroupState,
    MemberSender,
    MLSError,
    PendingCommit,
    Proposal,
    Remove,
)
from clave_wire.messages import Kind, Resumed, Submit
from clave_wire.text import sanitize

__all__ = ["Pending", "Room"]


@dataclass(frozen=True)
class Pending:
    """A commit of this device that waits for the log's answer, and the number it was submitted under."""

    submission: int
    commit: PendingCommit

    def encode(self) -> bytes:
        """Return the bytes to keep; they are secret."""
        return self.submission.to_bytes(8, "big") + self.commit.encode()

    @classmethod
    def decode(cls, data: bytes) -> Pending:
        """Read back what `encode` gave."""
        return cls(int.from_bytes(data[:8], "big"), PendingCommit.decode(data[8:], policy=RoomPolicy()))


class Room:
    """One room. Make it with `create`, `join` or `load`."""

    def __init__(self, store: Store, record: RoomRecord, group: Group, clock: Callable[[], float]) -> None:
        self._store = store
        self._saved_epoch: bytes | None = None
        self._head = 0
        self._numbers_used = 0
        self.clock = clock
        self.record = record
        self.group = group
        self.roster = Roster(group, store)
        self.chain = LogChain(store, record.id, record.cursor, group.epoch)
        self.outbox = Outbox(store, record.id)
        self.pending: Pending | None = None
        self.leave_submission: int | None = None
        self.blocked_in_epoch: int | None = None
        self.resumed = False
        self.too_old = False
        self.unsent: list[bytes] = []

    # --- making one ---

    @classmethod
    def create(cls, store: Store, group: Group, clock: Callable[[], float]) -> Room:
        """Store a group this device just created as a room."""
        return cls._store_new(store, group, Phase.JOINED, 0, clock)

    @classmethod
    def join(cls, store: Store, group: Group, seq: int, clock: Callable[[], float]) -> Room:
        """Store a group this device was welcomed to by the commit at `seq`, as an invitation to answer."""
        return cls._store_new(store, group, Phase.INVITED, seq, clock)

    @classmethod
    def _store_new(
        cls, store: Store, group: Group, phase: Phase, seq: int, clock: Callable[[], float]
    ) -> Room:
        title = sanitize(room_state(group.extensions).title)
        # The relay counts on where an earlier membership of this device ended.
        known = store.room(group.group_id)
        used = 0 if known is None else known.submission
        record = RoomRecord(group.group_id, phase, title, seq, used, seq)
        with store.transaction():
            store.forget_group(record.id)
            room = cls(store, record, group, clock)
            room.roster.meet(group.members())
            room.chain.restart(seq, group.epoch)
            room._save()
        return room

    @classmethod
    def load(cls, store: Store, record: RoomRecord, clock: Callable[[], float]) -> Room:
        """Read a room back from the store.

        Raises `RoomUnreadable` when it is of a cipher suite or a stored form that this program does not know.
        """
        epoch, ratchets = store.part(record.id, "epoch"), store.part(record.id, "ratchets")
        if epoch is None or ratchets is None:
            raise StoreDamaged(f"the keys of room {record.title} are missing; restore a backup")
        pending = store.part(record.id, "pending")
        try:
            group = Group.restore(GroupState(epoch, ratchets), policy=RoomPolicy())
            room = cls(store, record, group, clock)
            room._saved_epoch = epoch
            room.pending = None if pending is None else Pending.decode(pending)
        except MLSError as error:
            raise RoomUnreadable(record.title, sanitize(str(error))) from None
        return room

    # --- where it stands ---

    @property
    def id(self) -> bytes:
        """The room's id, which is the MLS group's too."""
        return self.record.id

    @property
    def state(self) -> RoomState:
        """What the members agree on."""
        return room_state(self.group.extensions)

    @property
    def synced(self) -> bool:
        """Whether this device has seen all the relay had when it resumed."""
        return self.resumed and self.record.cursor >= self._head

    @property
    def may_commit(self) -> bool:
        """Whether this device can try to change the room now."""
        return self.record.phase is Phase.JOINED and self.synced and self.pending is None

    @property
    def commit_due(self) -> bool:
        """Whether proposals lie that somebody has to commit before anyone can send."""
        return bool(self.group.pending_proposals) and self.may_commit and not self.too_old

    @property
    def may_send(self) -> bool:
        """Whether messages can be encrypted now."""
        return (
            self.may_commit
            and not self.too_old
            and not self.group.pending_proposals
            and self.blocked_in_epoch != self.group.epoch
        )

    @property
    def leave_due(self) -> bool:
        """Whether this device's own removal waits to be proposed in the current epoch."""
        return (
            self.record.phase is Phase.LEAVING
            and self.synced
            and self.pending is None
            and self.leave_submission is None
            and self.blocked_in_epoch != self.group.epoch
        )

    def extensions_with(self, *, title: str) -> tuple[Extension, ...]:
        """Return the group's extensions with another title agreed."""
        state = msgspec.structs.replace(self.state, title=title).encode()
        others = [e for e in self.group.extensions if e.extension_type != ROOM_STATE_EXTENSION]
        return (*others, Extension(ROOM_STATE_EXTENSION, state))

    def invitation(self) -> events.Invited:
        """Return what to ask the person, just after `join`: whoever signed the welcome is the inviter."""
        people = self.roster.people()
        inviter = people[self.group.own_leaf if self.group.welcomed_by is None else self.group.welcomed_by]
        others = (person.name for leaf, person in people.items() if leaf != self.group.own_leaf)
        return events.Invited(self.id, self.record.title, inviter, tuple(others))

    # --- connection ---

    def disconnected(self) -> None:
        """Forget what the relay told; nothing is being streamed any more."""
        self.resumed = False
        self.blocked_in_epoch = None
        self.leave_submission = None

    def start(self, resumed: Resumed) -> list[Event]:
        """Take the relay's answer to a resume; entries up to its head follow.

        Raises `RelayFault` when the relay is behind what it acknowledged before.
        """
        if resumed.seq < self.record.cursor:
            raise RelayFault(
                f"the relay has lost entries of {self.record.title} it had acknowledged; ask its operator"
            )
        self._head = resumed.seq
        self._numbers_used = resumed.submission
        self.resumed = True
        if resumed.submission > self.record.submission and not self.too_old:
            self.too_old = True
            text = f"state too old: this profile comes from a backup; leave {self.record.title} and rejoin"
            return [events.Notice(self.id, text)]
        return []

    # --- what is sent ---

    def enqueue(self, kind: ContentKind, body: str) -> bytes:
        """Put a message into the outbox and return its id; it survives a crash from here on."""
        self._check_age()
        with self.changing():
            return self.outbox.append(kind, body, round(self.clock() * 1000))

    def prepare_messages(self) -> list[Submit]:
        """Encrypt what waits in the outbox, as far as the window allows, and return it to be sent."""
        items = self.outbox.plain() if self.may_send else []
        if not items:
            return []
        submits = []
        with self.changing():
            for item in items:
                content = Content(item.id, item.kind, item.body, b"", item.sent_at, self.chain.seen())
                payload = self.group.encrypt(encode_content(content))
                submits.append(self.outbox.sealed(item, self._next_submission(), self.group.epoch, payload))
        return submits

    def prepare_resubmission(self) -> list[Submit]:
        """Return, once synced after a reconnect, what was sent without an answer: the same bytes again."""
        submits = self.outbox.unanswered()
        if self.pending is not None:
            submits.append(self._commit_submit(self.pending))
        return sorted(submits, key=lambda submit: submit.submission)

    def prepare_commit(self, proposals: Sequence[Proposal]) -> Submit:
        """Make a commit of `proposals` and of what lies pending, and keep it until the log decides.

        Raises `MLSError` when the room's rules or the protocol do not allow it.
        """
        self._check_age()
        if self.pending is not None:
            raise UsageError("another change of this room is on its way; try again in a moment")
        with self.changing():
            commit = self.group.commit(proposals, now=int(self.clock()))
            self.pending = Pending(self._next_submission(), commit)
            self._store.put_part(self.id, "pending", self.pending.encode())
        return self._commit_submit(self.pending)

    def prepare_leave(self) -> Submit:
        """Propose this device's own removal; the relay stops routing to it with that entry."""
        with self.changing():
            self._withdraw()
            # A state too old to send messages from still leaves, under a number that was not taken, and in
            # the clear, since its next key may have been used: all that shows is a leaf's index.
            self.set(submission=max(self.record.submission, self._numbers_used))
            payload = self.group.propose(
                Remove(self.group.own_leaf), now=int(self.clock()), public=self.too_old
            )
            number = self.leave_submission = self._next_submission()
        remove = [self.roster.own_device]
        return Submit(self.id, number, self.group.epoch, Kind.PROPOSAL, payload, remove=remove)

    def take_back_commit(self) -> None:
        """Forget this device's commit, which never left."""
        with self.changing():
            self.drop_pending()

    # --- what the person decides ---

    def answer(self, *, accept: bool) -> None:
        """Accept the invitation, or start to leave again."""
        if self.record.phase is not Phase.INVITED:
            raise UsageError(f"there is no open invitation to {self.record.title}")
        with self.changing():
            self.set(phase=Phase.JOINED if accept else Phase.LEAVING)

    def start_leaving(self) -> None:
        """Give up membership; `prepare_leave` follows as soon as it can be sent."""
        with self.changing():
            self.set(phase=Phase.LEAVING)

    def mark_shown(self, seq: int) -> bool:
        """Note that the message at `seq` goes onto a screen; False when it did before."""
        if seq <= self.record.shown:
            return False
        with self.changing():
            self.set(shown=seq)
        return True

    def close(self, by: Person | None) -> events.RoomClosed:
        """Delete the keys: this device is no longer a member."""
        with self.changing():
            self.unsent = self.outbox.ids()
            self.set(phase=Phase.CLOSED, submission=max(self.record.submission, self._numbers_used))
            self._store.forget_group(self.id)
        return events.RoomClosed(self.id, self.record.title, by)

    def fall_behind(self) -> RoomBehind:
        """Delete the keys: entries that they were to go on with are gone. Returns what to tell."""
        with self.changing():
            self.unsent = self.outbox.ids()
            self.set(phase=Phase.BEHIND)
            self._store.forget_group(self.id)
        return RoomBehind(self.record.title, self.record.cursor)

    # --- for this module and `log_reader` ---

    def set(self, **changes: int | str | Phase) -> None:
        """Change fields of the record; `changing` writes them."""
        self.record = msgspec.structs.replace(self.record, **changes)

    def drop_pending(self) -> None:
        """Forget this device's commit; a transaction is the caller's."""
        self.pending = None
        self._store.put_part(self.id, "pending", None)

    def drop_leave(self) -> None:
        """Forget the proposal to leave, which the relay refused; a transaction is the caller's."""
        self.leave_submission = None
        self._withdraw()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Run one operation and write what it changed, all in one transaction.

        What fails leaves no trace but keys of the group that are used up for nothing, as nothing was sent.
        """
        before = self.record, self.pending, self.leave_submission, self._saved_epoch
        try:
            with self._store.transaction():
                yield
                self._save()
        except BaseException:
            self.record, self.pending, self.leave_submission, self._saved_epoch = before
            raise

    def _save(self) -> None:
        self._store.put_room(self.record)
        if self.record.phase in (Phase.CLOSED, Phase.BEHIND):
            return
        state = self.group.state()
        if state.epoch != self._saved_epoch:
            self._store.put_part(self.id, "epoch", state.epoch)
            self._saved_epoch = state.epoch
        self._store.put_part(self.id, "ratchets", state.ratchets)

    def _withdraw(self) -> None:
        """Forget this device's own proposals, which are not in the log."""
        own = MemberSender(self.group.own_leaf)
        for reference, sender, _ in self.group.pending_proposals:
            if sender == own:
                self.group.withdraw(reference)

    def _next_submission(self) -> int:
        self.set(submission=self.record.submission + 1)
        return self.record.submission

    def _check_age(self) -> None:
        if self.too_old:
            raise StateTooOld(
                f"this profile comes from a backup, too old to send to {self.record.title}; leave and rejoin"
            )

    def _commit_submit(self, pending: Pending) -> Submit:
        commit = pending.commit
        return Submit(
            self.id,
            pending.submission,
            commit.epoch,
            Kind.COMMIT,
            commit.message,
            add=[member.signature_key for member in commit.added],
            remove=[self.group.member(leaf).signature_key for leaf in commit.removed],
            welcome=commit.welcome or b"",
        )
