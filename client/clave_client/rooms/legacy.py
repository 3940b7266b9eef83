"""Reads what is in a room's log from before protocol 4, for clients updated before they had read all of it.

Payloads were MLS messages without a header, the first valid commit of an epoch began the next one, and a
device's own commit was stored as MLS makes it. Nothing of this kind is ever written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client.errors import PeerError
from clave_client.formats.content import ContentKind, decode_legacy_content
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy
from clave_client.rooms.submissions import handle_own_legacy_message
from clave_crypto.mls import Application, Committed, MLSError, PendingCommit, ProposalReceived, peek
from clave_wire.messages import Entry

if TYPE_CHECKING:
    from clave_client.rooms.log_reader import LogReader
    from clave_client.rooms.stored_room import StoredRoom

__all__ = ["finish", "read_entry"]

_COMMIT = "pending"
"""The part of a room in which a commit of one's own was stored: u64 submission, and the commit."""


def read_entry(reader: LogReader, entry: Entry) -> None:
    """Take an entry of protocol 3. What is refused was refused by everybody, and changes nothing."""
    room = reader.room
    own = entry.sender == room.roster.own_device
    person = room.roster.find(entry.sender)
    try:
        if own and (handle_own_legacy_message(reader, entry) or _apply_own_commit(reader, entry)):
            return
        if peek(entry.payload) != (room.id, entry.epoch, int(entry.kind)):
            return
        successor = room.copy_group()
        received = successor.receive(entry.payload)
        match received:
            case Application():
                content = decode_legacy_content(received.data)
                room.set_group(successor)
                if content.kind is ContentKind.TEXT:
                    reader.store_message(entry.seq, room.roster.person(received), content)
            case ProposalReceived():
                reader.report_leave(received, entry.sender)
                room.set_group(successor)
            case Committed(removed_self=True):
                reader.report.add(room.close(person))
            case Committed():
                reader.enter_epoch(successor, person, None)
    except (MLSError, PeerError):
        return


def _apply_own_commit(reader: LogReader, entry: Entry) -> bool:
    room = reader.room
    stored = room.part(_COMMIT)
    if stored is None:
        return False
    pending = PendingCommit.decode(stored[8:], policy=RoomPolicy(), limits=ROOM_LIMITS)
    if pending.message != entry.payload:
        return False
    successor = room.copy_group()
    successor.merge(pending)
    reader.enter_epoch(successor, room.roster.find(entry.sender), None)
    return True


def finish(room: StoredRoom) -> None:
    """Forget what was made for protocol 3 and is not in the log; a transaction is the caller's."""
    room.put_part(_COMMIT, None)
    room.discard_ciphertexts()
