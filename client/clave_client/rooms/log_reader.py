"""Takes a room's log in, entry by entry, and says what happened. Knows the room; sends nothing itself.

The log decides, and everybody in an epoch decides alike: an entry counts if it was made in the present
epoch, its signer is its sender, and its header is what it does (docs/decisions/0006). This device's own
entries are taken like all others. What does not count changes nothing but the cursor and the chain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from clave_client import events
from clave_client.errors import PeerError, RelayFault
from clave_client.events import Inconsistency, Person
from clave_client.formats.content import Content, ContentKind, decode_content
from clave_client.formats.payload import UnverifiedEntry, check_mls_body, check_signature, parse_entry
from clave_client.rooms import legacy, submissions
from clave_client.rooms import rejoin_entries as coming_back
from clave_client.rooms.batch_report import BatchReport, BatchResult, CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import member_identity
from clave_client.rooms.rekeys import Rekey, RekeyEffect, check_rekey
from clave_client.rooms.roster import Roster
from clave_client.store.database import HistoryLine, Phase, Store
from clave_crypto.mls import Application, Committed, Group, MemberSender, MLSError, ProposalReceived, Remove
from clave_wire.header import digest_names
from clave_wire.messages import Accepted, Entry, Kind, Rejected
from clave_wire.text import sanitize

__all__ = ["LogMessage", "LogReader"]

LogMessage = Entry | Accepted | Rejected


class LogReader:
    """Reads one room's log. `report` is of the present batch, or of the last one."""

    def __init__(self, room: LocalRoom, store: Store) -> None:
        self.room = room
        self.store = store
        self.report = BatchReport(room.id)
        self._relay_misled = False

    def read(self, batch: Sequence[LogMessage]) -> BatchResult:
        """Take a batch of the room's stream, in order, in one transaction.

        Raises `RelayFault` when the relay left entries out or acknowledged what it was not sent; nothing of
        the batch is taken then.
        """
        report, misled = self.report, self._relay_misled
        self.report = report.next()
        try:
            self._read(batch)
        except BaseException:
            self.report, self._relay_misled = report, misled  # what this batch showed is not told after all
            raise
        return self.report.result

    def _read(self, batch: Sequence[LogMessage]) -> None:
        with self.room.changing():
            for message in batch:
                if self.room.record.phase is Phase.CLOSED:
                    break
                match message:
                    case Entry():
                        if message.seq > self.room.record.cursor:
                            self._entry(message)
                    case Accepted():
                        self._accepted(message)
                    case Rejected():
                        submissions.handle_rejected(self, message)

    # --- entries, one after the other ---

    def _accepted(self, accepted: Accepted) -> None:
        """Take an acknowledgement: it stands for the entry as everybody else got it."""
        room = self.room
        submitted = room.in_flight.get(accepted.submission)
        title = room.record.title
        if submitted is None:
            raise RelayFault(f"the relay acknowledged what this device never sent to {title}")
        if accepted.seq <= room.record.cursor:
            raise RelayFault(
                f"the relay acknowledged something in {title} under a number that was taken already"
            )
        own = room.roster.own_device
        self._entry(
            Entry(room.id, accepted.seq, own, accepted.submission, submitted.kind, 0, submitted.payload)
        )

    def _entry(self, entry: Entry) -> None:
        room = self.room
        if entry.seq != room.record.cursor + 1:
            title, cursor = room.record.title, room.record.cursor
            raise RelayFault(f"the relay left out entries of {title} between {cursor} and {entry.seq}")
        room.advance(entry)
        if entry.sender == room.roster.own_device and room.was_refused(entry.payload):
            self.report.inconsistency(Inconsistency.STORED, room.roster.find(entry.sender))
        if entry.seq <= room.record.legacy:
            if _has_header(entry):  # the relay says so to have it passed over
                self.report.inconsistency(Inconsistency.PLACE, room.roster.find(entry.sender))
            legacy.read_entry(self, entry)
            room.finish_legacy(entry.seq)
            return
        head = room.head
        try:
            self._handle(parse_entry(entry))
        except (MLSError, PeerError) as error:
            self._refuse(entry, str(error))
        if entry.kind is Kind.COMMIT and room.head == head and entry.seq > room.record.began:
            # The relay took it at its word: it routes to whom it adds, and has forgotten whom rekeys remove.
            self._relay_misled = True

    def _handle(self, opened: UnverifiedEntry) -> None:
        room, entry = self.room, opened.entry
        if entry.kind is Kind.LOST:
            coming_back.handle_rejoin_request(self, opened)
            return
        if room.commits.rejoining and coming_back.handle_own_rejoin(self, opened):
            return
        if room.cannot_follow:
            return
        if opened.header.head != room.head:
            self._handle_other_epoch(opened)
            return
        if entry.seq <= room.record.began:  # its commit stands there, and all of its epoch follows
            self.report.inconsistency(Inconsistency.PLACE, room.roster.find(entry.sender))
        match entry.kind:
            case Kind.APPLICATION:
                self._message(opened)
            case Kind.PROPOSAL:
                self._handle_leave(opened)
            case Kind.COMMIT:
                self._commit(opened)
            case Kind.REKEY:
                self._rekey(opened)
            case Kind.CONFIRM:
                self._confirm(opened)
            case Kind.GROUP_INFO:
                coming_back.handle_rejoin_info(self, opened)

    def _refuse(self, entry: Entry, reason: str) -> None:
        """Say once of each sender that something of it does not count, and why."""
        room = self.room
        if room.cannot_follow or entry.seq <= room.record.began:
            return
        person = room.roster.find(entry.sender)
        if person is None:
            self.report.result.routing_suspect = True
        whose = "somebody who is no member" if person is None else person.name
        if self.report.is_new(entry.sender if person else b"", "refused"):
            text = f"something {whose} sent to {room.record.title} does not count: {sanitize(reason)}"
            self.report.add(events.Notice(room.id, text))

    def _handle_other_epoch(self, opened: UnverifiedEntry) -> None:
        """Take an entry made in another epoch than the present one: it does not count now."""
        room, entry = self.room, opened.entry
        if entry.seq <= room.record.began:  # this device joined with a later one, or with this one
            own = room.roster.own_device
            if entry.seq == room.record.began and (
                entry.kind is not Kind.COMMIT or own not in opened.header.add
            ):
                self.report.inconsistency(Inconsistency.PLACE, None)
            return
        person = room.find(entry.sender)
        if person is None:
            self.report.result.routing_suspect = True
            if (
                entry.kind is Kind.APPLICATION
                and room.epochs.admitted_by
                and self.report.is_new(b"", "strangers")
            ):
                title = room.record.title
                text = f"others write in {title} whom your inviter left out; leave, and ask another to invite"
                self.report.add(events.Notice(room.id, text))
            return
        if entry.sender == room.roster.own_device:
            submissions.handle_own_message_of_other_epoch(self, opened)
            return
        if entry.kind is Kind.APPLICATION and room.rekeys.keep(opened, person.account):
            return
        former = opened.header.head in room.epochs.former_heads
        room.epochs.note_elsewhere(person.account, entry.seq, former=former)
        if entry.kind is Kind.APPLICATION:
            room.epochs.note_unread(entry.seq)
        if former:
            if entry.kind is Kind.APPLICATION and room.epochs.fork is None:
                self.report.inconsistency(Inconsistency.BEHIND, person)
        elif room.epochs.fork is None:
            self.report.inconsistency(Inconsistency.AHEAD, person)
        self.report.result.needs_rejoin = True
        if entry.kind in (Kind.CONFIRM, Kind.PROPOSAL):  # the relay may have taken out whom that removes
            self.report.result.routing_suspect = True

    # --- messages ---

    def _message(self, opened: UnverifiedEntry) -> None:
        room, entry = self.room, opened.entry
        if entry.sender == room.roster.own_device:
            submissions.handle_own_message(self, opened)
            return
        check_mls_body(opened, room.group)
        # What does not count leaves the key that opened it, for the true entry to come.
        received = room.group.receive(opened.body, check=lambda message: self._check_message(entry, message))
        assert isinstance(received, Application)  # noqa: S101 (its content type was checked)
        person, content = room.roster.person(received), decode_content(received.data)
        self._compare_views(opened, person)
        match content.kind:
            case ContentKind.TEXT:
                self.store_message(entry.seq, person, content)
            case ContentKind.JOINED:
                self.report.add(events.InvitationAccepted(room.id, person))

    def _check_message(self, entry: Entry, message: Application) -> None:
        person = self.room.roster.person(message)
        if entry.sender != person.device:
            raise PeerError(f"the relay put another's name on entry {entry.seq}, which {person.name} signed")
        decode_content(message.data)

    def store_message(self, seq: int, person: Person, content: Content) -> None:
        """Keep a message of another device and tell of it."""
        room = self.room
        text = sanitize(content.body, multiline=True)
        place = room.history_seq(seq)
        line = HistoryLine(
            place, person.device, person.account, person.name, content.id, text, content.sent_at
        )
        if self.store.add_message(room.id, line):
            room.note_late(place)
            sent_at = content.sent_at / 1000
            self.report.add(events.Message(room.id, place, person, content.id, text, sent_at))

    # --- what a sender has seen ---

    def _compare_views(self, opened: UnverifiedEntry, person: Person, *, vouches: bool = True) -> None:
        """Compare a sender's view of the log with this device's.

        It vouches for the present epoch too, unless it only comes back to it by a group info.
        """
        room, header = self.room, opened.header
        if vouches:
            unread = room.epochs.note_present(person.account, room.account, room.record.cursor)
            if unread is not None:
                room.resend_after(unread)
        if header.seen.seq >= opened.entry.seq:
            self.report.inconsistency(Inconsistency.IMPOSSIBLE, person)
        elif room.chain.contradicts(header.seen):
            self.report.inconsistency(Inconsistency.HISTORY, person)
        else:
            room.chain.adopt(header.seen, opened.entry)
        if opened.entry.kind is Kind.APPLICATION:
            if header.count <= self.store.last_count(room.id, person.device):
                self.report.inconsistency(Inconsistency.ORDER, person)
            else:
                self.store.put_count(room.id, person.device, header.count)

    # --- changes of the room ---

    def _handle_leave(self, opened: UnverifiedEntry) -> None:
        room, entry = self.room, opened.entry
        if entry.sender == room.roster.own_device:
            if room.record.phase is Phase.LEAVING:
                self.report.add(room.close(None))
            return
        check_mls_body(opened, room.group)
        if opened.header.remove != [entry.sender] or opened.header.add:
            raise PeerError("its header is not what it does")
        successor = room.copy_group()
        received = successor.receive(opened.body)
        self.report_leave(received, entry.sender)
        leaver = room.member(entry.sender)
        room.apply_leave(successor, leaver.leaf_index, entry.seq)
        self._compare_views(opened, room.roster.person(leaver))

    def report_leave(self, received: object, sender: bytes) -> None:
        """Tell who leaves. Raises `PeerError` when a received proposal is no leaving of its sender."""
        room = self.room
        proposal = received.proposal if isinstance(received, ProposalReceived) else None
        if not isinstance(received, ProposalReceived) or not isinstance(proposal, Remove):
            raise PeerError("it is no leaving")
        leaver = room.roster.person(room.group.member(proposal.removed))
        if MemberSender(proposal.removed) != received.sender or leaver.device != sender:
            raise PeerError("it is no leaving of its sender")
        self.report.add(events.MemberLeft(room.id, leaver))

    def _commit(self, opened: UnverifiedEntry) -> None:
        """Take a commit without a path, which begins an epoch here."""
        room, entry, header = self.room, opened.entry, opened.header
        author = room.roster.find(entry.sender)
        if room.commits.is_newest(entry.payload):
            if room.roster.leavers():
                room.commits.drop()
                self.report.result.commit_result = CommitResult.SUPERSEDED
            else:
                self.enter_epoch(room.commits.follow(entry.payload), author, None)
            return
        if entry.sender == room.roster.own_device:
            submissions.handle_unknown_own_entry(self, entry)
            self.report.result.needs_rejoin = True  # a copy of this profile may have made it
            return
        if room.roster.leavers():
            raise PeerError("who leaves has to be taken out first")
        check_mls_body(opened, room.group)
        successor = room.copy_group()
        received = successor.receive(opened.body)
        if not isinstance(received, Committed) or received.external or received.path or received.removed_self:
            raise PeerError("it is no commit without a path")
        if author is None or room.group.member(received.committer).signature_key != entry.sender:
            raise PeerError("the relay put another's name on it")
        added = {member.signature_key: member_identity(member).name for member in received.added}
        if header.remove or received.removed or sorted(added) != sorted(header.add):
            raise PeerError("its header is not what it does")
        if header.ref not in (b"", digest_names((device, added[device]) for device in header.add)):
            raise PeerError("it adds somebody else than its header says")  # empty before relays compared it
        self._compare_views(opened, author)
        self.enter_epoch(successor, author, None)

    def _rekey(self, opened: UnverifiedEntry) -> None:
        """Have a commit with a path wait, or follow it at once if nobody else could confirm it."""
        room = self.room
        own = room.commits.is_newest(opened.entry.payload)
        rekey = check_rekey(opened, room.group, room.roster, room.commits.payloads)
        author = room.roster.find(opened.entry.sender)
        if author is not None and not own:
            self._compare_views(opened, author, vouches=not rekey.external)
        room.rekeys.add(rekey)
        if own:
            room.commits.mark_logged()
            self.report.result.commit_result = CommitResult.LOGGED
        if room.covers(rekey) and not room.roster.others(rekey.account, rekey.removes):
            self._follow(rekey, opened.entry.seq)

    def _confirm(self, opened: UnverifiedEntry) -> None:
        room = self.room
        person = self.signer(opened)
        rekey = room.rekeys.find(opened.header.ref)
        if rekey is None:
            return
        self._compare_views(opened, person)
        vouches = person.account != rekey.account and person.device not in rekey.removes
        if vouches and room.covers(rekey):
            self._follow(rekey, opened.entry.seq)

    def _follow(self, rekey: Rekey, seq: int) -> None:
        """Go where a rekey leads, which counts from here on."""
        room = self.room
        author = room.roster.find(rekey.opened.entry.sender)
        match rekey.effect:
            case RekeyEffect.REMOVES:
                self.report.add(room.close(author))
                return
            case RekeyEffect.OWN:
                successor = room.commits.follow(rekey.opened.entry.payload)
            case RekeyEffect.OPENS:
                successor = room.copy_group()
                try:
                    successor.receive(rekey.opened.body)
                except MLSError:
                    coming_back.mark_cannot_follow(self, seq)
                    return
            case RekeyEffect.FAILS:
                coming_back.mark_cannot_follow(self, seq)
                return
        fork = room.epochs.fork
        self.enter_epoch(successor, author, rekey)
        if rekey.external and fork is not None:  # it could not read what was said since
            room.resend_after(fork)

    def enter_epoch(self, successor: Group, author: Person | None, rekey: Rekey | None) -> None:
        """Begin an epoch, and tell what it changed."""
        room = self.room
        before, leavers = room.roster, room.roster.leavers()
        former = room.state
        was_own = room.commits.successor is successor
        had_pending = room.commits.newest is not None
        said = room.enter_epoch(successor, rekey)
        self.report.result.routing_suspect |= self._relay_misled and rekey is not None
        self._relay_misled = False
        if had_pending:
            self.report.result.commit_result = CommitResult.APPLIED if was_own else CommitResult.SUPERSEDED
        self._report_changes(before, leavers, author)
        title = sanitize(room.state.title)
        if room.state != former and author is not None:
            self.report.add(events.RoomChanged(room.id, title, author))
        room.set(title=title, lost=0)
        for opened in said:
            if opened.header.head == room.head and opened.entry.sender != room.roster.own_device:
                try:
                    self._message(opened)
                except (MLSError, PeerError) as error:
                    self._refuse(opened.entry, str(error))

    def _report_changes(self, before: Roster, leavers: set[int], author: Person | None) -> None:
        room = self.room
        after = room.roster
        added = after.missing_in(before)
        after.remember(added)
        for member in added:
            self.store.put_count(room.id, member.signature_key, 0)
            if author is not None:
                self.report.add(events.MemberAdded(room.id, after.person(member), author))
        for member in before.missing_in(after):
            if member.leaf_index not in leavers and author is not None:
                self.report.add(events.MemberRemoved(room.id, before.person(member), author))

    def signer(self, opened: UnverifiedEntry) -> Person:
        """Return the member that signed an entry. Raises `PeerError`."""
        person = self.room.roster.find(opened.entry.sender)
        if person is None:
            raise PeerError("its sender is not a member")
        check_signature(opened)
        return person


def _has_header(entry: Entry) -> bool:
    with contextlib.suppress(PeerError):
        parse_entry(entry)
        return True
    return False
