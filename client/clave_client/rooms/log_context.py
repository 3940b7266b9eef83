"""What the handlers of log entries share: the room, the store, the report of the batch, and common steps.

Knows no order of entries (that is `log_reader`) and sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from clave_client import events
from clave_client.errors import PeerError
from clave_client.events import Inconsistency, Person
from clave_client.formats.agreed_state import AgreedState
from clave_client.formats.content import Content, ContentKind, read_content
from clave_client.formats.payload import (
    OTHER_HEADER,
    UnverifiedEntry,
    check_label,
    check_signature,
    header_digest,
)
from clave_client.rooms.batch_report import BatchReport, CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.message_effects import MessageEffects
from clave_client.rooms.policy import joined_by, room_title
from clave_client.rooms.rekeys import Rekey
from clave_client.rooms.roster import Roster
from clave_client.rooms.settings_entries import ASKED_PART
from clave_client.rooms.signature_checks import SignatureChecks
from clave_client.rooms.state_events import Departed, state_events
from clave_client.store.database import OutboxItem, Store
from clave_crypto.identity import VerifiedIdentity
from clave_crypto.mls import Application, Group, MemberSender, MLSError, ProposalReceived, Remove
from clave_wire.messages import Entry, Kind
from clave_wire.text import sanitize

__all__ = ["LogContext"]


class LogContext:
    """Reading of one room's log. `report` is of the present batch, or of the last one.

    `relay_misled` says that the relay routes by a commit that members refuse, since the last epoch change.
    `accepted_at` is when the relay says that it accepted the entry being handled, in ms since 1970; 0 if it
    does not say. Nobody can check it, so nothing is decided by it.
    `checks`, unless None, takes the checks of the signatures of messages, which then are not verified yet.
    """

    def __init__(self, room: LocalRoom, store: Store) -> None:
        self.room = room
        self.store = store
        self.report = BatchReport(room.id, is_hidden=room.is_refused)
        self.relay_misled = False
        self.accepted_at = 0
        self.checks: SignatureChecks | None = None
        self._effects = MessageEffects(room, store)

    # --- checks ---

    def signer(self, parsed: UnverifiedEntry) -> Person:
        """Verify a signed entry and return its sender. Raises `PeerError`."""
        person = self.room.roster.find(parsed.entry.sender)
        if person is None:
            raise PeerError("its sender is not a member")
        check_signature(parsed)
        return person

    def report_refused(self, entry: Entry, reason: str) -> None:
        """Report, once per sender, that an entry of it is refused, and why."""
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

    def compare_views(self, parsed: UnverifiedEntry, person: Person, *, is_present: bool = True) -> None:
        """Compare what a sender has seen of the log with what this device has.

        With `is_present` the entry also proves that its account is in the present epoch; an external commit,
        by which a device only returns to it, does not.
        """
        room, header = self.room, parsed.header
        if is_present:
            unread = room.epochs.note_present(person.account, room.account, room.record.cursor)
            if unread is not None:
                room.resend_after(unread)
            self._note_vouched(person)
        if header.seen.seq >= parsed.entry.seq:
            self.report.inconsistency(Inconsistency.IMPOSSIBLE, person)
        elif room.chain.contradicts(header.seen):
            self.report.inconsistency(Inconsistency.HISTORY, person)
        else:
            room.chain.adopt(header.seen, parsed.entry)
        if parsed.entry.kind is Kind.APPLICATION:
            if header.count <= room.counts.last(person.device):
                self.report.inconsistency(Inconsistency.ORDER, person)
            else:
                room.counts.put(person.device, header.count)

    def _note_vouched(self, person: Person) -> None:
        """Note that the inviter, or somebody verified, is in the epoch that this device joined by a link."""
        room, joining = self.room, self.room.joining
        if joining is None or not (person.account == joining.inviter or person.verified):
            return
        room.note_vouched()
        text = f"{person.name} is in {room.record.title}: the link led to the right room"
        self.report.add(events.Notice(room.id, text))

    # --- messages ---

    def receive_message(self, parsed: UnverifiedEntry) -> None:
        """Decrypt and store a message of another device. Raises `PeerError` or `MLSError`."""
        room, entry = self.room, parsed.entry
        check_label(parsed, room.group)
        found: list[tuple[Person, Content]] = []
        # A refused message must not use up its ratchet key: the true entry may follow.
        room.group.receive(
            parsed.body,
            check=lambda message: found.append(self._check_message(parsed, message)),
            verify_later=None if self.checks is None else self.checks.add,
        )
        ((person, content),) = found  # as the label was that of application data
        self.compare_views(parsed, person)
        self.apply(content, person, entry.seq)

    def _check_message(self, parsed: UnverifiedEntry, message: Application) -> tuple[Person, Content]:
        """Return the sender and the content of a message. Raises `PeerError`."""
        entry, person = parsed.entry, self.room.roster.person(message)
        if message.authenticated_data != header_digest(parsed.raw_header):
            raise PeerError(OTHER_HEADER)
        if entry.sender != person.device:
            raise PeerError(f"the relay put another's name on entry {entry.seq}, which {person.name} signed")
        return person, self.read_content(message.data, person)

    def read_content(self, data: bytes, person: Person) -> Content:
        """Return the content of a message of `person`. Raises `PeerError`."""
        return read_content(data, room=self.room.id, account=person.account, now=self.room.clock())

    def apply(self, content: Content, person: Person, seq: int) -> None:
        """Apply a content of `person`, which came as entry `seq`."""
        place = self.room.history_seq(seq)
        self._effects.apply(content, person, place, self.accepted_at, self.report)

    def report_leave(self, received: object, sender: bytes) -> None:
        """Report who leaves. Raises `PeerError` unless `sender` proposed to remove itself."""
        room = self.room
        proposal = received.proposal if isinstance(received, ProposalReceived) else None
        if not isinstance(received, ProposalReceived) or not isinstance(proposal, Remove):
            raise PeerError("it is no leaving")
        leaver = room.roster.person(room.group.member(proposal.removed))
        if MemberSender(proposal.removed) != received.sender or leaver.device != sender:
            raise PeerError("it is no leaving of its sender")
        self.report.add(events.MemberLeft(room.id, leaver))

    # --- epochs ---

    def enter_epoch(
        self,
        successor: Group,
        author: Person | None,
        rekey: Rekey | None,
        own: Sequence[OutboxItem] = (),
    ) -> None:
        """Enter the epoch of `successor`, report what changed, and read what was buffered for it.

        `author` made the commit; None for this device's own rejoin. `rekey` is the one confirmed, `own` what
        this device has in the log and was not confirmed.
        """
        room = self.room
        before, leavers = room.roster, room.roster.leavers()
        former = room.state
        is_own = room.commits.successor is successor
        had_commit, intended = room.commits.newest is not None, room.intent.change.links
        buffered = room.enter_epoch(successor, rekey)
        if intended and not is_own and not room.intent.change.links and not room.state.links:
            text = f"the link to {room.record.title} is not made, as somebody was removed; make a new one"
            self.report.add(events.Notice(room.id, text))
        self.report.result.routing_suspect |= self.relay_misled and rekey is not None
        self.relay_misled = False
        if had_commit:
            self.report.result.commit_result = CommitResult.APPLIED if is_own else CommitResult.SUPERSEDED
        self._report_changes(before, leavers, author, None if rekey is None else rekey.joiner, former)
        title = room_title(room.group)
        if author is not None:
            gone = [member.leaf_index in leavers for member in before.missing_in(room.roster)]
            departed = Departed(not all(gone), any(gone))
            find = partial(self.store.message, room.id)
            for event in state_events(room, former, title, author, departed, find):
                self.report.add(event)
        room.set(title=title, lost=0)
        room.note_offered()
        if author is None:  # this device could not read what was said meanwhile
            room.put_part(ASKED_PART, None)
        confirmed_at, self.accepted_at = self.accepted_at, 0  # those buffered were accepted before
        confirmed = [item for item in own if item.head == room.head and item.kind is not ContentKind.TEXT]
        for parsed in buffered:
            while confirmed and (confirmed[0].placed or 0) < parsed.entry.seq:
                self._apply_own(confirmed.pop(0))
            if parsed.header.head == room.head and parsed.entry.sender != room.roster.own_device:
                try:
                    self.receive_message(parsed)
                except (MLSError, PeerError) as error:
                    self.report_refused(parsed.entry, str(error))
        for item in confirmed:
            self._apply_own(item)
        self.accepted_at = confirmed_at

    def _apply_own(self, item: OutboxItem) -> None:
        """Apply an own content in its place among the others' of an epoch that was confirmed."""
        if item.data and item.placed is not None:
            me = self.room.roster.person(self.room.group.member(self.room.group.own_leaf))
            self.apply(self.read_content(item.data, me), me, item.placed)

    def _report_changes(
        self,
        before: Roster,
        leavers: set[int],
        author: Person | None,
        joiner: VerifiedIdentity | None,
        former: AgreedState,
    ) -> None:
        """Report who was added and removed since the roster `before`; those who left are reported already.

        `joiner` is who joined by a link of the state `former`.
        """
        room = self.room
        after = room.roster
        added = after.missing_in(before)
        after.remember(added)
        for member in added:
            room.counts.put(member.signature_key, 0)
            self.report.forget(member.signature_key, "joined")
            if author is not None:
                self.report.add(events.MemberAdded(room.id, after.person(member), author))
            elif joiner is not None and joiner.device == member.signature_key:
                proof = joined_by(room.group.member(member.leaf_index).leaf)
                link = None if proof is None else former.find_link(proof.link)
                by = "" if link is None else room.name_of(link.by)
                self.report.add(events.MemberJoined(room.id, after.person(member), by))
        for member in before.missing_in(after):
            if member.leaf_index not in leavers and author is not None:
                self.report.add(events.MemberRemoved(room.id, before.person(member), author))
