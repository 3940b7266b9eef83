"""Handles log entries while a device joins by a link: its own, until members let it in, and others'.

A part of `log_reader`. Knows the room; sends nothing.
"""

from __future__ import annotations

from clave_client import events
from clave_client.events import Inconsistency, Person
from clave_client.formats.payload import UnverifiedEntry, check_signature
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.log_context import LogContext
from clave_wire.messages import Kind

__all__ = ["handle_own_join", "mark_superseded"]


def handle_own_join(log: LogContext, parsed: UnverifiedEntry, joining: JoinRecord) -> bool:
    """Handle an entry that follows this device's join and precedes its confirmation; False if it is another.

    Raises `PeerError`.
    """
    room, entry, header = log.room, parsed.entry, parsed.header
    if entry.seq < room.record.began:
        return True
    if entry.seq == room.record.began:
        if entry.sender != room.roster.own_device:
            log.report.inconsistency(Inconsistency.PLACE, None)
        elif not room.roster.others(room.account):  # its own account's devices need no other's confirmation
            room.note_let_in(room.account, is_vouched=True)
        return True
    person = room.roster.find(entry.sender)
    if person is None:
        return True
    if header.head == joining.head and entry.kind is Kind.CONFIRM and person.account != room.account:
        check_signature(parsed)
        if header.ref == joining.ref:
            _let_in(log, person, joining)
        else:
            mark_superseded(log, entry.seq)
        return True
    if header.head == joining.head and entry.kind is not Kind.COMMIT:
        return True  # said before this device was let in
    if header.head != room.head:
        mark_superseded(log, entry.seq)
        return True
    return False


def _let_in(log: LogContext, person: Person, joining: JoinRecord) -> None:
    room = log.room
    is_vouched = person.account == joining.inviter or person.verified
    room.note_let_in(person.account, is_vouched=is_vouched)
    text = f"{person.name} let this device into {room.record.title}"
    if not is_vouched:
        text += f"; {room.name_of(joining.inviter)}, whose link this is, has not spoken there yet"
    log.report.add(events.Notice(room.id, text))


def mark_superseded(log: LogContext, seq: int) -> None:
    """Note that members began another epoch, by entry `seq`, than the one that this device joined."""
    room = log.room
    room.set(lost=seq)
    log.report.result.epoch_suspect = True
    if log.report.is_new(b"", "superseded"):
        text = f"another change of {room.record.title} came before this device joined; it joins again"
        log.report.add(events.Notice(room.id, text))
