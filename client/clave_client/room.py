"""One room as this device holds it: the group, the cursor in the log, and what is on its way.

Log in, events out: `process` takes what the relay streamed and returns what happened; the `prepare_*` methods
return what to submit. Each call is one transaction, so whatever it returns is on disk already. Knows no network
and no clock but the one it is given.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from clave_client import chain, events
from clave_client.content import Content, ContentKind, Seen, decode_content, encode_content
from clave_client.errors import LocalError, PeerError, RelayFault, StateTooOld, UsageError
from clave_client.events import Event, Person
from clave_client.policy import RoomPolicy, member_identity, room_state
from clave_client.room_state import ROOM_STATE_EXTENSION, RoomState
from clave_client.store import HistoryLine, OutboxItem, Phase, RoomRecord, Store
from clave_crypto.mls import (
    Application,
    Committed,
    Extension,
    Group,
    GroupState,
    Member,
    MLSError,
    PendingCommit,
    Proposal,
    ProposalReceived,
    Remove,
    peek,
)
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected, Resumed, Submit
from clave_wire.text import sanitize

__all__ = ["Invalid", "Outcome", "Room", "Settled"]

WINDOW = 32
"""Submissions on their way at once; the relay remembers as many for resubmission."""

_LINKS_KEPT = 1000

_RETRY = {Code.STALE_EPOCH, Code.RENUMBER, Code.STORAGE}


class Settled(enum.Enum):
    """What became of this device's commit."""

    WON = "won"
    LOST = "lost"
    REFUSED = "refused"


@dataclass(frozen=True)
class Invalid:
    """A commit that this client refuses, for the relay to let another one through."""

    epoch: int
    seq: int


@dataclass(frozen=True)
class Outcome:
    """What came of one batch: `events` for people; the rest for the session."""

    events: list[Event]
    settled: Settled | None
    reason: str
    invalid: list[Invalid]


class Room:
    """One room. Make it with `create`, `join` or `load`."""

    def __init__(self, store: Store, record: RoomRecord, group: Group, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._saved_epoch: bytes | None = None
        self._pending: PendingCommit | None = None
        self._pending_submission = 0
        self._head = 0
        self._resume_epoch = 0
        self._blocked_in_epoch: int | None = None
        self._link = store.link(record.id, record.cursor) or chain.start(
            record.id, record.cursor, group.epoch
        )
        self._events: list[Event] = []
        self._invalid: list[Invalid] = []
        self._settled: Settled | None = None
        self._reason = ""
        self.record = record
        self.group = group
        self._leave_submission: int | None = None
        self._lost = False
        self.too_old = False
        self.resumed = False

    # --- making one ---

    @classmethod
    def create(cls, store: Store, group: Group, clock: Callable[[], float]) -> Room:
        """Store a group this device just created as a room."""
        title = room_state(group.extensions).title
        room = cls(store, RoomRecord(group.group_id, Phase.JOINED, sanitize(title), 0, 0, 0), group, clock)
        with store.transaction():
            room._save()
            store.add_link(room.id, 0, room._link)
        return room

    @classmethod
    def join(cls, store: Store, group: Group, seq: int, clock: Callable[[], float]) -> Room:
        """Store a group this device was welcomed to by the commit at `seq`, as an invitation to answer."""
        state = room_state(group.extensions)
        record = RoomRecord(group.group_id, Phase.INVITED, sanitize(state.title), seq, 0, seq)
        with store.transaction():
            store.forget_group(record.id)
            room = cls(store, record, group, clock)
            for member in group.members():
                room._meet(member)
            room._save()
            store.add_link(record.id, seq, room._link)
        return room

    @classmethod
    def load(cls, store: Store, record: RoomRecord, clock: Callable[[], float]) -> Room:
        """Read a room back from the store."""
        policy = RoomPolicy()
        epoch, ratchets = store.part(record.id, "epoch"), store.part(record.id, "ratchets")
        if epoch is None or ratchets is None:
            raise LocalError(f"the keys of room {record.title} are missing; ask to be invited again")
        room = cls(store, record, Group.restore(GroupState(epoch, ratchets), policy=policy), clock)
        room._saved_epoch = epoch
        pending = store.part(record.id, "pending")
        if pending is not None:
            room._pending_submission = int.from_bytes(pending[:8], "big")
            room._pending = PendingCommit.decode(pending[8:], policy=policy)
        return room

    # --- what others may ask ---

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
        return self.record.phase is Phase.JOINED and self.synced and self._pending is None

    @property
    def commit_due(self) -> bool:
        """Whether proposals lie that somebody has to commit before anyone can send."""
        return bool(self.group.pending_proposals) and self.may_commit and not self.too_old

    @property
    def commit_rank(self) -> int:
        """This device's place in the order in which members step up to commit what was proposed."""
        leaving = self._leavers()
        staying = [m.leaf_index for m in self.group.members() if m.leaf_index not in leaving]
        return staying.index(self.group.own_leaf) if self.group.own_leaf in staying else len(staying)

    def people(self) -> list[Person]:
        """Return the members, this device included, in leaf order."""
        return [self._person(member) for member in self.group.members()]

    def leaves(self) -> list[tuple[int, Person]]:
        """Return (leaf index, person) for every member."""
        return [(member.leaf_index, self._person(member)) for member in self.group.members()]

    def extensions_with(self, *, title: str) -> tuple[Extension, ...]:
        """Return the group's extensions with another title agreed."""
        state = msgspec.structs.replace(self.state, title=title).encode()
        others = [e for e in self.group.extensions if e.extension_type != ROOM_STATE_EXTENSION]
        return (*others, Extension(ROOM_STATE_EXTENSION, state))

    def invitation(self, inviter: bytes) -> events.Invited:
        """Return what to ask the person; `inviter` is the device that made the welcome."""
        people = self.people()
        by = next((person for person in people if person.device == inviter), people[0])
        return events.Invited(self.id, self.record.title, by, tuple(person.name for person in people))

    def mark_shown(self, seq: int) -> bool:
        """Note that the message at `seq` goes onto a screen; False when it did before."""
        if seq <= self.record.shown:
            return False
        self._set(shown=seq)
        with self._store.transaction():
            self._store.put_room(self.record)
        return True

    def compare_routing(self, routed: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the devices the relay should route to but does not, and those it should not but does."""
        leaving = self._leavers()
        agreed = {m.signature_key for m in self.group.members() if m.leaf_index not in leaving}
        return sorted(agreed.difference(routed)), sorted(set(routed).difference(agreed))

    def may_send(self) -> bool:
        """Whether messages can be encrypted now."""
        return (
            self.record.phase is Phase.JOINED
            and self.synced
            and not self.too_old
            and self._pending is None
            and not self.group.pending_proposals
            and self._blocked_in_epoch != self.group.epoch
        )

    # --- connection ---

    def disconnected(self) -> None:
        """Forget what the relay told; nothing is being streamed any more."""
        self.resumed = False
        self._blocked_in_epoch = None
        self._leave_submission = None

    def start(self, resumed: Resumed) -> list[Event]:
        """Take the relay's answer to a resume; entries up to its head follow."""
        self._head = resumed.seq
        self.resumed = True
        if resumed.seq < self.record.cursor:
            raise RelayFault(
                f"the relay has lost entries of room {self.record.title} that it had acknowledged"
            )
        if resumed.submission > self.record.submission and not self.too_old:
            self.too_old = True
            text = f"state too old: this profile was restored from a backup; leave {self.record.title} and rejoin"
            return [events.Notice(self.id, text)]
        return []

    # --- sending ---

    def enqueue(self, kind: ContentKind, body: str) -> bytes:
        """Put a message into the outbox and return its id; it survives a crash from here on."""
        if self.too_old:
            raise StateTooOld(
                f"room {self.record.title} is too old on this device to send; leave it and rejoin"
            )
        message_id = os.urandom(16)
        with self._store.transaction():
            self._store.enqueue(self.id, message_id, kind, body, round(self._clock() * 1000))
        return message_id

    def prepare_messages(self) -> list[Submit]:
        """Encrypt what waits in the outbox, as far as the window allows, and return it to be sent."""
        if not self.may_send():
            return []
        submits = []
        with self._changing():
            for item in self._store.outbox(self.id, WINDOW):
                if item.payload is None:
                    content = self._content(item)
                    payload = self.group.encrypt(encode_content(content))
                    number, epoch = self._next_submission(), self.group.epoch
                    self._store.put_ciphertext(item.position, number, epoch, payload)
                    submits.append(Submit(self.id, number, epoch, Kind.APPLICATION, payload))
        return submits

    def prepare_resubmission(self) -> list[Submit]:
        """Return, after a reconnect and once synced, what was sent without an answer: the same bytes again."""
        submits = [
            Submit(self.id, item.submission, item.epoch, Kind.APPLICATION, item.payload)
            for item in self._store.outbox(self.id, WINDOW)
            if item.submission is not None and item.epoch is not None and item.payload is not None
        ]
        if self._pending is not None:
            submits.append(self._commit_submit(self._pending))
        return sorted(submits, key=lambda submit: submit.submission)

    def prepare_commit(self, proposals: Sequence[Proposal]) -> Submit:
        """Make a commit of `proposals` and of what lies pending, and keep it until the log decides.

        Raises `MLSError` when the room's rules or the protocol do not allow it.
        """
        if self.too_old:
            raise StateTooOld(f"room {self.record.title} is too old on this device; leave it and rejoin")
        if self._pending is not None:
            raise UsageError("another change of this room is on its way; try again in a moment")
        with self._changing():
            pending = self.group.commit(proposals, now=int(self._clock()))
            self._pending_submission = self._next_submission()
            self._pending = pending
            self._store.put_part(
                self.id, "pending", self._pending_submission.to_bytes(8, "big") + pending.encode()
            )
        return self._commit_submit(pending)

    def start_leaving(self) -> None:
        """Give up membership; `prepare_leave` follows as soon as it can be sent."""
        with self._changing():
            self._set(phase=Phase.LEAVING)

    @property
    def leave_due(self) -> bool:
        """Whether this device's own removal waits to be proposed in the current epoch."""
        return (
            self.record.phase is Phase.LEAVING
            and self.synced
            and self._pending is None
            and self._leave_submission is None
            and self._blocked_in_epoch != self.group.epoch
        )

    def prepare_leave(self) -> Submit:
        """Propose this device's own removal; the relay stops routing to it with that entry."""
        with self._changing():
            payload = self.group.propose(Remove(self.group.own_leaf))
            self._leave_submission = self._next_submission()
        number = self._leave_submission
        return Submit(self.id, number, self.group.epoch, Kind.PROPOSAL, payload, remove=[self._device])

    # --- answering an invitation ---

    def answer(self, *, accept: bool) -> None:
        """Accept the invitation, or start to leave again."""
        if self.record.phase is not Phase.INVITED:
            raise UsageError(f"there is no open invitation to {self.record.title}")
        with self._changing():
            self._set(phase=Phase.JOINED if accept else Phase.LEAVING)

    def close(self) -> None:
        """Delete the keys: this device is no longer a member."""
        with self._store.transaction():
            self._set(phase=Phase.CLOSED)
            self._store.forget_group(self.id)
            self._store.put_room(self.record)

    # --- the log ---

    def process(self, batch: Sequence[Entry | Accepted | Rejected]) -> Outcome:
        """Take a batch of the room's stream, in order.

        Raises `RelayFault` when the relay left entries out; nothing of the batch is taken then.
        """
        self._check_complete(batch)
        self._events, self._invalid, self._settled, self._reason = [], [], None, ""
        with self._changing():
            for message in batch:
                if self.record.phase is Phase.CLOSED:
                    break
                match message:
                    case Entry():
                        self._entry(message)
                    case Accepted():
                        self._accepted(message)
                    case Rejected():
                        self._rejected(message)
        return Outcome(self._events, self._settled, self._reason, self._invalid)

    def _entry(self, entry: Entry) -> None:
        if entry.seq <= self.record.cursor or (entry.sender == self._device and self._own(entry)):
            return
        own_epoch, prior = self.group.epoch, self._members() if entry.kind is Kind.COMMIT else {}
        leavers = self._leavers()
        try:
            if peek(entry.payload) != (self.id, entry.epoch, int(entry.kind)):
                raise PeerError("its label does not match its content")
            received = self.group.receive(entry.payload, now=int(self._clock()))
        except (MLSError, PeerError) as error:
            self._advance(entry)
            self._refused(entry, own_epoch, str(error))
            return
        match received:
            case Application():
                self._advance(entry)
                self._message(entry, received)
            case ProposalReceived():
                self._advance(entry)
                self._proposed(received)
            case Committed():
                self._committed(entry.seq, received, prior, leavers)

    def _own(self, entry: Entry) -> bool:
        """Take an entry this device made out of the log, as comes after a reconnect; False if it made no such."""
        if self._pending is not None and entry.payload == self._pending.message:
            self._won(entry.seq)
            return True
        item = self._outbox_item(entry.submission)
        if item is not None and item.payload == entry.payload:
            self._advance(entry)
            self._delivered(item, entry.seq)
            return True
        if self.record.phase is Phase.LEAVING and entry.kind is Kind.PROPOSAL:
            self._closed(None)
            return True
        return False

    def _accepted(self, accepted: Accepted) -> None:
        if self._pending is not None and accepted.submission == self._pending_submission:
            self._won(accepted.seq)
            return
        if accepted.submission == self._leave_submission:
            self._closed(None)
            return
        item = self._outbox_item(accepted.submission)
        if item is None or item.payload is None or item.epoch is None:
            if accepted.seq > self.record.cursor:
                raise RelayFault(f"the relay acknowledged what this device never sent to {self.record.title}")
            return
        if accepted.seq > self.record.cursor:
            kind = Kind.APPLICATION
            self._advance(
                Entry(
                    self.id, accepted.seq, self._device, accepted.submission, kind, item.epoch, item.payload
                )
            )
        self._delivered(item, accepted.seq)

    def _delivered(self, item: OutboxItem, seq: int) -> None:
        """Note that one of this device's messages is in the log."""
        self._store.drop_outbox(item.position)
        if item.kind is ContentKind.TEXT:
            me = self._person(self.group.member(self.group.own_leaf))
            line = HistoryLine(seq, me.device, me.account, me.name, item.id, item.body, item.sent_at)
            self._store.add_message(self.id, line)
        self._events.append(events.Sent(self.id, seq, item.id))

    def _rejected(self, rejected: Rejected) -> None:
        if self._pending is not None and rejected.submission == self._pending_submission:
            self._drop_pending()
            self._settled = Settled.LOST if rejected.code in _RETRY else Settled.REFUSED
            self._reason = sanitize(rejected.text)
            return
        if rejected.submission == self._leave_submission:
            self._leave_submission = None
            if rejected.code is Code.NOT_MEMBER:
                self._closed(None)
            elif rejected.code is Code.STALE_EPOCH:
                self._blocked_in_epoch = self.group.epoch
            return
        item = self._outbox_item(rejected.submission)
        if item is None:
            return
        if rejected.code is Code.STALE_EPOCH and item.epoch == self.group.epoch:
            self._blocked_in_epoch = self.group.epoch
        if rejected.code in _RETRY:
            self._store.put_ciphertext(item.position, None, None, None)
        else:
            self._store.drop_outbox(item.position)
            self._events.append(events.SendFailed(self.id, item.id, sanitize(rejected.text)))

    def _refused(self, entry: Entry, own_epoch: int, reason: str) -> None:
        """Say what was refused; a refused commit of the current epoch is reported, so that another can pass."""
        if entry.kind is Kind.COMMIT and entry.epoch == own_epoch:
            self._invalid.append(Invalid(entry.epoch, entry.seq))
        if entry.epoch <= own_epoch:
            text = f"an entry of {self.record.title} was refused: {sanitize(reason)}"
        elif not self._lost:
            self._lost = True
            text = f"this device cannot follow {self.record.title} any more; leave it and ask to be invited again"
        else:
            return
        self._events.append(events.Notice(self.id, text))

    # --- what entries mean ---

    def _message(self, entry: Entry, received: Application) -> None:
        try:
            content = decode_content(received.data)
        except PeerError as error:
            self._refused(entry, self.group.epoch, str(error))
            return
        person = self._person(received)
        if entry.sender != person.device:
            text = (
                f"the relay says entry {entry.seq} came from somebody else than {person.name}, who signed it"
            )
            self._events.append(events.Notice(self.id, text))
        known = self._store.link(self.id, content.seen.cursor)
        if content.seen.cursor < entry.seq and known is not None and known != content.seen.hash:
            self._events.append(events.Diverged(self.id, person))
        if content.kind is ContentKind.JOINED:
            self._events.append(events.Accepted(self.id, person))
            return
        text = sanitize(content.body, multiline=True)
        line = HistoryLine(
            entry.seq, person.device, person.account, person.name, content.id, text, content.sent_at
        )
        if self._store.add_message(self.id, line):
            message = events.Message(self.id, entry.seq, person, content.id, text, content.sent_at / 1000)
            self._events.append(message)

    def _proposed(self, received: ProposalReceived) -> None:
        if isinstance(received.proposal, Remove) and received.proposal.removed == received.sender:
            person = self._person(self.group.member(received.sender))
            self._events.append(events.MemberLeft(self.id, person))

    def _committed(self, seq: int, committed: Committed, prior: dict[int, Member], leavers: set[int]) -> None:
        """Take the winning commit of an epoch, this device's own or another's; `prior` are its members before."""
        by = self._person(prior[committed.committer])
        for member in committed.added:
            self._meet(member)
            self._events.append(events.MemberAdded(self.id, self._person(member), by))
        for member in committed.removed:
            if member.leaf_index not in leavers:
                self._events.append(events.MemberRemoved(self.id, self._person(member), by))
        if committed.removed_self:
            self._closed(by)
            return
        if self._pending is not None:
            self._drop_pending()
            self._settled = Settled.LOST
        title = sanitize(self.state.title)
        if committed.extensions_changed:
            self._events.append(events.RoomChanged(self.id, title, by))
        self._blocked_in_epoch = None
        self._lost = False
        self._set(cursor=seq, title=title)
        self._link = chain.start(self.id, seq, self.group.epoch)
        self._store.add_link(self.id, seq, self._link)

    def _won(self, seq: int) -> None:
        assert self._pending is not None
        prior, leavers = self._members(), self._leavers()
        committed = self.group.merge(self._pending)
        self._drop_pending()
        self._committed(seq, committed, prior, leavers)
        self._settled = Settled.WON

    def _closed(self, by: Person | None) -> None:
        self._set(phase=Phase.CLOSED)
        self._store.forget_group(self.id)
        self._events.append(events.RoomClosed(self.id, self.record.title, by))

    # --- small steps ---

    def _check_complete(self, batch: Sequence[Entry | Accepted | Rejected]) -> None:
        cursor = self.record.cursor
        for message in batch:
            if isinstance(message, Rejected) or message.seq <= cursor:
                continue
            if message.seq != cursor + 1:
                title = self.record.title
                raise RelayFault(f"the relay left out entries of {title} between {cursor} and {message.seq}")
            cursor = message.seq

    def _advance(self, entry: Entry) -> None:
        """Move the cursor and the chain over an entry that is not the commit of a new epoch."""
        self._set(cursor=entry.seq)
        self._link = chain.extend(self._link, entry)
        self._store.add_link(self.id, entry.seq, self._link)
        if entry.seq % 100 == 0:
            self._store.trim_chain(self.id, entry.seq - _LINKS_KEPT)

    def _content(self, item: OutboxItem) -> Content:
        seen = Seen(self.record.cursor, self._link)
        return Content(item.id, item.kind, item.body, b"", item.sent_at, seen)

    def _commit_submit(self, pending: PendingCommit) -> Submit:
        return Submit(
            self.id,
            self._pending_submission,
            pending.epoch,
            Kind.COMMIT,
            pending.message,
            add=list(pending.added_keys),
            remove=list(pending.removed_keys),
            welcome=pending.welcome or b"",
        )

    def _leavers(self) -> set[int]:
        """Return the leaves that have proposed their own removal."""
        proposals = self.group.pending_proposals
        return {p.removed for _, sender, p in proposals if isinstance(p, Remove) and p.removed == sender}

    def _drop_pending(self) -> None:
        self._pending = None
        self._store.put_part(self.id, "pending", None)

    def _next_submission(self) -> int:
        self._set(submission=self.record.submission + 1)
        return self.record.submission

    def _set(self, **changes: int | str | Phase) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)

    @property
    def _device(self) -> bytes:
        return self.group.member(self.group.own_leaf).signature_key

    def _members(self) -> dict[int, Member]:
        return {member.leaf_index: member for member in self.group.members()}

    def _outbox_item(self, submission: int) -> OutboxItem | None:
        items = self._store.outbox(self.id, WINDOW)
        return next((item for item in items if item.submission == submission), None)

    def _meet(self, member: Member) -> None:
        identity = member_identity(member)
        self._store.meet_account(identity.account, identity.name)

    def _person(self, member: Member | Application) -> Person:
        identity = member_identity(member)
        known = self._store.account(identity.account)
        verified = known is not None and known[1]
        name, device_name = sanitize(identity.name), sanitize(identity.device_name)
        return Person(name, identity.account, device_name, identity.device, verified)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Run one operation and write what it changed, all in one transaction."""
        with self._store.transaction():
            yield
            if self.record.phase is Phase.CLOSED:
                self._store.put_room(self.record)
            else:
                self._save()

    def _save(self) -> None:
        self._store.put_room(self.record)
        state = self.group.state()
        if state.epoch != self._saved_epoch:
            self._store.put_part(self.id, "epoch", state.epoch)
            self._saved_epoch = state.epoch
        self._store.put_part(self.id, "ratchets", state.ratchets)
