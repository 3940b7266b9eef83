"""What the relay brings to let this device in: welcomes to be answered, help for a room. Knows no log."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from clave_client import events
from clave_client.errors import PeerError
from clave_client.policy import ROOM_LIMITS, RoomPolicy, room_state
from clave_client.room import Room
from clave_client.sealing import name_epoch
from clave_client.store import Phase, Store
from clave_client.welcome import Help, Welcome, Welcomed, read_invitation
from clave_crypto.mls import Group, KeyPackageBundle, MLSError
from clave_wire.messages import Invitation, TakeInvitation
from clave_wire.text import sanitize

if TYPE_CHECKING:
    from clave_client.session import Session

__all__ = ["MOST_OPEN", "Invitations"]

MOST_OPEN = 100
"""Invitations without an answer; the relay keeps the others until some are answered."""

_MOST_COMMITS = 1 << 52
"""An epoch that no room comes to by commits; frames count further."""


class Invitations:
    """The invitations of one session."""

    def __init__(self, session: Session, store: Store) -> None:
        self._session = session
        self._store = store
        self._deferred: dict[bytes, tuple[Invitation, bytes]] = {}
        self._told_full = False

    def take(self, invitation: Invitation) -> None:
        """Open an invitation and keep it; whether the person wants it is asked afterwards."""
        self._take(invitation, self._session.incarnation)

    def _take(self, invitation: Invitation, incarnation: bytes) -> None:
        known = self._session.rooms.get(invitation.room)
        try:
            brought = read_invitation(invitation.welcome)
            if isinstance(brought, Help):
                if known is not None:
                    self._session.helped(known, brought)
            elif known is not None and not _is_over(known):
                # Only the log ends a membership: a welcome to the same room counts once that has happened.
                self._deferred[invitation.room] = invitation, incarnation
                if known.lost:
                    self._session.resume_anew(known)
                return
            elif self._store.has_taken(invitation.room + invitation.welcome):
                self._take_again(invitation)
            elif known is None and self._is_full():
                return
            else:
                self._open(invitation, brought, known, incarnation)
        except MLSError as error:
            self._tell(f"an invitation could not be used: {sanitize(str(error))}")
        except PeerError as error:
            self._tell(f"an invitation was refused: {error}")
        self._session.link.send(TakeInvitation(self._session.link.next_id(), invitation.id))

    def _take_again(self, invitation: Invitation) -> None:
        """Leave a welcome that was used alone: the relay was not told that it is, or brings it once more."""
        record = self._store.room(invitation.room)
        if record is not None and invitation.room not in self._session.rooms:
            self._tell(f"an invitation to {record.title} was refused: it is an old one")

    def let_in(self, room: bytes) -> None:
        """Take the welcome to a room that came while this device was in it, if it is not any more."""
        known = self._session.rooms.get(room)
        if room in self._deferred and (known is None or _is_over(known)):
            self._take(*self._deferred.pop(room))

    def _is_full(self) -> bool:
        waiting = sum(room.record.phase is Phase.INVITED for room in self._session.rooms.values())
        if waiting >= MOST_OPEN and not self._told_full:
            self._told_full = True
            self._tell(f"{waiting} invitations wait for an answer; others come once some are answered")
        return waiting >= MOST_OPEN

    def _open(
        self, invitation: Invitation, brought: Welcome | bytes, known: Room | None, incarnation: bytes
    ) -> None:
        used: list[bytes] = []
        # A welcome can name very many key packages, and to look each of them up would take long.
        held = self._store.bundle_references()

        def find(reference: bytes) -> KeyPackageBundle | None:
            if reference not in held:
                return None
            used.append(reference)
            return self._session.account.bundle(reference)

        message = brought.message if isinstance(brought, Welcome) else brought
        others = self._session.rooms.keys() - {invitation.room}
        group = Group.join(message, find, policy=RoomPolicy(), other_groups=others, limits=ROOM_LIMITS)
        if group.group_id != invitation.room:
            raise PeerError("it came under another room's id")
        if group.epoch >= _MOST_COMMITS:
            raise PeerError("its room's epoch cannot be")
        if self._store.has_entered(group.epoch_authenticator):
            # A relay can bring a welcome again, and the private half of a last resort is kept: to enter
            # an epoch a second time would be to use its keys a second time.
            if known is None:
                title = sanitize(room_state(group.extensions).title)
                self._tell(f"an invitation to {title} was refused: it is an old one")
            return
        welcomed = Welcomed(None, invitation.seq, incarnation)
        if isinstance(brought, Welcome):
            signer = group.own_leaf if group.welcomed_by is None else group.welcomed_by
            brought.check(name_epoch(group), group.member(signer).signature_key)
            welcomed = dataclasses.replace(welcomed, seen=brought.seen)
        with self._store.transaction():
            room = Room.join(self._store, group, welcomed, self._session.clock)
            self._store.note_entered(group.epoch_authenticator)
            self._store.note_taken(invitation.room + invitation.welcome)
            for reference in used:
                self._store.drop_bundle(reference)
        self._session.rooms[room.id] = room
        self._session.unusable.pop(room.id, None)
        self._session.emit(room.invitation())

    def _tell(self, text: str) -> None:
        self._session.emit(events.Notice(b"", text))


def _is_over(room: Room) -> bool:
    """Whether a room may be entered anew: whoever cannot follow it takes the relay's word for being out."""
    return room.record.phase not in (Phase.JOINED, Phase.LEAVING) or (room.lost and room.stay_over)
