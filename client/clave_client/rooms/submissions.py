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

_TRY_AGAIN = {Code.STALE, Code.OUT_OF_ORDER, Code.RENUMBER, Code.PACE, Code.STORAGE}
_WAIT = {Code.PACE, Code.STORAGE}

# --- in the log ---


def handle_own_message(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take an own message of the present epoch."""
    room = reader.room
    item = room.outbox.find(opened.entry.payload)
    if item is None:
        handle_unknown_own_entry(reader, opened.entry)
        return
    room.outbox.drop(item)
    _in_log(reader, item, opened.entry.seq)


def handle_own_message_of_other_epoch(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take an own message made in the epoch of one's own rekey, or before the present one."""
    room = reader.room
    item = room.outbox.find(opened.entry.payload)
    if item is None:
        handle_unknown_own_entry(reader, opened.entry)
    elif opened.header.head in room.commits.heads:
        room.outbox.place(item, opened.entry.seq)
        _in_log(reader, item, opened.entry.seq)


def handle_unknown_own_entry(reader: LogReader, entry: Entry) -> None:
    """Take an entry of this device that it does not know of."""
    room = reader.room
    if room.too_old or room.is_from_before(entry):
        return
    if not room.was_refused(entry.payload):  # else it is told already
        reader.report.lie(Inconsistency.INVENTED, room.roster.find(entry.sender))


def handle_own_legacy_message(reader: LogReader, entry: Entry) -> bool:
    """Take an own message of protocol 3 that is in the log; False if there is none."""
    room = reader.room
    item = room.outbox.find(entry.payload)
    if item is None:
        return False
    room.outbox.drop(item)
    _in_log(reader, item, entry.seq)
    return True


def _in_log(reader: LogReader, item: OutboxItem, seq: int) -> None:
    """Note that one of this device's messages is in the log."""
    room, place = reader.room, reader.room.place(seq)
    if item.kind is ContentKind.TEXT:
        me = room.roster.person(room.group.member(room.group.own_leaf))
        line = HistoryLine(place, me.device, me.account, me.name, item.id, item.body, item.sent_at)
        if not reader.store.add_message(room.id, line):
            room.repeats.placed(item.id, place)
    reader.report.happened(events.Sent(room.id, place, item.id))


# --- refused ---


def handle_rejected(reader: LogReader, rejected: Rejected) -> None:
    """Take the relay's refusal of a submission."""
    room, code, outcome = reader.room, rejected.code, reader.report.outcome
    flight = room.flights.pop(rejected.submission, None)
    if flight is None:
        return
    room.going_back = any(number > rejected.submission for number in room.flights)
    reason = sanitize(rejected.text)
    outcome.wait |= code in _WAIT
    if code in _TRY_AGAIN:
        room.refuse(flight.payload)
        if flight.kind is Kind.PROPOSAL:
            room.withdraw()
        return
    match flight.kind:
        case Kind.APPLICATION:
            _refused_message(reader, flight.payload, reason)
        case Kind.REKEY if room.commits.unconfirmed and room.commits.is_newest(flight.payload):
            reader.report.lie(Inconsistency.STORED, room.roster.find(room.roster.own_device))
        case Kind.COMMIT | Kind.REKEY:
            room.forget_commit()
            outcome.settled, outcome.reason = CommitResult.REFUSED, reason
        case Kind.PROPOSAL:
            _refused_leaving(reader, code, reason)
        case _:
            pass
    if code is Code.NOT_MEMBER:
        outcome.strangers = True


def _refused_message(reader: LogReader, payload: bytes, reason: str) -> None:
    room = reader.room
    item = room.outbox.find(payload)
    if item is not None:
        room.refuse(payload)
        room.outbox.drop(item)
        reader.report.happened(events.SendFailed(room.id, item.id, reason))


def _refused_leaving(reader: LogReader, code: Code, reason: str) -> None:
    room = reader.room
    room.withdraw()
    if code is Code.NOT_MEMBER:
        reader.report.happened(room.close(None))
    elif not room.too_old:
        room.set(phase=Phase.JOINED)
        text = f"you are still in {room.record.title}: the relay refused to let you leave ({reason})"
        reader.report.happened(events.Notice(room.id, text))
