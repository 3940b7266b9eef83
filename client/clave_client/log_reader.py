"""Takes a room's log in, entry by entry, and says what happened. Knows the room; sends nothing itself.

The log decides: entries are taken in its order, and the first valid commit of an epoch wins, this device's
own or another's. What is refused changes nothing but the cursor.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from clave_client import events
from clave_client.content import Content, ContentKind, decode_content
from clave_client.errors import PeerError, RelayFault
from clave_client.events import Event, Person
from clave_client.room import Pending, Room
from clave_client.store import HistoryLine, OutboxItem, Phase, Store
from clave_crypto.mls import (
    Application,
    Committed,
    Member,
    MemberSender,
    MLSError,
    ProposalReceived,
    Remove,
    peek,
)
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected
from clave_wire.text import sanitize

__all__ = ["LogMessage", "LogReader", "Outcome", "Settled"]

LogMessage = Entry | Accepted | Rejected

_TRY_AGAIN = {Code.STALE_EPOCH, Code.RENUMBER, Code.STORAGE}


class Settled(enum.Enum):
    """What became of this device's commit."""

    WON = "won"
    LOST = "lost"
    REFUSED = "refused"


@dataclass
class Outcome:
    """What came of one batch.

    `events` are for people. `settled` and `reason` say what became of this device's commit, if that was
    decided. `invalid` lists (epoch, seq) of commits this client refuses, for the relay to let another one
    through.
    """

    events: list[Event] = field(default_factory=list)
    settled: Settled | None = None
    reason: str = ""
    invalid: list[tuple[int, int]] = field(default_factory=list)


class LogReader:
    """Reads one room's log."""

    def __init__(self, room: Room, store: Store) -> None:
        self._room = room
        self._store = store
        self._outcome = Outcome()
        self._lost = False

    def read(self, batch: Sequence[LogMessage]) -> Outcome:
        """Take a batch of the room's stream, in order, in one transaction.

        Raises `RelayFault` when the relay left entries out; nothing of the batch is taken then.
        """
        self._check_complete(batch)
        self._outcome = Outcome()
        with self._room.changing():
            for message in batch:
                if self._room.record.phase is Phase.CLOSED:
                    break
                match message:
                    case Entry():
                        self._entry(message)
                    case Accepted():
                        self._accepted(message)
                    case Rejected():
                        self._rejected(message)
        return self._outcome

    def _check_complete(self, batch: Sequence[LogMessage]) -> None:
        cursor = self._room.record.cursor
        for message in batch:
            if isinstance(message, Rejected):
                continue
            if message.seq <= cursor:
                pending = self._room.pending
                if isinstance(message, Accepted) and pending and message.submission == pending.submission:
                    raise RelayFault("the relay acknowledged a commit under a number that was taken already")
                continue
            if message.seq != cursor + 1:
                title = self._room.record.title
                raise RelayFault(f"the relay left out entries of {title} between {cursor} and {message.seq}")
            cursor = message.seq

    # --- others' entries ---

    def _entry(self, entry: Entry) -> None:
        room = self._room
        if entry.seq <= room.record.cursor or self._is_own(entry):
            return
        epoch = room.group.epoch
        prior = room.roster.members() if entry.kind is Kind.COMMIT else {}
        leavers = room.roster.leavers()
        try:
            if peek(entry.payload) != (room.id, entry.epoch, int(entry.kind)):
                raise PeerError("its label does not match its content")
            received = room.group.receive(entry.payload)
        except (MLSError, PeerError) as error:
            self._advance(entry)
            self._refuse(entry, epoch, str(error))
            return
        match received:
            case Application():
                self._advance(entry)
                self._application(entry, received)
            case ProposalReceived():
                self._advance(entry)
                self._proposed(received)
            case Committed():
                self._committed(entry.seq, received, prior, leavers)

    def _refuse(self, entry: Entry, epoch: int, reason: str) -> None:
        """Say what was refused; a commit of this epoch is reported, so that another can pass."""
        if entry.kind is Kind.COMMIT and entry.epoch == epoch:
            self._outcome.invalid.append((entry.epoch, entry.seq))
        title = self._room.record.title
        if entry.epoch <= epoch:
            self._notice(f"an entry of {title} was refused: {sanitize(reason)}")
        elif not self._lost:
            self._lost = True
            self._notice(f"this device cannot follow {title} any more; leave it and ask to be invited again")

    def _application(self, entry: Entry, received: Application) -> None:
        try:
            content = decode_content(received.data)
        except PeerError as error:
            self._refuse(entry, entry.epoch, str(error))
            return
        person = self._room.roster.person(received)
        if entry.sender != person.device:
            self._notice(f"the relay put another's name on entry {entry.seq}, which {person.name} signed")
        if content.seen.cursor < entry.seq and self._room.chain.contradicts(content.seen):
            self._happened(events.Diverged(self._room.id, person))
        match content.kind:
            case ContentKind.TEXT:
                self._said(entry.seq, person, content)
            case ContentKind.JOINED:
                self._happened(events.Accepted(self._room.id, person))

    def _said(self, seq: int, person: Person, content: Content) -> None:
        text = sanitize(content.body, multiline=True)
        line = HistoryLine(seq, person.device, person.account, person.name, content.id, text, content.sent_at)
        if self._store.add_message(self._room.id, line):
            sent_at = content.sent_at / 1000
            self._happened(events.Message(self._room.id, seq, person, content.id, text, sent_at))

    def _proposed(self, received: ProposalReceived) -> None:
        proposal = received.proposal
        if isinstance(proposal, Remove) and MemberSender(proposal.removed) == received.sender:
            leaver = self._room.roster.person(self._room.group.member(proposal.removed))
            self._happened(events.MemberLeft(self._room.id, leaver))

    def _committed(self, seq: int, committed: Committed, prior: dict[int, Member], leavers: set[int]) -> None:
        """Take the winning commit of an epoch; `prior` and `leavers` are as they were before it."""
        room, person = self._room, self._room.roster.person
        by = person(prior[committed.committer])
        room.roster.meet(committed.added)
        for member in committed.added:
            self._happened(events.MemberAdded(room.id, person(member), by))
        for member in committed.removed:
            if member.leaf_index not in leavers:
                self._happened(events.MemberRemoved(room.id, person(member), by))
        if committed.removed_self:
            self._happened(room.close(by))
            return
        if room.pending is not None:
            room.drop_pending()
            self._outcome.settled = Settled.LOST
        title = sanitize(room.state.title)
        if committed.extensions_changed:
            self._happened(events.RoomChanged(room.id, title, by))
        room.blocked_in_epoch = None
        room.set(cursor=seq, title=title)
        room.chain.restart(seq, room.group.epoch)
        self._lost = False

    # --- what became of this device's own ---

    def _is_own(self, entry: Entry) -> bool:
        """Take an entry this device made, as comes after a reconnect; False if it made no such."""
        room = self._room
        if entry.sender != room.roster.own_device:
            return False
        if room.pending is not None and entry.payload == room.pending.commit.message:
            self._won(entry.seq, room.pending)
            return True
        item = room.outbox.find(entry.submission)
        if item is not None and item.payload == entry.payload:
            self._advance(entry)
            self._delivered(item, entry.seq)
            return True
        if room.record.phase is Phase.LEAVING and entry.kind is Kind.PROPOSAL:
            self._happened(room.close(None))
            return True
        return False

    def _accepted(self, accepted: Accepted) -> None:
        room = self._room
        if room.pending is not None and accepted.submission == room.pending.submission:
            self._won(accepted.seq, room.pending)
            return
        if accepted.submission == room.leave_submission:
            self._happened(room.close(None))
            return
        item = room.outbox.find(accepted.submission)
        if item is not None and item.payload is not None and item.epoch is not None:
            if accepted.seq > room.record.cursor:
                own, number = room.roster.own_device, accepted.submission
                # The entry as everybody else got it, for the chain.
                kind = Kind.APPLICATION
                self._advance(Entry(room.id, accepted.seq, own, number, kind, item.epoch, item.payload))
            self._delivered(item, accepted.seq)
        elif accepted.seq > room.record.cursor:
            raise RelayFault(f"the relay acknowledged what this device never sent to {room.record.title}")

    def _delivered(self, item: OutboxItem, seq: int) -> None:
        """Note that one of this device's messages is in the log."""
        room = self._room
        room.outbox.drop(item)
        if item.kind is ContentKind.TEXT:
            me = room.roster.person(room.group.member(room.group.own_leaf))
            line = HistoryLine(seq, me.device, me.account, me.name, item.id, item.body, item.sent_at)
            self._store.add_message(room.id, line)
        self._happened(events.Sent(room.id, seq, item.id))

    def _won(self, seq: int, pending: Pending) -> None:
        room = self._room
        prior, leavers = room.roster.members(), room.roster.leavers()
        committed = room.group.merge(pending.commit)
        room.drop_pending()
        self._committed(seq, committed, prior, leavers)
        self._outcome.settled = Settled.WON

    def _rejected(self, rejected: Rejected) -> None:
        room, code = self._room, rejected.code
        if room.pending is not None and rejected.submission == room.pending.submission:
            room.drop_pending()
            self._outcome.settled = Settled.LOST if code in _TRY_AGAIN else Settled.REFUSED
            self._outcome.reason = sanitize(rejected.text)
            return
        if rejected.submission == room.leave_submission:
            self._leave_refused(code, sanitize(rejected.text))
            return
        item = room.outbox.find(rejected.submission)
        if item is None:
            return
        if code is Code.STALE_EPOCH and item.epoch == room.group.epoch:
            room.blocked_in_epoch = room.group.epoch
        if code in _TRY_AGAIN:
            room.outbox.unsealed(item)
        else:
            room.outbox.drop(item)
            self._happened(events.SendFailed(room.id, item.id, sanitize(rejected.text)))

    def _leave_refused(self, code: Code, reason: str) -> None:
        room = self._room
        room.drop_leave()
        if code is Code.NOT_MEMBER:
            self._happened(room.close(None))
        elif code is Code.STALE_EPOCH:
            room.blocked_in_epoch = room.group.epoch
        elif code not in _TRY_AGAIN and not room.too_old:
            room.set(phase=Phase.JOINED)
            self._notice(
                f"you are still in {room.record.title}: the relay refused to let you leave ({reason})"
            )

    # --- small steps ---

    def _advance(self, entry: Entry) -> None:
        """Move the cursor and the chain over an entry that does not begin an epoch."""
        self._room.set(cursor=entry.seq)
        self._room.chain.extend(entry)

    def _happened(self, event: Event) -> None:
        self._outcome.events.append(event)

    def _notice(self, text: str) -> None:
        self._happened(events.Notice(self._room.id, text))
