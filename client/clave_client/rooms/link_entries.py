"""Handles log entries while a device joins by a link: its own, until members let it in, and others'.

The device cannot check whether the entries of the epoch that it joined from count, as it has no keys of it.
So what only members of that epoch can judge never ends a join: at most the device joins again.

A part of `log_reader`. Knows the room; sends nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clave_client import events
from clave_client.events import Inconsistency, Person
from clave_client.formats.payload import UnverifiedEntry, check_signature, rekey_id
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.log_context import LogContext
from clave_wire.messages import Kind

__all__ = ["handle_own_join"]

_MOST_REKEYS: Final = 64
"""Rekeys of others that are remembered; of one account the newest."""


def handle_own_join(log: LogContext, parsed: UnverifiedEntry, joining: JoinRecord) -> bool:
    """Handle an entry between what is offered and the confirmation of this device's join; False for another.

    Raises `PeerError`.
    """
    room, entry, header = log.room, parsed.entry, parsed.header
    person = room.roster.find(entry.sender)
    if entry.seq == room.record.began:
        if entry.sender != room.roster.own_device:
            log.report.inconsistency(Inconsistency.PLACE, None)
        elif not room.roster.others(room.account):  # its own account's devices need no other's confirmation
            room.note_let_in(room.account, is_vouched=True)
            room.offer_due = True
        return True
    if entry.sender == room.roster.own_device:
        return entry.seq < room.record.began
    if header.head == joining.head and entry.kind is Kind.REKEY:
        _handle_rekey(log, parsed, person, joining)
    elif header.head == joining.head and person is not None:
        _handle_decision(log, parsed, person, joining)
    if header.head == joining.head or person is None:
        return True
    if entry.seq < room.record.began:
        return True
    if header.head != room.head:
        # Who has a rekey in the log speaks in its epoch already.
        if person.account not in (room.account, *(account for _, account in joining.rekeys)):
            _mark_superseded(log, entry.seq)
        return True
    return False


def _handle_rekey(
    log: LogContext, parsed: UnverifiedEntry, person: Person | None, joining: JoinRecord
) -> None:
    """Remember a rekey made in the epoch from which this device joined; of who else joins, by the device.

    One that leaves nobody who could confirm it begins an epoch at once.
    """
    room, entry = log.room, parsed.entry
    account = entry.sender if person is None else person.account
    others = [each for each in joining.rekeys if each[1] != account][1 - _MOST_REKEYS :]
    rekeys = [*others, (rekey_id(entry.payload), account)]
    room.set_joining(msgspec.structs.replace(joining, rekeys=rekeys))
    gone = {*parsed.header.remove, room.roster.own_device}
    if person is not None and not room.roster.others(account, gone):
        _mark_superseded(log, entry.seq)


def _handle_decision(log: LogContext, parsed: UnverifiedEntry, person: Person, joining: JoinRecord) -> None:
    """Handle what a member decided in the epoch from which this device joined."""
    room, entry = log.room, parsed.entry
    match entry.kind:
        case Kind.COMMIT:
            _mark_superseded(log, entry.seq)
        case Kind.CONFIRM:
            check_signature(parsed)
            ref = parsed.header.ref
            if ref == joining.ref and person.account != room.account:
                _let_in(log, person, joining)
            elif any(ref == known and person.account != author for known, author in joining.rekeys):
                _mark_superseded(log, entry.seq)
        case _:
            pass  # said before this device was let in


def _let_in(log: LogContext, person: Person, joining: JoinRecord) -> None:
    room = log.room
    is_vouched = person.account == joining.inviter or person.verified
    room.note_let_in(person.account, is_vouched=is_vouched)
    text = f"{person.name} let this device into {room.record.title}"
    if not is_vouched:
        text += f"; {room.name_of(joining.inviter)}, whose link this is, has not spoken there yet"
    log.report.add(events.Notice(room.id, text))


def _mark_superseded(log: LogContext, seq: int) -> None:
    """Note that members began another epoch, by entry `seq`, than the one that this device joined."""
    room = log.room
    room.note_superseded(seq)
    log.report.result.epoch_suspect = True
    if log.report.is_new(b"", "superseded"):
        text = f"another change of {room.record.title} came before this device joined; it joins again"
        log.report.add(events.Notice(room.id, text))
