"""Handles what became of this device's submissions: its own entries in the log, and the relay's refusals.

A part of `log_reader`. Knows the room; sends nothing.
"""

from __future__ import annotations

from clave_client import events
from clave_client.events import Inconsistency, MessageKind
from clave_client.formats.content import ContentKind
from clave_client.formats.payload import UnverifiedEntry
from clave_client.rooms.batch_report import CommitResult
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.settings_entries import ASKED_PART, REFUSED
from clave_client.store.conversation_tables import SentContent
from clave_client.store.database import OutboxItem
from clave_client.values import Phase
from clave_wire.messages import Code, Entry, Kind, Rejected
from clave_wire.text import sanitize

__all__ = [
    "handle_own_legacy_message",
    "handle_own_message",
    "handle_own_message_of_other_epoch",
    "handle_rejected",
    "handle_unknown_own_entry",
]

_RETRY = {Code.STALE, Code.OUT_OF_ORDER, Code.RENUMBER, Code.PACE, Code.STORAGE}
"""Refusals after which the same is submitted again."""

_RETRY_LATER = {Code.PACE, Code.STORAGE}
"""Those of them that ask for a pause."""

_KEPT = {ContentKind.TEXT, ContentKind.EDIT, ContentKind.DELETION, ContentKind.REACTION}
"""What is sent again when the relay has lost it or others could not read it."""

_UNTOLD = {ContentKind.STATUS, ContentKind.SETTINGS}
"""What a client sends by itself."""

_SAYING = {ContentKind.TEXT, ContentKind.EDIT}
_THERE = {MessageKind.TEXT, MessageKind.UNKNOWN}

# --- in the log ---


def handle_own_message(log: LogContext, parsed: UnverifiedEntry) -> None:
    """Handle an own message of the present epoch."""
    room = log.room
    item = room.outbox.find(parsed.entry.payload)
    if item is None:
        handle_unknown_own_entry(log, parsed.entry)
        return
    room.outbox.drop(item)
    _record_own_message(log, item, parsed.entry.seq)


def handle_own_message_of_other_epoch(log: LogContext, parsed: UnverifiedEntry) -> None:
    """Handle an own message of another epoch, which may be the one of an own unconfirmed rekey."""
    room = log.room
    item = room.outbox.find(parsed.entry.payload)
    if item is None:
        handle_unknown_own_entry(log, parsed.entry)
    elif parsed.header.head in room.commits.heads:
        room.outbox.mark_logged(item, parsed.entry.seq)
        # A change of a message has to wait for those of others that precede it.
        _record_own_message(log, item, parsed.entry.seq, waits=item.kind is not ContentKind.TEXT)


def handle_unknown_own_entry(log: LogContext, entry: Entry) -> None:
    """Report an entry under this device's name that it does not remember, unless there is a reason for it.

    Reasons are a restored profile, an earlier membership, and a refused payload, which is reported already.
    """
    room = log.room
    if room.too_old or room.epochs.restored or room.is_from_earlier_membership(entry):
        return
    if entry.payload not in room.refused_payloads:
        log.report.inconsistency(Inconsistency.INVENTED, room.roster.find(entry.sender))


def handle_own_legacy_message(log: LogContext, entry: Entry) -> bool:
    """Handle an own message of protocol 3; return False if the entry is none."""
    room = log.room
    item = room.outbox.find(entry.payload)
    if item is None:
        return False
    room.outbox.drop(item)
    _record_own_message(log, item, entry.seq)
    return True


def _record_own_message(log: LogContext, item: OutboxItem, seq: int, *, waits: bool = False) -> None:
    """Apply an own content as others do, keep it to be sent again if need be, and report it as sent.

    With `waits` it is applied only once its epoch is confirmed.
    """
    room, place = log.room, log.room.history_seq(seq)
    if item.data and not waits:  # without data, what it said was erased meanwhile
        me = room.roster.person(room.group.member(room.group.own_leaf))
        log.apply(log.read_content(item.data, me), me, seq)
    if item.kind in _UNTOLD:
        return
    line = log.store.message(room.id, item.target or item.id)
    is_erased = item.kind in _SAYING and (line is None or line.kind not in _THERE)
    if item.kind in _KEPT:
        body, data = ("", b"") if is_erased else (item.body, item.data)
        kept = SentContent(item.id, place, item.kind, item.target, data, body, item.sent_at)
        log.store.add_sent(room.id, kept)
    text = item.body if item.kind is ContentKind.TEXT and not is_erased else ""
    sent_at = (item.sent_at if line is None else line.sent_at) / 1000
    log.report.add(events.Sent(room.id, place, item.id, text, sent_at))


# --- refused ---


def handle_rejected(log: LogContext, rejected: Rejected) -> None:
    """Handle the relay's refusal of a submission."""
    room, code, result = log.room, rejected.code, log.report.result
    submitted = room.in_flight.pop(rejected.submission, None)
    if submitted is None:
        return
    room.draining = any(number > rejected.submission for number in room.in_flight)
    reason = sanitize(rejected.text)
    result.pause |= code in _RETRY_LATER
    if code in _RETRY:
        room.refused_payloads = room.refused_payloads.with_added(submitted.payload)
        if submitted.kind is Kind.PROPOSAL:
            room.withdraw_leave()
        return
    match submitted.kind:
        case Kind.APPLICATION:
            _handle_refused_message(log, submitted.payload, reason)
        case Kind.REKEY if room.commits.awaits_confirmation and room.commits.is_newest(submitted.payload):
            log.report.inconsistency(Inconsistency.STORED, room.roster.find(room.roster.own_device))
        case Kind.COMMIT | Kind.REKEY:
            room.drop_refused_commit()
            result.commit_result, result.reason = CommitResult.REFUSED, reason
        case Kind.PROPOSAL:
            _handle_refused_leave(log, code, reason)
        case _:
            pass
    if code is Code.NOT_MEMBER:
        result.routing_suspect = True


def _handle_refused_message(log: LogContext, payload: bytes, reason: str) -> None:
    room = log.room
    item = room.outbox.find(payload)
    if item is not None:
        room.refused_payloads = room.refused_payloads.with_added(payload)
        room.outbox.drop(item)
        if item.kind is ContentKind.SETTINGS:
            room.put_part(ASKED_PART, REFUSED)  # so that all settings are said again
        if item.kind not in _UNTOLD:
            log.report.add(events.SendFailed(room.id, item.id, reason, item.body))


def _handle_refused_leave(log: LogContext, code: Code, reason: str) -> None:
    room = log.room
    room.withdraw_leave()
    if code is Code.NOT_MEMBER:
        log.report.add(room.close(None))
    elif not room.too_old:
        room.set(phase=Phase.JOINED)
        room.note_answer("")
        text = f"you are still in {room.record.title}: the relay refused to let you leave ({reason})"
        log.report.add(events.Notice(room.id, text))
