"""What the relay brings to let this device in: welcomes to be answered, help for a room. Knows no log.

A welcome is *held* when it has to wait: for the log to end a membership, or for an answer to another one.
The relay keeps it too, and brings it at each login.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from clave_client import events
from clave_client.errors import PeerError
from clave_client.events import Person
from clave_client.formats.payload import epoch_id
from clave_client.formats.welcome import JoinPoint, RejoinInfo, Welcome, parse_invitation
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import (
    ROOM_LIMITS,
    RoomPolicy,
    agreed_state,
    check_names_differ,
    member_identity,
)
from clave_client.rooms.roster import Roster
from clave_client.store.database import Phase, Store
from clave_crypto.mls import Group, KeyPackageBundle, MLSError
from clave_wire.messages import Invitation, TakeInvitation
from clave_wire.text import sanitize

if TYPE_CHECKING:
    from clave_client.sync.room_sync import RoomSync

__all__ = ["MOST_OPEN", "MOST_OPEN_OF_ONE", "Invitations"]

MOST_OPEN = 100
"""Invitations without an answer, of strangers; twice as many with those of devices one shares a room with."""

MOST_OPEN_OF_ONE = 6
"""Invitations of one device without an answer. An account has 16 at most, which leaves some places."""

_MOST_HELD = 16
"""Welcomes held, each of up to some megabytes; those of who sent most go first, until the next login."""

_MOST_COMMITS = 1 << 52
"""An epoch that no room comes to by commits; frames count further."""


class Invitations:
    """The invitations of one session."""

    def __init__(self, session: RoomSync, store: Store) -> None:
        self._session = session
        self._store = store
        self._deferred: dict[int, tuple[Invitation, bytes]] = {}
        self._told: set[tuple[bytes, bytes]] = set()

    def handle(self, invitation: Invitation) -> None:
        """Open an invitation and keep it; whether the person wants it is asked afterwards."""
        self._handle(invitation, self._session.incarnation)

    def retry_deferred(self, room: bytes | None = None) -> None:
        """Take what was held for one room, or for all, and can be taken by now: they are over or answered."""
        for invitation, incarnation in list(self._deferred.values()):
            if room not in (None, invitation.room):
                continue
            known = self._session.rooms.get(invitation.room)
            is_open = known is not None and known.record.phase is Phase.INVITED
            if self._session.is_online and not is_open and (known is None or _may_enter(known)):
                self._handle(invitation, incarnation)

    def _handle(self, invitation: Invitation, incarnation: bytes) -> None:
        self._deferred.pop(invitation.id, None)
        known = self._session.rooms.get(invitation.room)
        try:
            brought = parse_invitation(invitation.welcome)
            if isinstance(brought, RejoinInfo):
                if known is not None:
                    self._session.handle_rejoin_info(known, brought)
            elif self._store.is_welcome_used(invitation.room + invitation.welcome):
                self._report_used(invitation)
            elif known is not None and not _may_enter(known):
                # Only the log ends a membership: a welcome to the same room counts once that has happened.
                self._defer(invitation, incarnation)
                if known.cannot_follow:
                    self._session.restart_resume(known)
                return
            elif not self._open(invitation, brought, known, incarnation):
                self._defer(invitation, incarnation)
                return
        except MLSError as error:
            self._tell(f"{self._words(invitation)} could not be used: {sanitize(str(error))}")
        except PeerError as error:
            self._tell(f"{self._words(invitation)} was refused: {error}; ask to be removed and invited again")
        self._session.link.send(TakeInvitation(self._session.link.next_id(), invitation.id))

    def _defer(self, invitation: Invitation, incarnation: bytes) -> None:
        if len(self._deferred) >= _MOST_HELD:
            senders = Counter(self._sender(one) for one, _ in self._deferred.values())
            ((sender, _),) = senders.most_common(1)
            del self._deferred[
                next(key for key, (one, _) in self._deferred.items() if self._sender(one) == sender)
            ]
        self._deferred[invitation.id] = invitation, incarnation

    def _sender(self, invitation: Invitation) -> bytes:
        """Return the account that an invitation comes from, or the device where that is not known."""
        known = self._session.rooms.get(invitation.room)
        person = None if known is None else known.roster.find(invitation.sender)
        return invitation.sender if person is None else person.account

    def _report_used(self, invitation: Invitation) -> None:
        """Leave a welcome that was used alone: the relay was not told that it is, or brings it once more."""
        record = self._store.room(invitation.room)
        if record is not None and invitation.room not in self._session.rooms:
            self._tell(f"an invitation to {record.title} was refused: it is an old one")

    def _open(
        self, invitation: Invitation, brought: Welcome | bytes, known: LocalRoom | None, incarnation: bytes
    ) -> bool:
        """Join the group of a welcome; False if that has to wait. Raises `MLSError` and `PeerError`."""
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
        check_names_differ(group)
        if self._store.has_joined_epoch(group.epoch_authenticator):
            # A relay can bring a welcome again, and the private half of a last resort is kept: to enter
            # an epoch a second time would be to use its keys a second time.
            if known is None:
                title = sanitize(agreed_state(group.extensions).title)
                self._tell(f"an invitation to {title} was refused: it is an old one")
            return True
        welcomed = JoinPoint(None, invitation.seq, incarnation)
        signer = group.own_leaf if group.welcomed_by is None else group.welcomed_by
        if group.member(signer).signature_key != invitation.sender:
            raise PeerError("the relay names another sender than who made it")
        if isinstance(brought, Welcome):
            brought.check(epoch_id(group), group.member(signer).signature_key)
            welcomed = dataclasses.replace(welcomed, seen=brought.seen)
        inviter = Roster(group, self._store).person(group.member(signer))
        if self._must_wait(inviter, known):
            return False
        with self._store.transaction():
            room = LocalRoom.join(self._store, group, welcomed, self._session.clock)
            self._store.note_joined_epoch(group.epoch_authenticator)
            self._store.note_welcome_used(invitation.room + invitation.welcome)
            for reference in used:
                self._store.drop_bundle(reference)
        self._session.rooms[room.id] = room
        self._session.unusable.pop(room.id, None)
        self._session.emit(room.invitation())
        return True

    def _must_wait(self, inviter: Person, known: LocalRoom | None) -> bool:
        """Whether an invitation is held: another one's is open for the room, or too many are.

        They are counted by device, as the relay knows those: accounts can be made up in a group of one's own.
        """
        if known is not None:
            former = known.roster.inviting_member()
            is_anothers = former is not None and member_identity(former).account != inviter.account
            if known.record.phase is not Phase.INVITED or not is_anothers:
                return False
            text = (
                f"{inviter.name} invites you to {known.record.title} too; to be asked that, decline the other"
            )
            self._tell_once(known.id, inviter.account, text)
            return True
        invited = [room for room in self._session.rooms.values() if room.record.phase is Phase.INVITED]
        inviters = [each for room in invited if (each := room.roster.inviting_member()) is not None]
        of_one = sum(each.signature_key == inviter.device for each in inviters)
        most = 2 * MOST_OPEN if self._is_acquainted(inviter.device) else MOST_OPEN
        if len(invited) >= most or of_one >= MOST_OPEN_OF_ONE:
            text = f"{len(invited)} invitations wait for an answer; others come once some are answered"
            self._tell_once(b"", b"", text)
            return True
        return False

    def _is_acquainted(self, device: bytes) -> bool:
        """Whether this device shares a room with another one."""
        rooms = self._session.rooms.values()
        return any(room.roster.has(device) for room in rooms if room.record.phase is Phase.JOINED)

    def _words(self, invitation: Invitation) -> str:
        """Return what to call an invitation that cannot be used, as far as is known."""
        known = self._session.rooms.get(invitation.room)
        if known is None:
            return "an invitation"
        sender = known.roster.find(invitation.sender)
        by = "" if sender is None else f" by {sender.name}"
        return f"an invitation to {known.record.title}{by}"

    def _tell_once(self, room: bytes, account: bytes, text: str) -> None:
        if (room, account) not in self._told and len(self._told) < MOST_OPEN:
            self._told.add((room, account))
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._session.emit(events.Notice(b"", text))


def _may_enter(room: LocalRoom) -> bool:
    """Whether a room may be entered anew: whoever cannot follow it takes the relay's word for being out."""
    return room.record.phase not in (Phase.JOINED, Phase.LEAVING) or (room.cannot_follow and room.not_routed)
