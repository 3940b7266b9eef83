"""Takes a room's log in, entry by entry, and says what happened. Knows the room; sends nothing itself.

The log decides, and everybody in an epoch decides alike: an entry counts if it was made in the present
epoch, its signer is its sender, and its header is what it does (docs/decisions/0006). This device's own
entries are taken like all others. What does not count changes nothing but the cursor and the chain.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from clave_client import events, legacy
from clave_client.content import Content, ContentKind, decode_content
from clave_client.errors import PeerError, RelayFault
from clave_client.events import Event, Lie, Person
from clave_client.rekeys import Fate, Rekey, judge
from clave_client.room import Room
from clave_client.roster import Roster
from clave_client.sealing import Opened, check_mls, check_signed, name_rekey, open_entry
from clave_client.store import HistoryLine, Phase, Store
from clave_crypto.mls import (
    Application,
    Committed,
    Group,
    Member,
    MemberSender,
    MLSError,
    ProposalReceived,
    Remove,
)
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected
from clave_wire.text import sanitize

__all__ = ["LogMessage", "LogReader", "Outcome", "Settled"]

LogMessage = Entry | Accepted | Rejected

_TRY_AGAIN = {Code.STALE, Code.OUT_OF_ORDER, Code.RENUMBER, Code.PACE, Code.STORAGE}
_WAIT = {Code.PACE, Code.STORAGE}

_MOST_TOLD = 1000
"""Senders and reasons remembered as told of: each is told once in a session."""


class Settled(enum.Enum):
    """What became of this device's commit."""

    WON = "won"
    PLACED = "placed"
    LOST = "lost"
    REFUSED = "refused"


@dataclass
class Outcome:
    """What came of one batch.

    `events` are for people. `settled` and `reason` say what became of this device's commit, if that was
    decided. `lost` are other devices that cannot follow; `cry` says that this device cannot. `strangers` says
    that the relay may route to others than the members. `wait` says that the relay wants a pause.
    """

    events: list[Event] = field(default_factory=list)
    settled: Settled | None = None
    reason: str = ""
    lost: list[bytes] = field(default_factory=list)
    cry: bool = False
    strangers: bool = False
    wait: bool = False


class LogReader:
    """Reads one room's log."""

    def __init__(self, room: Room, store: Store) -> None:
        self._room = room
        self._store = store
        self._outcome = Outcome()
        self._told: set[tuple[bytes, str]] = set()
        self._misled = False

    def read(self, batch: Sequence[LogMessage]) -> Outcome:
        """Take a batch of the room's stream, in order, in one transaction.

        Raises `RelayFault` when the relay left entries out or acknowledged what it was not sent; nothing of
        the batch is taken then.
        """
        self._outcome = Outcome()
        told, misled = set(self._told), self._misled
        try:
            self._read(batch)
        except BaseException:
            self._told, self._misled = told, misled  # what this batch showed is not told after all
            raise
        return self._outcome

    def _read(self, batch: Sequence[LogMessage]) -> None:
        with self._room.changing():
            for message in batch:
                if self._room.record.phase is Phase.CLOSED:
                    break
                match message:
                    case Entry():
                        if message.seq > self._room.record.cursor:
                            self._entry(message)
                    case Accepted():
                        self._accepted(message)
                    case Rejected():
                        self._rejected(message)

    # --- entries, one after the other ---

    def _accepted(self, accepted: Accepted) -> None:
        """Take an acknowledgement: it stands for the entry as everybody else got it."""
        room = self._room
        flight = room.flights.get(accepted.submission)
        title = room.record.title
        if flight is None:
            raise RelayFault(f"the relay acknowledged what this device never sent to {title}")
        if accepted.seq <= room.record.cursor:
            raise RelayFault(
                f"the relay acknowledged something in {title} under a number that was taken already"
            )
        own = room.roster.own_device
        self._entry(Entry(room.id, accepted.seq, own, accepted.submission, flight.kind, 0, flight.payload))

    def _entry(self, entry: Entry) -> None:
        room = self._room
        if entry.seq != room.record.cursor + 1:
            title, cursor = room.record.title, room.record.cursor
            raise RelayFault(f"the relay left out entries of {title} between {cursor} and {entry.seq}")
        refused = entry.payload in room.refused
        room.advance(entry)
        if refused and entry.payload in room.refused and entry.sender == room.roster.own_device:
            self._lie(Lie.STORED, room.roster.find(entry.sender))
        if entry.seq <= room.record.legacy:
            if _has_header(entry):  # the relay says so to have it passed over
                self._lie(Lie.PLACE, room.roster.find(entry.sender))
            legacy.read_entry(self, entry)
            room.leave_legacy(entry.seq)
            return
        head = room.head
        try:
            self._judge(open_entry(entry))
        except (MLSError, PeerError) as error:
            self._refuse(entry, str(error))
        if entry.kind is Kind.COMMIT and room.head == head and entry.seq > room.record.began:
            # The relay took it at its word: it routes to whom it adds, and has forgotten whom rekeys remove.
            self._misled = True

    def _judge(self, opened: Opened) -> None:
        room, entry = self._room, opened.entry
        if entry.kind is Kind.LOST:
            self._cried(opened)
            return
        if room.commits.returning and self._returns(opened):
            return
        if room.lost:
            return
        if opened.header.head != room.head:
            self._elsewhere(opened)
            return
        if entry.seq <= room.record.began:  # its commit stands there, and all of its epoch follows
            self._lie(Lie.PLACE, room.roster.find(entry.sender))
        match entry.kind:
            case Kind.APPLICATION:
                self._message(opened)
            case Kind.PROPOSAL:
                self._leaving(opened)
            case Kind.COMMIT:
                self._commit(opened)
            case Kind.REKEY:
                self._rekey(opened)
            case Kind.CONFIRM:
                self._confirm(opened)
            case Kind.GROUP_INFO:
                self._helped(opened)

    def _refuse(self, entry: Entry, reason: str) -> None:
        """Say once of each sender that something of it does not count, and why."""
        room = self._room
        if room.lost or entry.seq <= room.record.began:
            return
        person = room.roster.find(entry.sender)
        if person is None:
            self._outcome.strangers = True
        whose = "somebody who is no member" if person is None else person.name
        if self._first(entry.sender if person else b"", "refused"):
            text = f"something {whose} sent to {room.record.title} does not count: {sanitize(reason)}"
            self._happened(events.Notice(room.id, text))

    def _elsewhere(self, opened: Opened) -> None:
        """Take an entry made in another epoch than the present one: it does not count now."""
        room, entry = self._room, opened.entry
        if entry.seq <= room.record.began:  # this device joined with a later one, or with this one
            own = room.roster.own_device
            if entry.seq == room.record.began and (
                entry.kind is not Kind.COMMIT or own not in opened.header.add
            ):
                self._lie(Lie.PLACE, None)
            return
        person = room.find(entry.sender)
        if person is None:
            self._outcome.strangers = True
            return
        if entry.sender == room.roster.own_device:
            self._own_elsewhere(opened)
            return
        if entry.kind is Kind.APPLICATION and room.rekeys.keep(opened, person.account):
            return
        former = opened.header.head in room.whereabouts.heads
        room.whereabouts.elsewhere(person.account, entry.seq, former=former)
        if former:
            if entry.kind is Kind.APPLICATION and room.whereabouts.fork is None:
                self._lie(Lie.BEHIND, person)
        elif room.whereabouts.fork is None:
            self._lie(Lie.AHEAD, person)
        self._outcome.cry = True
        self._outcome.strangers |= (
            entry.kind is Kind.CONFIRM
        )  # the relay may have taken out whom that removes

    def _own_elsewhere(self, opened: Opened) -> None:
        """Take an own message made in the epoch of one's own rekey, or before the present one."""
        room = self._room
        item = room.outbox.find(opened.entry.payload)
        if item is None:
            self._unknown_own(opened.entry)
        elif opened.header.head in room.commits.heads:
            room.outbox.place(item, opened.entry.seq)
            self._in_log(item.kind, item.id, item.body, item.sent_at, opened.entry.seq)

    def _unknown_own(self, entry: Entry) -> None:
        if self._room.too_old:
            return
        lie = Lie.STORED if entry.payload in self._room.refused else Lie.INVENTED
        self._lie(lie, self._room.roster.find(entry.sender))

    # --- messages ---

    def _message(self, opened: Opened) -> None:
        room, entry = self._room, opened.entry
        if entry.sender == room.roster.own_device:
            self._own_message(opened)
            return
        check_mls(opened, room.group)
        # What does not count leaves the key that opened it, for the true entry to come.
        received = room.group.receive(opened.body, check=lambda message: self._check_message(entry, message))
        assert isinstance(received, Application)  # noqa: S101 (its content type was checked)
        person, content = room.roster.person(received), decode_content(received.data)
        self._compare(opened, person)
        match content.kind:
            case ContentKind.TEXT:
                self.said(entry.seq, person, content)
            case ContentKind.JOINED:
                self._happened(events.Accepted(room.id, person))

    def _check_message(self, entry: Entry, message: Application) -> None:
        person = self._room.roster.person(message)
        if entry.sender != person.device:
            raise PeerError(f"the relay put another's name on entry {entry.seq}, which {person.name} signed")
        decode_content(message.data)

    def said(self, seq: int, person: Person, content: Content) -> None:
        """Keep a message of another device and tell of it."""
        room = self._room
        text = sanitize(content.body, multiline=True)
        place = room.place(seq)
        line = HistoryLine(
            place, person.device, person.account, person.name, content.id, text, content.sent_at
        )
        if self._store.add_message(room.id, line):
            room.await_screen(place)
            sent_at = content.sent_at / 1000
            self._happened(events.Message(room.id, place, person, content.id, text, sent_at))

    def _own_message(self, opened: Opened) -> None:
        room = self._room
        item = room.outbox.find(opened.entry.payload)
        if item is None:
            self._unknown_own(opened.entry)
            return
        room.outbox.drop(item)
        self._in_log(item.kind, item.id, item.body, item.sent_at, opened.entry.seq)

    def _in_log(self, kind: ContentKind, message_id: bytes, body: str, sent_at: int, seq: int) -> None:
        """Note that one of this device's messages is in the log."""
        room = self._room
        if kind is ContentKind.TEXT:
            me = room.roster.person(room.group.member(room.group.own_leaf))
            line = HistoryLine(room.place(seq), me.device, me.account, me.name, message_id, body, sent_at)
            if not self._store.add_message(room.id, line):
                room.repeats.placed(message_id, line.seq)
        self._happened(events.Sent(room.id, room.place(seq), message_id))

    def delivered(self, item_payload: bytes, seq: int) -> bool:
        """Take an own message of protocol 3 that is in the log; False if there is none."""
        room = self._room
        item = room.outbox.find(item_payload)
        if item is None:
            return False
        room.outbox.drop(item)
        self._in_log(item.kind, item.id, item.body, item.sent_at, seq)
        return True

    # --- what a sender has seen ---

    def _compare(self, opened: Opened, person: Person, *, vouches: bool = True) -> None:
        """Compare a sender's view of the log with this device's.

        It vouches for the present epoch too, unless it only comes back to it by a group info.
        """
        room, header = self._room, opened.header
        if vouches:
            unread = room.whereabouts.vouch(person.account, room.account, room.record.cursor)
            if unread is not None:
                room.say_again(unread)
        if header.seen.seq >= opened.entry.seq:
            self._lie(Lie.IMPOSSIBLE, person)
        elif room.chain.contradicts(header.seen):
            self._lie(Lie.HISTORY, person)
        else:
            room.chain.adopt(header.seen, opened.entry)
        if opened.entry.kind is Kind.APPLICATION:
            if header.count <= self._store.last_count(room.id, person.device):
                self._lie(Lie.ORDER, person)
            else:
                self._store.put_count(room.id, person.device, header.count)

    def _lie(self, lie: Lie, person: Person | None) -> None:
        """Tell, once of each person and kind, that what the relay shows cannot be true."""
        if self._first(b"" if person is None else person.device, lie.value):
            self._happened(events.Diverged(self._room.id, person, lie))

    def _first(self, device: bytes, what: str) -> bool:
        """Whether this is told the first time in this session."""
        if (device, what) in self._told or len(self._told) >= _MOST_TOLD:
            return False
        self._told.add((device, what))
        return True

    # --- changes of the room ---

    def _leaving(self, opened: Opened) -> None:
        room, entry = self._room, opened.entry
        if entry.sender == room.roster.own_device:
            if room.record.phase is Phase.LEAVING:
                self._happened(room.close(None))
            return
        check_mls(opened, room.group)
        if opened.header.remove != [entry.sender] or opened.header.add:
            raise PeerError("its header is not what it does")
        successor = room.copy_group()
        received = successor.receive(opened.body)
        self.proposed(received, entry.sender)
        leaver = room.member(entry.sender)
        room.take_leaving(successor, leaver.leaf_index, entry.seq)
        self._compare(opened, room.roster.person(leaver))

    def proposed(self, received: object, sender: bytes) -> None:
        """Tell who leaves. Raises `PeerError` when a received proposal is no leaving of its sender."""
        room = self._room
        proposal = received.proposal if isinstance(received, ProposalReceived) else None
        if not isinstance(received, ProposalReceived) or not isinstance(proposal, Remove):
            raise PeerError("it is no leaving")
        leaver = room.roster.person(room.group.member(proposal.removed))
        if MemberSender(proposal.removed) != received.sender or leaver.device != sender:
            raise PeerError("it is no leaving of its sender")
        self._happened(events.MemberLeft(room.id, leaver))

    def _commit(self, opened: Opened) -> None:
        """Take a commit without a path, which begins an epoch here."""
        room, entry, header = self._room, opened.entry, opened.header
        author = room.roster.find(entry.sender)
        if room.commits.is_newest(entry.payload):
            if room.roster.leavers():
                room.commits.drop()
                self._outcome.settled = Settled.LOST
            else:
                self._enter(room.commits.follow(entry.payload), author, None)
            return
        if entry.sender == room.roster.own_device:
            self._unknown_own(entry)
            self._outcome.cry = True  # a copy of this profile may have made it
            return
        if room.roster.leavers():
            raise PeerError("who leaves has to be taken out first")
        check_mls(opened, room.group)
        successor = room.copy_group()
        received = successor.receive(opened.body)
        if not isinstance(received, Committed) or received.external or received.path or received.removed_self:
            raise PeerError("it is no commit without a path")
        if author is None or room.group.member(received.committer).signature_key != entry.sender:
            raise PeerError("the relay put another's name on it")
        added = [member.signature_key for member in received.added]
        if header.remove or received.removed or sorted(added) != sorted(header.add):
            raise PeerError("its header is not what it does")
        self._compare(opened, author)
        self._enter(successor, author, None)

    def _rekey(self, opened: Opened) -> None:
        """Have a commit with a path wait, or follow it at once if nobody else could confirm it."""
        room = self._room
        own = room.commits.is_newest(opened.entry.payload)
        rekey = judge(opened, room.group, room.roster, room.commits.payloads)
        author = room.roster.find(opened.entry.sender)
        if author is not None and not own:
            self._compare(opened, author, vouches=not rekey.external)
        room.rekeys.add(rekey)
        if own:
            room.commits.place()
            self._outcome.settled = Settled.PLACED
        if room.covers(rekey) and not room.roster.others(rekey.account, rekey.removes):
            self._follow(rekey, opened.entry.seq)

    def _confirm(self, opened: Opened) -> None:
        room = self._room
        person = self._signer(opened)
        rekey = room.rekeys.find(opened.header.ref)
        if rekey is None:
            return
        self._compare(opened, person)
        vouches = person.account != rekey.account and person.device not in rekey.removes
        if vouches and room.covers(rekey):
            self._follow(rekey, opened.entry.seq)

    def _follow(self, rekey: Rekey, seq: int) -> None:
        """Go where a rekey leads, which counts from here on."""
        room = self._room
        author = room.roster.find(rekey.opened.entry.sender)
        match rekey.fate:
            case Fate.REMOVES:
                self._happened(room.close(author))
                return
            case Fate.OWN:
                successor = room.commits.follow(rekey.opened.entry.payload)
            case Fate.OPENS:
                successor = room.copy_group()
                try:
                    successor.receive(rekey.opened.body)
                except MLSError:
                    self._lose(seq)
                    return
            case Fate.FAILS:
                self._lose(seq)
                return
        fork = room.whereabouts.fork
        self._enter(successor, author, rekey)
        if rekey.external and fork is not None:  # it could not read what was said since
            room.say_again(fork)

    def _enter(self, successor: Group, author: Person | None, rekey: Rekey | None) -> None:
        """Begin an epoch, and tell what it changed."""
        room = self._room
        before, leavers = room.roster, room.roster.leavers()
        former = room.state
        was_own = room.commits.tip is successor
        had_pending = room.commits.pending is not None
        said = room.enter(successor, rekey)
        self._outcome.strangers |= self._misled and rekey is not None
        self._misled = False
        if had_pending:
            self._outcome.settled = Settled.WON if was_own else Settled.LOST
        self._tell_changes(before, leavers, author)
        title = sanitize(room.state.title)
        if room.state != former and author is not None:
            self._happened(events.RoomChanged(room.id, title, author))
        room.set(title=title, lost=0)
        for opened in said:
            if opened.header.head == room.head and opened.entry.sender != room.roster.own_device:
                try:
                    self._message(opened)
                except (MLSError, PeerError) as error:
                    self._refuse(opened.entry, str(error))

    def _tell_changes(self, before: Roster, leavers: set[int], author: Person | None) -> None:
        room = self._room
        after = room.roster
        added = _difference(after, before)
        after.meet(added)
        for member in added:
            self._store.put_count(room.id, member.signature_key, 0)
            if author is not None:
                self._happened(events.MemberAdded(room.id, after.person(member), author))
        for member in _difference(before, after):
            if member.leaf_index not in leavers and author is not None:
                self._happened(events.MemberRemoved(room.id, before.person(member), author))

    # --- devices that cannot follow ---

    def _lose(self, seq: int) -> None:
        """Note that the others went on to an epoch that this device cannot open."""
        room = self._room
        room.commits.drop()
        room.rekeys.clear(None)
        room.set(lost=seq)
        self._outcome.cry = True
        if self._first(b"", "lost"):
            title = room.record.title
            text = f"this device could not open a change of {title}; it asks the others to let it back in"
            self._happened(events.Notice(room.id, text))

    def _cried(self, opened: Opened) -> None:
        """Take a member's word that its device cannot follow."""
        room = self._room
        person = room.roster.find(opened.entry.sender)
        if person is None or opened.entry.sender == room.roster.own_device or room.lost:
            return
        check_signed(opened)
        self._outcome.lost.append(person.device)

    def _helped(self, opened: Opened) -> None:
        """Note that a member has helped a device that cannot follow."""
        self._signer(opened)
        for device in opened.header.add:
            if self._room.roster.has(device):
                self._room.helped[device] += 1

    def _signer(self, opened: Opened) -> Person:
        """Return the member that signed an entry. Raises `PeerError`."""
        person = self._room.roster.find(opened.entry.sender)
        if person is None:
            raise PeerError("its sender is not a member")
        check_signed(opened)
        return person

    def _returns(self, opened: Opened) -> bool:
        """Take what concerns a commit by which this device comes back; False if it does not."""
        room, entry, header = self._room, opened.entry, opened.header
        pending, tip = room.commits.pending, room.commits.tip
        assert pending is not None  # noqa: S101 (the caller looked)
        assert tip is not None  # noqa: S101 (it is stored with the commit)
        if entry.payload == pending.payload:
            room.commits.place()
            roster = Roster(tip, self._store)
            if not roster.others(room.account):
                self._come_back(pending.payload, room.account)
            return True
        own_message = entry.sender == room.roster.own_device and entry.kind is Kind.APPLICATION
        if own_message and header.head != room.head:
            self._own_elsewhere(opened)
            return True
        if entry.kind is not Kind.CONFIRM:
            return False
        for own, led_to in [(pending, tip), *room.commits.formers]:
            if own.placed and header.ref == name_rekey(own.payload) and header.head == own.head:
                person = Roster(led_to, self._store).find(entry.sender)
                if person is not None and person.account != room.account:
                    check_signed(opened)
                    self._come_back(own.payload, person.account)
                return True
        return False

    def _come_back(self, payload: bytes, account: bytes) -> None:
        """Go on in the epoch of this device's own external commit, which `account` confirmed."""
        room = self._room
        since = room.whereabouts.said_alone
        missed, before = room.record.lost or since, room.roster
        if since:
            room.say_again(since - 1)
        room.whereabouts.leave_home(room.group, account, room.record.cursor)
        self._enter(room.commits.follow(payload), None, None)
        until = room.record.cursor
        text = f"this device follows {room.record.title} again"
        if missed:
            text += f"; what was said from entry {missed} to {until} it could not read"
        for verb, members in (
            ("added", _difference(room.roster, before)),
            ("removed", _difference(before, room.roster)),
        ):
            if members:
                names = ", ".join(sorted({room.roster.person(member).name for member in members}))
                text += f"; {verb} meanwhile: {names}"
        self._outcome.strangers = True
        self._told.discard((b"", "lost"))
        self._happened(events.Notice(room.id, text))

    # --- refusals ---

    def _rejected(self, rejected: Rejected) -> None:
        room, code = self._room, rejected.code
        flight = room.flights.pop(rejected.submission, None)
        if flight is None:
            return
        room.going_back = any(number > rejected.submission for number in room.flights)
        reason = sanitize(rejected.text)
        self._outcome.wait |= code in _WAIT
        if code in _TRY_AGAIN:
            if len(room.refused) < _MOST_TOLD:
                room.refused.add(flight.payload)
            if flight.kind is Kind.PROPOSAL:
                room.withdraw()
            return
        match flight.kind:
            case Kind.APPLICATION:
                self._refused_message(flight.payload, reason)
            case Kind.REKEY if room.commits.unconfirmed and room.commits.is_newest(flight.payload):
                self._lie(Lie.STORED, room.roster.find(room.roster.own_device))
            case Kind.COMMIT | Kind.REKEY:
                room.forget_commit()
                self._outcome.settled, self._outcome.reason = Settled.REFUSED, reason
            case Kind.PROPOSAL:
                self._refused_leaving(code, reason)
            case _:
                pass
        if code is Code.NOT_MEMBER:
            self._outcome.strangers = True

    def _refused_message(self, payload: bytes, reason: str) -> None:
        room = self._room
        item = room.outbox.find(payload)
        if item is not None:
            if len(room.refused) < _MOST_TOLD:
                room.refused.add(payload)
            room.outbox.drop(item)
            self._happened(events.SendFailed(room.id, item.id, reason))

    def _refused_leaving(self, code: Code, reason: str) -> None:
        room = self._room
        room.withdraw()
        if code is Code.NOT_MEMBER:
            self._happened(room.close(None))
        elif not room.too_old:
            room.set(phase=Phase.JOINED)
            text = f"you are still in {room.record.title}: the relay refused to let you leave ({reason})"
            self._happened(events.Notice(room.id, text))

    @property
    def room(self) -> Room:
        """The room whose log this reads."""
        return self._room

    def enter(self, successor: Group, author: Person | None) -> None:
        """Begin an epoch by a commit of protocol 3."""
        self._enter(successor, author, None)

    def happened(self, event: Event) -> None:
        """Tell something."""
        self._happened(event)

    def _happened(self, event: Event) -> None:
        self._outcome.events.append(event)


def _has_header(entry: Entry) -> bool:
    with contextlib.suppress(PeerError):
        open_entry(entry)
        return True
    return False


def _difference(these: Roster, those: Roster) -> list[Member]:
    """Return the members of `these` whose devices are not in `those`."""
    return [member for member in these.members().values() if not those.has(member.signature_key)]
