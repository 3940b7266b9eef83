"""One room as far as its links go: what is offered to their holders, and how this device joined by one.

A part of `LocalRoom`. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

import msgspec

from clave_client.formats.composing import Outgoing
from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.link_offers import make_offer
from clave_client.rooms.policy import agreed_state
from clave_client.rooms.room_messages import RoomMessages
from clave_client.store.database import Store
from clave_client.values import Phase
from clave_crypto.mls import Group, MLSError
from clave_wire.header import split_payload
from clave_wire.messages import Kind, Offer, Submit

__all__ = ["LinkRoom"]

_MOST_BEHIND: Final = 1000
"""Entries after which an epoch is offered again: who joins reads the log from where the offer had seen it."""

_OFFERING: Final = frozenset({Kind.COMMIT, Kind.REKEY, Kind.CONFIRM})


class LinkRoom(RoomMessages):
    """A room with its links; the base of `LocalRoom`.

    `offer_due` says that the relay may have lost what it keeps for holders of links.
    """

    offer_due = False

    @property
    def must_offer(self) -> bool:
        """Whether some member has to offer the present epoch again: it may be lost, or of long ago."""
        is_old = 0 < self.offered_at < self.record.cursor - _MOST_BEHIND
        return self.offer_due or is_old

    def note_offered(self) -> None:
        """Note that the present epoch is offered as of now (in a transaction)."""
        self.offer_due = False
        offered_at = self.record.cursor if self.state.links else 0
        if offered_at != self.offered_at:
            self.offered_at = offered_at
            self.put_part("offered", offered_at.to_bytes(8, "big") if offered_at else None)

    # --- joined by a link ---

    @classmethod
    def join_by_link(
        cls,
        store: Store,
        group: Group,
        join_point: JoinPoint,
        joining: JoinRecord,
        submission: int,
        clock: Callable[[], float],
        former: LinkRoom | None = None,
    ) -> Self:
        """Store a group that this device joined by a link, with its `submission`, the entry at `join_point`.

        `former` is the same room after a join that was superseded: what was said there is sent again.
        """
        with store.transaction():
            waiting = [] if former is None else store.outbox(former.id, -1)
            room = cls._store_new(store, group, Phase.JOINED, join_point, clock, join_point.incarnation)
            room.epochs.begin(b"", room.record.cursor)
            room.set(submission=max(submission, room.record.submission))
            room.put_part("submissions before", submission.to_bytes(8, "big"))
            room._save()
            room.set_joining(joining)
            room.note_offered()
            for item in waiting:
                again = Outgoing(item.id, item.kind, item.data, item.body, item.target)
                room.outbox.append(again, item.sent_at)
            if former is not None:
                room.resend_after(former.record.began)
        return room

    def set_joining(self, joining: JoinRecord | None) -> None:
        """Store how far this device has joined, None once that is certain (in a transaction)."""
        is_certain = joining is not None and joining.let_in and joining.vouched
        self.joining = None if is_certain else joining
        self.put_part("joining", None if self.joining is None else self.joining.encode())

    @property
    def awaits_entry(self) -> bool:
        """Whether no member has confirmed yet that this device joined by a link."""
        return self.joining is not None and not self.joining.let_in

    def note_let_in(self, account: bytes, *, is_vouched: bool) -> None:
        """Note that a member of `account` confirmed that this device joined (in a transaction)."""
        if self.joining is not None:
            self.epochs.begin(account, self.record.cursor)
            self.set_joining(
                msgspec.structs.replace(self.joining, let_in=True, vouched=is_vouched, rekeys=[])
            )

    def note_superseded(self, seq: int) -> None:
        """Note that members began another epoch, by entry `seq`, before they let this device in."""
        if self.joining is not None:
            self.set(lost=seq)
            self.set_joining(msgspec.structs.replace(self.joining, superseded=True))

    def note_vouched(self) -> None:
        """Note that the inviter, or somebody verified, is in this device's epoch (in a transaction)."""
        if self.joining is not None:
            self.set_joining(msgspec.structs.replace(self.joining, vouched=True))

    # --- offered to others ---

    def offer_for(self, submit: Submit) -> Offer | None:
        """Return what the relay has to keep with a submission that begins an epoch, for holders of links.

        None if it begins none, or the room has no links before and after it.
        """
        if submit.kind not in _OFFERING:
            return None
        successor = self._group_begun_by(submit)
        if successor is None or not (self.state.links or agreed_state(successor.extensions).links):
            return None
        return make_offer(successor, self.chain.seen(), self.clock(), submit.submission)

    def offer(self) -> Offer | None:
        """Return what the relay has to keep of the present epoch, None in a room without links."""
        if not self.state.links or self.cannot_follow or self.awaits_entry:
            return None
        return make_offer(self.group, self.chain.seen(), self.clock())

    def _group_begun_by(self, submit: Submit) -> Group | None:
        """Return the group whose epoch a submission begins once it is accepted, None if it begins none.

        None also for a confirmation that leads from a room without links to one without.
        """
        if submit.kind is Kind.CONFIRM:
            rekey = self.rekeys.find(split_payload(submit.payload)[0].ref)
            if rekey is None or not (self.state.links or rekey.changes_state):
                return None
            group = self.copy_group()
            try:
                group.receive(rekey.parsed.body)
            except MLSError:
                return None
            return group
        removed = split_payload(submit.payload)[0].remove
        begins = submit.kind is Kind.COMMIT or not self.roster.others(self.account, removed)
        return self.commits.successor if begins and self.commits.is_newest(submit.payload) else None
