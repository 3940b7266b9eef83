"""Reads a room's log entry by entry and reports what happened. Knows the room; sends nothing.

The log decides, and every member of an epoch decides alike: an entry is accepted if it was made in the
present epoch, its signer is its sender, and its header states its effect (docs/decisions/0006). This device's
own entries are treated like all others. A refused entry changes nothing but the cursor and the log chain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from clave_client.errors import PeerError, RelayFault
from clave_client.events import Inconsistency, Notice
from clave_client.formats.payload import UnverifiedEntry, check_mls_body, parse_entry
from clave_client.rooms import legacy, link_entries, rejoin_entries, submissions
from clave_client.rooms.batch_report import BatchResult, CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.policy import member_identity
from clave_client.rooms.rekeys import Rekey, RekeyEffect, check_rekey
from clave_client.rooms.signature_checks import BadSignatures, SignatureChecks
from clave_client.store.database import Store
from clave_client.store.journal import Journal
from clave_client.values import Phase
from clave_crypto.mls import Committed, MLSError
from clave_wire.header import digest_names
from clave_wire.messages import Accepted, AcceptedAt, Entry, Kind, Rejected

__all__ = ["LogMessage", "LogReader"]

LogMessage = Entry | Accepted | AcceptedAt | Rejected

_ONE_BY_ONE: Final = 1000
"""Entries that are verified one by one after a bad signature, for which a batch had to be read twice."""


class LogReader:
    """Reads one room's log."""

    def __init__(self, room: LocalRoom, store: Store) -> None:
        self._room = room
        self._journal = Journal(store)
        self._one_by_one = 0
        self.log = LogContext(room, store)

    def read(self, batch: Sequence[LogMessage]) -> BatchResult:
        """Read a batch of the room's stream, in order, in one transaction with the events stored.

        Raises `RelayFault`, and takes nothing of the batch, when the relay left entries out or acknowledged
        what it was not sent.
        """
        count = sum(not isinstance(message, AcceptedAt) for message in batch)
        self._one_by_one = max(0, self._one_by_one - count)
        if count > 1 and not self._one_by_one:
            try:
                return self._read(batch, SignatureChecks())
            except BadSignatures:
                # Others of the batch may count, with the keys that the rolled back attempt has used.
                self._room.restore_group()
                self._one_by_one = _ONE_BY_ONE
        return self._read(batch, None)

    def _read(self, batch: Sequence[LogMessage], checks: SignatureChecks | None) -> BatchResult:
        """Read a batch; signatures are verified by the end with `checks`, each at once without.

        Raises `BadSignatures`, with nothing changed but message keys used up, if one of `checks` fails.
        """
        log = self.log
        report, relay_misled, accepted_at = log.report, log.relay_misled, log.accepted_at
        log.report, log.checks = report.next(), checks
        try:
            self._read_all(batch)
        except BaseException:
            log.report, log.relay_misled, log.accepted_at = report, relay_misled, accepted_at
            raise
        finally:
            if checks is not None:
                checks.drop()
            log.checks = None
        return log.report.result

    def _finish_checks(self) -> None:
        """Verify the signatures of what was read so far; the rest of the batch is verified one by one."""
        checks, self.log.checks = self.log.checks, None
        if checks is not None:
            checks.finish()

    def _read_all(self, batch: Sequence[LogMessage]) -> None:
        with self._room.changing():
            for message in batch:
                if self._room.record.phase is Phase.CLOSED:
                    break
                if isinstance(message, AcceptedAt):
                    self.log.accepted_at = message.at
                    continue
                if not isinstance(message, Entry) or message.kind is not Kind.APPLICATION:
                    self._finish_checks()  # as not all that others change can be taken back
                match message:
                    case Entry():
                        if message.seq > self._room.record.cursor:
                            self._handle_entry(message)
                    case Accepted():
                        self._handle_accepted(message)
                    case Rejected():
                        submissions.handle_rejected(self.log, message)
            self._journal.append_all(self.log.report.result.events)
            self._finish_checks()

    # --- one entry ---

    def _handle_accepted(self, accepted: Accepted) -> None:
        """Handle an acknowledgement as the entry that it stands for."""
        room = self._room
        submitted = room.in_flight.get(accepted.submission)
        title = room.record.title
        if submitted is None:
            raise RelayFault(f"the relay acknowledged what this device never sent to {title}")
        if accepted.seq <= room.record.cursor:
            raise RelayFault(
                f"the relay acknowledged something in {title} under a number that was taken already"
            )
        own, number = room.roster.own_device, accepted.submission
        self._handle_entry(Entry(room.id, accepted.seq, own, number, submitted.kind, 0, submitted.payload))

    def _handle_entry(self, entry: Entry) -> None:
        room, log = self._room, self.log
        if entry.seq != room.record.cursor + 1:
            title, cursor = room.record.title, room.record.cursor
            raise RelayFault(f"the relay left out entries of {title} between {cursor} and {entry.seq}")
        room.advance(entry)
        if entry.sender == room.roster.own_device and entry.payload in room.refused_payloads:
            log.report.inconsistency(Inconsistency.STORED, room.roster.find(entry.sender))
        if entry.seq <= room.record.legacy:
            if _has_header(entry):  # the relay calls it legacy to have it skipped
                log.report.inconsistency(Inconsistency.PLACE, room.roster.find(entry.sender))
            legacy.read_entry(log, entry)
            room.finish_legacy(entry.seq)
            return
        head = room.head
        try:
            self._dispatch(parse_entry(entry))
        except (MLSError, PeerError) as error:
            log.report_refused(entry, str(error))
        if entry.kind is Kind.COMMIT and room.head == head and entry.seq > room.record.began:
            # The relay cannot check a commit: it routes to whom it adds, and has dropped the pending rekeys.
            log.relay_misled = room.offer_due = True

    def _dispatch(self, parsed: UnverifiedEntry) -> None:
        """Handle an entry by its epoch and kind. Raises `PeerError` or `MLSError` when it is refused."""
        room, entry = self._room, parsed.entry
        if entry.kind is Kind.LOST:
            rejoin_entries.handle_rejoin_request(self.log, parsed)
            return
        if room.epochs.restored and entry.kind is Kind.APPLICATION and entry.sender == room.roster.own_device:
            rejoin_entries.note_forgotten_message(self.log, parsed)
        joining = room.joining
        if (
            joining is not None
            and room.awaits_entry
            and link_entries.handle_own_join(self.log, parsed, joining)
        ):
            return
        if room.commits.rejoining and rejoin_entries.handle_own_rejoin(self.log, parsed):
            return
        if room.cannot_follow:
            return
        if parsed.header.head != room.head:
            self._handle_other_epoch(parsed)
            return
        if entry.seq <= room.record.began:  # the commit that added this device precedes all of its epoch
            self.log.report.inconsistency(Inconsistency.PLACE, room.roster.find(entry.sender))
        if room.epochs.restored and entry.kind in (Kind.COMMIT, Kind.REKEY) and self._is_forgotten(entry):
            rejoin_entries.mark_cannot_follow(self.log, entry.seq)
            return
        match entry.kind:
            case Kind.APPLICATION:
                self._handle_message(parsed)
            case Kind.PROPOSAL:
                self._handle_leave(parsed)
            case Kind.COMMIT:
                self._handle_commit(parsed)
            case Kind.REKEY:
                self._handle_rekey(parsed)
            case Kind.CONFIRM:
                self._handle_confirm(parsed)
            case Kind.GROUP_INFO:
                rejoin_entries.handle_rejoin_info(self.log, parsed)

    def _is_forgotten(self, entry: Entry) -> bool:
        """Return whether this device made a commit that it does not know: after the backup it comes from."""
        return (
            entry.sender == self._room.roster.own_device and entry.payload not in self._room.commits.payloads
        )

    def _handle_other_epoch(self, parsed: UnverifiedEntry) -> None:
        """Handle an entry of another epoch than the present one: buffer it, or note where its sender is."""
        room, entry, report = self._room, parsed.entry, self.log.report
        if entry.seq <= room.record.began:  # this device was added by a later entry, or by this one
            own = room.roster.own_device
            if entry.seq == room.record.began and (
                entry.kind is not Kind.COMMIT or own not in parsed.header.add
            ):
                report.inconsistency(Inconsistency.PLACE, None)
            return
        person = room.find(entry.sender)
        if room.rekeys.joiner(entry.sender) is not None and not room.roster.has(entry.sender):
            self._handle_joiner(parsed)
            return
        if person is None:
            report.result.routing_suspect = True
            if entry.kind is Kind.APPLICATION and room.epochs.admitted_by and report.is_new(b"", "strangers"):
                why = "your inviter left out"
                if room.relay_restores:  # it may have lost the change that brought them
                    why = "this device does not know, as the relay was restored or your inviter left them out"
                text = f"others write in {room.record.title} whom {why}; leave, and ask another to invite"
                report.add(Notice(room.id, text))
            return
        if entry.sender == room.roster.own_device:
            submissions.handle_own_message_of_other_epoch(self.log, parsed)
            return
        if entry.kind is Kind.APPLICATION and room.rekeys.buffer(parsed, person.account):
            return
        is_former = parsed.header.head in room.epochs.former_heads
        room.epochs.note_elsewhere(person.account, entry.seq, former=is_former)
        if entry.kind is Kind.APPLICATION:
            room.epochs.note_unread(entry.seq)
        if is_former:
            if entry.kind is Kind.APPLICATION and room.epochs.fork is None:
                report.inconsistency(Inconsistency.BEHIND, person)
        elif room.epochs.fork is None:
            report.inconsistency(Inconsistency.AHEAD, person)
        report.result.epoch_suspect = True
        if entry.kind in (Kind.CONFIRM, Kind.PROPOSAL):
            report.result.routing_suspect = True  # the relay may have stopped routing to a member by it

    def _handle_joiner(self, parsed: UnverifiedEntry) -> None:
        """Handle what a device said whose join by a link waits: it is read once that is confirmed."""
        room, entry = self._room, parsed.entry
        joiner = room.rekeys.joiner(entry.sender)
        if joiner is not None and entry.kind is Kind.APPLICATION:
            room.rekeys.buffer(parsed, joiner.account)
        elif entry.kind is Kind.PROPOSAL:
            room.rekeys.drop_joiner(entry.sender)

    # --- entries of the present epoch ---

    def _handle_message(self, parsed: UnverifiedEntry) -> None:
        if parsed.entry.sender == self._room.roster.own_device:
            submissions.handle_own_message(self.log, parsed)
        else:
            self.log.receive_message(parsed)

    def _handle_leave(self, parsed: UnverifiedEntry) -> None:
        """Handle a member's proposal to remove itself."""
        room, entry = self._room, parsed.entry
        if entry.sender == room.roster.own_device:
            if room.record.phase is Phase.LEAVING:
                self.log.report.add(room.close(None))
            return
        check_mls_body(parsed, room.group)
        if parsed.header.remove != [entry.sender] or parsed.header.add:
            raise PeerError("its header is not what it does")
        successor = room.copy_group()
        received = successor.receive(parsed.body)
        self.log.report_leave(received, entry.sender)
        leaver = room.member(entry.sender)
        room.apply_leave(successor, leaver.leaf_index, entry.seq)
        self.log.compare_views(parsed, room.roster.person(leaver))

    def _handle_commit(self, parsed: UnverifiedEntry) -> None:
        """Handle a commit without a path, which starts the next epoch at once."""
        room, entry, header = self._room, parsed.entry, parsed.header
        author = room.roster.find(entry.sender)
        if room.commits.is_newest(entry.payload):
            if room.roster.leavers():
                room.commits.drop()
                self.log.report.result.commit_result = CommitResult.SUPERSEDED
            else:
                self.log.enter_epoch(room.commits.take_successor(entry.payload), author, None)
            return
        if entry.sender == room.roster.own_device:
            submissions.handle_unknown_own_entry(self.log, entry)
            self.log.report.result.epoch_suspect = True  # a copy of this profile may have made it
            return
        if room.roster.leavers():
            raise PeerError("who leaves has to be taken out first")
        check_mls_body(parsed, room.group)
        successor = room.copy_group()
        received = successor.receive(parsed.body)
        if not isinstance(received, Committed) or received.external or received.path or received.removed_self:
            raise PeerError("it is no commit without a path")
        if author is None or room.group.member(received.committer).signature_key != entry.sender:
            raise PeerError("the relay put another's name on it")
        added = {member.signature_key: member_identity(member).name for member in received.added}
        if header.remove or received.removed or sorted(added) != sorted(header.add):
            raise PeerError("its header is not what it does")
        if header.ref not in (b"", digest_names((device, added[device]) for device in header.add)):
            raise PeerError("it adds somebody else than its header says")  # empty before relays compared it
        self.log.compare_views(parsed, author)
        self.log.enter_epoch(successor, author, None)

    def _handle_rekey(self, parsed: UnverifiedEntry) -> None:
        """Keep a rekey until another account confirms it; apply it at once if it leaves none."""
        room = self._room
        is_own = room.commits.is_newest(parsed.entry.payload)
        rekey = check_rekey(parsed, room.group, room.roster, room.commits.payloads)
        if not room.rekeys.has_place_for(rekey):
            raise PeerError("too many others wait to join")
        author = room.roster.find(parsed.entry.sender)
        if author is not None and not is_own:
            self.log.compare_views(parsed, author, is_present=not rekey.external)
        room.rekeys.add(rekey)
        if is_own:
            room.commits.mark_logged()
            self.log.report.result.commit_result = CommitResult.LOGGED
        if room.covers(rekey) and not room.roster.others(rekey.account, rekey.removes):
            self._apply_rekey(rekey, parsed.entry.seq)
            room.offer_due |= rekey.joiner is not None

    def _handle_confirm(self, parsed: UnverifiedEntry) -> None:
        """Apply a rekey that a member of another account, which stays, confirms."""
        room = self._room
        person = self.log.signer(parsed)
        rekey = room.rekeys.find(parsed.header.ref)
        if rekey is None:
            return
        self.log.compare_views(parsed, person)
        confirms = person.account != rekey.account and person.device not in rekey.removes
        if confirms and room.covers(rekey):
            self._apply_rekey(rekey, parsed.entry.seq)

    def _apply_rekey(self, rekey: Rekey, seq: int) -> None:
        """Enter the epoch of a rekey that entry `seq` confirmed."""
        room = self._room
        author = room.roster.find(rekey.parsed.entry.sender)
        own = room.outbox.logged()
        match rekey.effect:
            case RekeyEffect.REMOVES:
                if author is not None and author.device == room.roster.own_device:
                    where = f"this profile was restored elsewhere and is in {room.record.title} there"
                    self.log.report.add(Notice(room.id, f"{where}: use that one"))
                self.log.report.add(room.close(author))
                return
            case RekeyEffect.OWN:
                successor = room.commits.take_successor(rekey.parsed.entry.payload)
            case RekeyEffect.OPENS:
                successor = room.copy_group()
                try:
                    successor.receive(rekey.parsed.body)
                except MLSError:
                    rejoin_entries.mark_cannot_follow(self.log, seq)
                    return
            case RekeyEffect.FAILS:
                rejoin_entries.mark_cannot_follow(self.log, seq)
                return
        fork = room.epochs.fork
        self.log.enter_epoch(successor, author, rekey, own)
        if rekey.external:
            self.log.report.forget(rekey.parsed.entry.sender, "restored")
        if rekey.external and fork is not None:  # its device could not read what was sent since the fork
            room.resend_after(fork)


def _has_header(entry: Entry) -> bool:
    with contextlib.suppress(PeerError):
        parse_entry(entry)
        return True
    return False
