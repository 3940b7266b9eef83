"""Opens invitations from the relay: welcomes for the user to answer, and rejoin infos. Knows no log.

A welcome is *deferred* while it has to wait: for the log to end a membership, or for an answer to another
one. The relay keeps it and brings it again at each login.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from clave_client import events
from clave_client.errors import PeerError, RoomBehind, RoomUnreadable
from clave_client.events import Person
from clave_client.formats.payload import epoch_id
from clave_client.formats.welcome import JoinPoint, RejoinInfo, Welcome, parse_invitation
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import (
    ROOM_LIMITS,
    RoomPolicy,
    agreed_state,
    check_direct,
    check_names_differ,
)
from clave_client.rooms.roster import Roster
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.sync.context import SyncContext
from clave_client.values import Phase
from clave_crypto.mls import Group, KeyPackageBundle, MLSError
from clave_wire.messages import Invitation, TakeInvitation
from clave_wire.text import sanitize

__all__ = ["MOST_OPEN", "MOST_OPEN_OF_ONE", "InvitationContext", "Invitations"]

MOST_OPEN = 100
"""Most unanswered invitations when a stranger invites; twice as many for a device that shares a room."""

MOST_OPEN_OF_ONE = 6
"""Most unanswered invitations of one device; an account has at most 16 devices."""

_MOST_DEFERRED = 16
"""Most deferred welcomes, of up to some megabytes each; beyond it drop one of the account that has most."""

_MAX_EPOCH = 1 << 52
"""Epochs from here on are refused: no room reaches them by commits, and wire integers end soon after."""


class InvitationContext(SyncContext, Protocol):
    """What invitations need of a `RoomSync`."""

    @property
    def incarnation(self) -> bytes:
        """The relay's incarnation, as of the last login."""

    @property
    def unusable(self) -> dict[bytes, RoomUnreadable | RoomBehind]:
        """The rooms that cannot be used and why, by id."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock, in seconds since 1970."""

    def handle_rejoin_info(self, room: LocalRoom, rejoin_info: RejoinInfo) -> None:
        """Try to rejoin with what a member sealed for this device."""

    def is_revoked(self, device: bytes) -> bool:
        """Return whether this account has revoked a device."""

    def note_brought(self, room: LocalRoom) -> None:
        """Answer the invitation by another device of this account as soon as it is known to be one."""

    def submit_noted(self, room: LocalRoom) -> None:
        """Submit what is due in a room, after resuming it if that was not asked for yet."""


class Invitations:
    """The invitations of one profile."""

    def __init__(self, sync: InvitationContext, store: Store, account: Account) -> None:
        self._sync = sync
        self._store = store
        self._account = account
        self.deferred: dict[int, tuple[Invitation, bytes]] = {}
        self._notified: set[tuple[bytes, bytes]] = set()

    def handle(self, invitation: Invitation) -> None:
        """Join the group of a welcome and ask the user, or use a rejoin info."""
        self._handle(invitation, self._sync.incarnation)

    def retry_deferred(self, room: bytes | None = None) -> None:
        """Handle the deferred welcomes of a room, or with None of all, that need not wait any longer."""
        for invitation, incarnation in list(self.deferred.values()):
            if room not in (None, invitation.room):
                continue
            known = self._sync.rooms.get(invitation.room)
            is_open = known is not None and known.record.phase is Phase.INVITED
            if self._sync.is_online and not is_open and (known is None or _can_join(known)):
                self._handle(invitation, incarnation)

    def _handle(self, invitation: Invitation, incarnation: bytes) -> None:
        self.deferred.pop(invitation.id, None)
        known = self._sync.rooms.get(invitation.room)
        try:
            brought = parse_invitation(invitation.welcome)
            if isinstance(brought, RejoinInfo):
                if known is not None:
                    self._sync.handle_rejoin_info(known, brought)
            elif self._store.is_welcome_used(invitation.room + invitation.welcome):
                self._report_used(invitation)
            elif known is not None and not _can_join(known):
                # Only the log ends a membership; until then a welcome to the same room waits.
                self._defer(invitation, incarnation)
                if known.cannot_follow:
                    self._sync.restart_resume(known)
                return
            elif not self._open(invitation, brought, known, incarnation):
                self._defer(invitation, incarnation)
                return
        except MLSError as error:
            self._notify(f"{self._description(invitation)} could not be used: {sanitize(str(error))}")
        except PeerError as error:
            self._notify(
                f"{self._description(invitation)} was refused: {error}; ask to be removed and invited again"
            )
        transport = self._sync.transport
        transport.send(TakeInvitation(transport.next_id(), invitation.id))

    def _defer(self, invitation: Invitation, incarnation: bytes) -> None:
        if len(self.deferred) >= _MOST_DEFERRED:
            senders = Counter(self._sender(one) for one, _ in self.deferred.values())
            ((sender, _),) = senders.most_common(1)
            del self.deferred[
                next(key for key, (one, _) in self.deferred.items() if self._sender(one) == sender)
            ]
        self.deferred[invitation.id] = invitation, incarnation

    def _sender(self, invitation: Invitation) -> bytes:
        """Return the account that sent an invitation, or its device if the account is not known."""
        known = self._sync.rooms.get(invitation.room)
        person = None if known is None else known.roster.find(invitation.sender)
        return invitation.sender if person is None else person.account

    def _report_used(self, invitation: Invitation) -> None:
        """Report a welcome that was used before, unless its room is in use."""
        record = self._store.room(invitation.room)
        if record is not None and invitation.room not in self._sync.rooms:
            self._notify(f"an invitation to {record.title} was refused: it is an old one")

    def _open(
        self, invitation: Invitation, brought: Welcome | bytes, known: LocalRoom | None, incarnation: bytes
    ) -> bool:
        """Join the group of a welcome; return False if that has to wait. Raises `MLSError`, `PeerError`."""
        used: list[bytes] = []
        # A welcome can name very many key packages: query the store once.
        held = self._store.bundle_references()

        def find(reference: bytes) -> KeyPackageBundle | None:
            if reference not in held:
                return None
            used.append(reference)
            return self._account.bundle(reference)

        message = brought.message if isinstance(brought, Welcome) else brought
        others = self._sync.rooms.keys() - {invitation.room}
        group = Group.join(message, find, policy=RoomPolicy(), other_groups=others, limits=ROOM_LIMITS)
        if group.group_id != invitation.room:
            raise PeerError("it came under another room's id")
        if group.epoch >= _MAX_EPOCH:
            raise PeerError("its room's epoch cannot be")
        check_names_differ(group)
        check_direct(group)
        if self._store.has_joined_epoch(group.epoch_authenticator):
            # The private half of a last-resort package is kept, so a welcome brought again still opens;
            # entering an epoch twice would use its keys twice.
            if known is None:
                title = sanitize(agreed_state(group.extensions).title)
                self._notify(f"an invitation to {title} was refused: it is an old one")
            return True
        join_point = JoinPoint(None, invitation.seq, incarnation)
        signer = group.own_leaf if group.welcomed_by is None else group.welcomed_by
        if group.member(signer).signature_key != invitation.sender:
            raise PeerError("the relay names another sender than who made it")
        if isinstance(brought, Welcome):
            brought.check(epoch_id(group), group.member(signer).signature_key)
            join_point = dataclasses.replace(join_point, seen=brought.seen)
        inviter = Roster.of(group, self._store).person(group.member(signer))
        is_blocked = self._store.is_blocked(inviter.account)
        if is_blocked and known is not None:
            return True  # another's invitation, or a room in use, is not touched
        own = self._account.verified.account
        is_own = inviter.account == own and not self._sync.is_revoked(inviter.device)
        if not (is_blocked or is_own) and self._must_wait(inviter, known):
            return False
        with self._store.transaction():
            room = LocalRoom.join(self._store, group, join_point, self._sync.clock)
            self._store.note_joined_epoch(group.epoch_authenticator)
            self._store.note_welcome_used(invitation.room + invitation.welcome)
            for reference in used:
                self._account.drop_used(group.suite, reference)
            if any(map(self._account.is_restored, used)):
                room.epochs.set_restored(restored=True)
            if is_blocked:
                room.refuse()
            elif not is_own:
                self._sync.emit(room.invitation())
        self._sync.rooms[room.id] = room
        self._sync.unusable.pop(room.id, None)
        if is_blocked:
            self._sync.submit_noted(room)
        if is_own:
            self._sync.note_brought(room)
        return True

    def _must_wait(self, inviter: Person, known: LocalRoom | None) -> bool:
        """Return whether a welcome waits: for another inviter's to the same room, or for too many open ones.

        They are counted by device, which the relay verifies; whoever makes a group can make accounts up.
        """
        if known is not None:
            inviting = known.roster.inviting_member()
            is_others = inviting is not None and inviting.account != inviter.account
            if known.record.phase is not Phase.INVITED or not is_others:
                return False
            text = (
                f"{inviter.name} invites you to {known.record.title} too; to be asked that, decline the other"
            )
            self._notify_once(known.id, inviter.account, text)
            return True
        invited = [room for room in self._sync.rooms.values() if room.record.phase is Phase.INVITED]
        inviters = [each for room in invited if (each := room.roster.inviting_member()) is not None]
        of_one = sum(each.signature_key == inviter.device for each in inviters)
        most = 2 * MOST_OPEN if self._is_acquainted(inviter.device) else MOST_OPEN
        if len(invited) >= most or of_one >= MOST_OPEN_OF_ONE:
            text = f"{len(invited)} invitations wait for an answer; others come once some are answered"
            self._notify_once(b"", b"", text)
            return True
        return False

    def _is_acquainted(self, device: bytes) -> bool:
        """Return whether this device shares a joined room with another one."""
        rooms = self._sync.rooms.values()
        return any(room.roster.has(device) for room in rooms if room.record.phase is Phase.JOINED)

    def _description(self, invitation: Invitation) -> str:
        """Return words for an invitation that cannot be used, as far as it is known."""
        known = self._sync.rooms.get(invitation.room)
        if known is None:
            return "an invitation"
        sender = known.roster.find(invitation.sender)
        by = "" if sender is None else f" by {sender.name}"
        return f"an invitation to {known.record.title}{by}"

    def _notify_once(self, room: bytes, account: bytes, text: str) -> None:
        if (room, account) not in self._notified and len(self._notified) < MOST_OPEN:
            self._notified.add((room, account))
            self._notify(text)

    def _notify(self, text: str) -> None:
        self._sync.emit(events.Notice(b"", text))


def _can_join(room: LocalRoom) -> bool:
    """Return whether a room can be joined again: not a member, or cut off and not routed to any more."""
    return room.record.phase not in (Phase.JOINED, Phase.LEAVING) or (room.cannot_follow and room.not_routed)
