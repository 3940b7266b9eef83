"""Takes in what became of this device's submissions: its messages in the log, and what the relay refused.

A part of `log_reader`, which judges whatever else the log brings. Knows the room; sends nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client import events
from clave_client.events import Inconsistency
from clave_client.formats.content import ContentKind
from clave_client.formats.payload import UnverifiedEntry
from clave_client.rooms.batch_report import CommitResult
from clave_client.store.database import HistoryLine, OutboxItem, Phase
from clave_wire.messages import Code, Entry, Kind, Rejected
from clave_wire.text import sanitize

if TYPE_CHECKING:
    from clave_client.rooms.log_reader import LogReader

__all__ = [
    "handle_own_legacy_message",
    "handle_own_message",
    "handle_own_message_of_other_epoch",
    "handle_rejected",
    "handle_unknown_own_entry",
]

_RETRY = {Code.STALE, Code.OUT_OF_ORDER, Code.RENUMBER, Code.PACE, Code.STORAGE}
_RETRY_LATER = {Code.PACE, Code.STORAGE}

# --- in the log ---


def handle_own_message(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take an own message of the present epoch."""
    room = reader.room
    item = room.outbox.find(opened.entry.payload)
    if item is None:
        handle_unknown_own_entry(reader, opened.entry)
        return
    room.outbox.drop(item)
    _record_own_message(reader, item, opened.entry.seq)


def handle_own_message_of_other_epoch(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take an own message made in the epoch of one's own rekey, or before the present one."""
    room = reader.room
    item = room.outbox.find(opened.entry.payload)
    if item is None:
        handle_unknown_own_entry(reader, opened.entry)
    elif opened.header.head in room.commits.heads:
        room.outbox.mark_logged(item, opened.entry.seq)
        _record_own_message(reader, item, opened.entry.seq)


def handle_unknown_own_entry(reader: LogReader, entry: Entry) -> None:
    """Take an entry of this device that it does not know of."""
    room = reader.room
    if room.too_old or room.is_from_earlier_membership(entry):
        return
    if not room.was_refused(entry.payload):  # else it is told already
        reader.report.inconsistency(Inconsistency.INVENTED, room.roster.find(entry.sender))


def handle_own_legacy_message(reader: LogReader, entry: Entry) -> bool:
    """Take an own message of protocol 3 that is in the log; False if there is none."""
    room = reader.room
    item = room.outbox.find(entry.payload)
    if item is None:
        return False
    room.outbox.drop(item)
    _record_own_message(reader, item, entry.seq)
    return True


def _record_own_message(reader: LogReader, item: OutboxItem, seq: int) -> None:
    """Note that one of this device's messages is in the log."""
    room, place = reader.room, reader.room.history_seq(seq)
    if item.kind is ContentKind.TEXT:
        me = room.roster.person(room.group.member(room.group.own_leaf))
        line = HistoryLine(place, me.device, me.account, me.name, item.id, item.body, item.sent_at)
        if not reader.store.add_message(room.id, line):
            room.resends.note_logged(item.id, place)
    reader.report.add(events.Sent(room.id, place, item.id))


# --- refused ---


def handle_rejected(reader: LogReader, rejected: Rejected) -> None:
    """Take the relay's refusal of a submission."""
    room, code, result = reader.room, rejected.code, reader.report.result
    submitted = room.in_flight.pop(rejected.submission, None)
    if submitted is None:
        return
    room.draining = any(number > rejected.submission for number in room.in_flight)
    reason = sanitize(rejected.text)
    result.pause |= code in _RETRY_LATER
    if code in _RETRY:
        room.note_refused(submitted.payload)
        if submitted.kind is Kind.PROPOSAL:
            room.withdraw_leave()
        return
    match submitted.kind:
        case Kind.APPLICATION:
            _handle_refused_message(reader, submitted.payload, reason)
        case Kind.REKEY if room.commits.awaits_confirmation and room.commits.is_newest(submitted.payload):
            reader.report.inconsistency(Inconsistency.STORED, room.roster.find(room.roster.own_device))
        case Kind.COMMIT | Kind.REKEY:
            room.drop_refused_commit()
            result.commit_result, result.reason = CommitResult.REFUSED, reason
        case Kind.PROPOSAL:
            _handle_refused_leave(reader, code, reason)
        case _:
            pass
    if code is Code.NOT_MEMBER:
        result.routing_suspect = True


def _handle_refused_message(reader: LogReader, payload: bytes, reason: str) -> None:
    room = reader.room
    item = room.outbox.find(payload)
    if item is not None:
        room.note_refused(payload)
        room.outbox.drop(item)
        reader.report.add(events.SendFailed(room.id, item.id, reason))


def _handle_refused_leave(reader: LogReader, code: Code, reason: str) -> None:
    room = reader.room
    room.withdraw_leave()
    if code is Code.NOT_MEMBER:
        reader.report.add(room.close(None))
    elif not room.too_old:
        room.set(phase=Phase.JOINED)
        text = f"you are still in {room.record.title}: the relay refused to let you leave ({reason})"
        reader.report.add(events.Notice(room.id, text))
