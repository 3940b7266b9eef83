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
    reader.report.result.needs_rejoin = True
    if reader.report.is_new(b"", "lost"):
        title = room.record.title
        text = f"this device could not open a change of {title}; it asks the others to let it back in"
        reader.report.add(events.Notice(room.id, text))


def handle_rejoin_request(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Take a member's word that its device cannot follow."""
    room = reader.room
    person = room.roster.find(opened.entry.sender)
    if person is None or opened.entry.sender == room.roster.own_device or room.cannot_follow:
        return
    check_signature(opened)
    reader.report.result.rejoin_requests.append(person.device)


def handle_rejoin_info(reader: LogReader, opened: UnverifiedEntry) -> None:
    """Note that a member has helped a device that cannot follow."""
    reader.signer(opened)
    for device in opened.header.add:
        if reader.room.roster.has(device):
            reader.room.rejoin_infos[device] += 1


def handle_own_rejoin(reader: LogReader, opened: UnverifiedEntry) -> bool:
    """Take what concerns a commit by which this device comes back; False if it does not."""
    room, entry, header = reader.room, opened.entry, opened.header
    pending, successor = room.commits.newest, room.commits.successor
    assert pending is not None  # noqa: S101 (the caller looked)
    assert successor is not None  # noqa: S101 (it is stored with the commit)
    if entry.payload == pending.payload:
        room.commits.mark_logged()
        roster = Roster(successor, reader.store)
        if not roster.others(room.account):
            _complete_rejoin(reader, pending.payload, room.account)
        return True
    own_message = entry.sender == room.roster.own_device and entry.kind is Kind.APPLICATION
    if own_message and header.head != room.head:
        handle_own_message_of_other_epoch(reader, opened)
        return True
    if entry.kind is not Kind.CONFIRM:
        return False
    for own, group in [(pending, successor), *room.commits.earlier]:
        if own.placed and header.ref == rekey_id(own.payload) and header.head == own.head:
            person = Roster(group, reader.store).find(entry.sender)
            if person is not None and person.account != room.account:
                check_signature(opened)
                _complete_rejoin(reader, own.payload, person.account)
            return True
    return False


def _complete_rejoin(reader: LogReader, payload: bytes, account: bytes) -> None:
    """Go on in the epoch of this device's own external commit, which `account` confirmed."""
    room = reader.room
    since = room.epochs.unheard_since
    unread = [seq for seq in (room.record.lost, since, room.epochs.first_unread) if seq]
    missed, before = min(unread, default=0), room.roster
    room.epochs.note_unread(0)
    if since:
        room.resend_after(since - 1)
    room.epochs.add_former_roster(FormerRoster.of(room.group), account, room.record.cursor)
    reader.enter_epoch(room.commits.follow(payload), None, None)
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
    reader.report.result.routing_suspect = True
    reader.report.forget(b"", "lost")
    reader.report.add(events.Notice(room.id, text))
