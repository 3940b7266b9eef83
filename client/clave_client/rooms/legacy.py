"""Reads log entries of protocol 3, for clients that were updated before they had read all of them.

Their payloads are MLS messages without a header, and the first valid commit of an epoch began the next one.
Nothing of this kind is written any more.
"""

from __future__ import annotations

from clave_client.errors import PeerError
from clave_client.formats.content import ContentKind, of_former
from clave_client.formats.former_content import decode_protocol_3
from clave_client.rooms.log_context import LogContext
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy
from clave_client.rooms.stored_room import LEGACY_COMMIT_PART
from clave_client.rooms.submissions import handle_own_legacy_message
from clave_crypto.mls import Application, Committed, MLSError, PendingCommit, ProposalReceived, peek
from clave_wire.messages import Entry

__all__ = ["read_entry"]


def read_entry(log: LogContext, entry: Entry) -> None:
    """Read an entry of protocol 3; a refused one changes nothing."""
    room = log.room
    own = entry.sender == room.roster.own_device
    person = room.roster.find(entry.sender)
    try:
        if own and (handle_own_legacy_message(log, entry) or _apply_own_commit(log, entry)):
            return
        if peek(entry.payload) != (room.id, entry.epoch, int(entry.kind)):
            return
        successor = room.copy_group()
        received = successor.receive(entry.payload)
        match received:
            case Application():
                sender = room.roster.person(received)
                content = of_former(decode_protocol_3(received.data), room.id, sender.account)
                room.set_group(successor)
                if content.kind is ContentKind.TEXT:
                    log.apply(content, sender, entry.seq)
            case ProposalReceived():
                log.report_leave(received, entry.sender)
                room.set_group(successor)
            case Committed(removed_self=True):
                log.report.add(room.close(person))
            case Committed():
                log.enter_epoch(successor, person, None)
    except (MLSError, PeerError):
        return


def _apply_own_commit(log: LogContext, entry: Entry) -> bool:
    """Apply this device's stored commit if `entry` is it; return whether it is."""
    room = log.room
    stored = room.part(LEGACY_COMMIT_PART)
    if stored is None:
        return False
    commit = PendingCommit.decode(stored[8:], policy=RoomPolicy(), limits=ROOM_LIMITS)
    if commit.message != entry.payload:
        return False
    successor = room.copy_group()
    successor.merge(commit)
    log.enter_epoch(successor, room.roster.find(entry.sender), None)
    return True
