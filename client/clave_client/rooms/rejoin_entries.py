"""Takes in what a room's log says of devices that cannot follow, this one and others, until they come back.

A part of `log_reader`. Knows the room; what is asked and sent to come back is `rescue`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client import events
from clave_client.formats.payload import UnverifiedEntry, check_signature, rekey_id
from clave_client.rooms.epoch_tracker import FormerRoster
from clave_client.rooms.roster import Roster
from clave_client.rooms.submissions import handle_own_message_of_other_epoch
from clave_wire.messages import Kind

if TYPE_CHECKING:
    from clave_client.rooms.log_reader import LogReader

__all__ = ["handle_own_rejoin", "handle_rejoin_info", "handle_rejoin_request", "mark_cannot_follow"]


def mark_cannot_follow(reader: LogReader, seq: int) -> None:
    """Note that the others went on to an epoch that this device cannot open."""
    room = reader.room
    room.commits.drop()
    room.rekeys.clear(None)
    room.set(lost=seq)
    reader.report.outcome.cry = True
    if reader.report.first(b"", "lost"):
        title = room.record.title
        text = f"this device could not open a change of {title}; it asks the others to let it back in"
        reader.report.happened(events.Notice(room.id, text))


def handle_rejoin_request(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take a member's word that its device cannot follow."""
    room = reader.room
    person = room.roster.find(opened.entry.sender)
    if person is None or opened.entry.sender == room.roster.own_device or room.lost:
        return
    check_signature(opened)
    reader.report.outcome.lost.append(person.device)


def handle_rejoin_info(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Note that a member has helped a device that cannot follow."""
    reader.signer(opened)
    for device in opened.header.add:
        if reader.room.roster.has(device):
            reader.room.helped[device] += 1


def handle_own_rejoin(reader: LogReader, opened: UnverifiedEntry) -> bool:
    """Take what concerns a commit by which this device comes back; False if it does not."""
    room, entry, header = reader.room, opened.entry, opened.header
    pending, tip = room.commits.pending, room.commits.tip
    assert pending is not None  # noqa: S101 (the caller looked)
    assert tip is not None  # noqa: S101 (it is stored with the commit)
    if entry.payload == pending.payload:
        room.commits.place()
        roster = Roster(tip, reader.store)
        if not roster.others(room.account):
            _come_back(reader, pending.payload, room.account)
        return True
    own_message = entry.sender == room.roster.own_device and entry.kind is Kind.APPLICATION
    if own_message and header.head != room.head:
        handle_own_message_of_other_epoch(reader, opened)
        return True
    if entry.kind is not Kind.CONFIRM:
        return False
    for own, led_to in [(pending, tip), *room.commits.formers]:
        if own.placed and header.ref == rekey_id(own.payload) and header.head == own.head:
            person = Roster(led_to, reader.store).find(entry.sender)
            if person is not None and person.account != room.account:
                check_signature(opened)
                _come_back(reader, own.payload, person.account)
            return True
    return False


def _come_back(reader: LogReader, payload: bytes, account: bytes) -> None:
    """Go on in the epoch of this device's own external commit, which `account` confirmed."""
    room = reader.room
    since = room.whereabouts.said_alone
    unread = [seq for seq in (room.record.lost, since, room.whereabouts.unread) if seq]
    missed, before = min(unread, default=0), room.roster
    room.whereabouts.not_read(0)
    if since:
        room.say_again(since - 1)
    room.whereabouts.leave_home(FormerRoster.of(room.group), account, room.record.cursor)
    reader.enter(room.commits.follow(payload), None, None)
    until = room.record.cursor
    text = f"this device follows {room.record.title} again"
    if missed:
        text += f"; what was said from entry {missed} to {until} it could not read"
    for verb, members in (
        ("added", room.roster.missing_in(before)),
        ("removed", before.missing_in(room.roster)),
    ):
        if members:
            names = ", ".join(sorted({room.roster.person(member).name for member in members}))
            text += f"; {verb} meanwhile: {names}"
    reader.report.outcome.strangers = True
    reader.report.forget(b"", "lost")
    reader.report.happened(events.Notice(room.id, text))
