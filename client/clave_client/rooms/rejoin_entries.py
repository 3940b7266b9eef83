"""Handles entries about devices that cannot follow the group, this one included, until they have rejoined.

A part of `log_reader`. Knows the room; what is submitted to rejoin is in `sync.rejoin`.
"""

from __future__ import annotations

from typing import Final

from clave_client import events
from clave_client.formats.payload import RESTORED, UnverifiedEntry, check_signature, rekey_id
from clave_client.rooms.epoch_tracker import FormerRoster
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.roster import Roster
from clave_client.rooms.state_change import StateChange
from clave_client.rooms.submissions import handle_own_message_of_other_epoch
from clave_wire.messages import Kind

__all__ = [
    "handle_own_rejoin",
    "handle_rejoin_info",
    "handle_rejoin_request",
    "mark_cannot_follow",
    "note_forgotten_message",
]

_MOST_SKIPPED: Final = 1000
"""Most counts between two messages of a device: a relay could make up any."""


def mark_cannot_follow(log: LogContext, seq: int) -> None:
    """Note that entry `seq` began an epoch that this device cannot open; report it once."""
    room = log.room
    room.commits.drop()
    room.rekeys.clear(None)
    room.set(lost=seq)
    log.report.result.epoch_suspect = True
    if log.report.is_new(b"", "lost"):
        title = room.record.title
        text = f"this device could not open a change of {title}; it asks the others to let it back in"
        log.report.add(events.Notice(room.id, text))


def handle_rejoin_request(log: LogContext, parsed: UnverifiedEntry) -> None:
    """Handle a member's signed request for a rejoin info. Raises `PeerError`."""
    room = log.room
    person = room.roster.find(parsed.entry.sender)
    if person is None or parsed.entry.sender == room.roster.own_device or room.cannot_follow:
        return
    check_signature(parsed)
    log.report.result.rejoin_requests.append(person.device)
    if parsed.header.ref == RESTORED and log.report.is_new(person.device, "restored"):
        title, whose = room.record.title, f"{person.name}'s device {person.device_name}"
        log.report.add(events.Notice(room.id, f"{whose} was restored from a backup; it rejoins {title}"))


def note_forgotten_message(log: LogContext, parsed: UnverifiedEntry) -> None:
    """Go on counting where this device stopped before it was restored from a backup."""
    count = log.room.record.count
    log.room.set(count=max(count, min(parsed.header.count, count + _MOST_SKIPPED)))


def handle_rejoin_info(log: LogContext, parsed: UnverifiedEntry) -> None:
    """Count a member's answer to the rejoin requests of others. Raises `PeerError`."""
    log.signer(parsed)
    for device in parsed.header.add:
        if log.room.roster.has(device):
            log.room.rejoin_infos[device] += 1


def handle_own_rejoin(log: LogContext, parsed: UnverifiedEntry) -> bool:
    """Handle what concerns this device's external commit; return False if the entry does not.

    That is the commit itself, its confirmation, and own messages of its epoch. Raises `PeerError`.
    """
    room, entry, header = log.room, parsed.entry, parsed.header
    commit, successor = room.commits.newest, room.commits.successor
    assert commit is not None  # noqa: S101 (the caller checked)
    assert successor is not None  # noqa: S101 (it is stored with the commit)
    if entry.payload == commit.payload:
        room.commits.mark_logged()
        roster = Roster.of(successor, log.store)
        if not roster.others(room.account):
            _complete_rejoin(log, commit.payload, room.account)
        return True
    own_message = entry.sender == room.roster.own_device and entry.kind is Kind.APPLICATION
    if own_message and header.head != room.head:
        handle_own_message_of_other_epoch(log, parsed)
        return True
    if entry.kind is not Kind.CONFIRM:
        return False
    for own, group in [(commit, successor), *room.commits.earlier]:
        if own.logged and header.ref == rekey_id(own.payload) and header.head == own.head:
            person = Roster.of(group, log.store).find(entry.sender)
            if person is not None and person.account != room.account:
                check_signature(parsed)
                _complete_rejoin(log, own.payload, person.account)
            return True
    return False


def _complete_rejoin(log: LogContext, payload: bytes, account: bytes) -> None:
    """Enter the epoch of this device's external commit, which `account` confirmed; report what was missed."""
    room = log.room
    since = room.epochs.unheard_since
    unread = [seq for seq in (room.record.lost, since, room.epochs.first_unread) if seq]
    missed, before, state = min(unread, default=0), room.roster, room.state
    room.epochs.note_unread(0)
    room.epochs.set_restored(restored=False)
    if missed:  # who was in another epoch than this device meanwhile could not read what it said there
        room.resend_after(missed - 1)
    room.epochs.add_former_roster(FormerRoster.of(room.group), account, room.record.cursor)
    log.enter_epoch(room.commits.take_successor(payload), None, None)
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
    if not room.state.is_former and StateChange.between(state, room.state):
        text += "; what it is about, who may do what or who has which role changed: /info, /members"
    log.report.result.routing_suspect = True
    log.report.forget(b"", "lost")
    log.report.add(events.Notice(room.id, text))
