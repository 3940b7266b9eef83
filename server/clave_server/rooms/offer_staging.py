"""Stages offers: each with the submission that it came with, or alone. Knows no disk and no network."""

from __future__ import annotations

from typing import Final

from clave_server.limits.quotas import QuotaTracker
from clave_server.rooms.channel import Channel
from clave_server.rooms.header_checks import read_header
from clave_server.rooms.joining import ordinary_accounts
from clave_server.rooms.offers import OfferRow
from clave_server.rooms.room_state import RoomState
from clave_server.rooms.session import Session
from clave_server.rooms.write_batch import WriteBatch
from clave_wire.limits import MAX_WELCOME_BYTES
from clave_wire.messages import Kind, Offer, Submit

__all__ = ["MAX_WAITING_BYTES", "OfferStaging", "begins_epoch"]

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of group infos that wait for their submissions, of all sessions; above that the oldest is dropped."""


class OfferStaging:
    """Stages offers; those made with a submission wait in `Session.offer` until that is staged."""

    def __init__(self, quotas: QuotaTracker) -> None:
        self._quotas = quotas
        self._waiting: dict[Session, int] = {}
        self._size = 0

    def receive(self, batch: WriteBatch, channel: Channel, session: Session, offer: Offer) -> None:
        """Stage an offer, or keep it until the submission that it comes with."""
        if len(offer.group_info) > MAX_WELCOME_BYTES or session.over:
            return
        if not offer.submission:
            self._stage(batch, channel, session, offer, settles=False)
            return
        self.drop(session)
        session.offer = offer
        self._waiting[session] = len(offer.group_info)
        self._size += len(offer.group_info)
        while self._size > MAX_WAITING_BYTES:
            self.drop(next(iter(self._waiting)))

    def drop(self, session: Session) -> None:
        """Drop the offer of a session that waits, if one does."""
        session.offer = None
        self._size -= self._waiting.pop(session, 0)

    def take(self, session: Session, submit: Submit) -> Offer | None:
        """Return the offer that came with a submission, if one did; it waits no longer."""
        offer = session.offer
        if offer is None or (offer.room, offer.submission) != (submit.room, submit.submission):
            return None
        self.drop(session)
        return offer

    def stage_with(
        self, batch: WriteBatch, channel: Channel, session: Session, submit: Submit, *, confirms: bool
    ) -> None:
        """Stage the offer that came with a submission, which is staged, if one did.

        `confirms` says that the submission confirmed a rekey.
        """
        offer = self.take(session, submit)
        if offer is not None:
            settles = begins_epoch(channel.room, session.name, submit, confirms=confirms)
            self._stage(batch, channel, session, offer, settles=settles)

    def _stage(
        self, batch: WriteBatch, channel: Channel, session: Session, offer: Offer, *, settles: bool
    ) -> None:
        """Stage an offer of an ordinary member; of an account that may store no more, only its links."""
        room = channel.room
        if session.device not in room.members or session.device in room.joining:
            return
        batch.touch(channel)
        room.stage_links(offer.links, settles=settles)
        if settles:
            batch.changes.settled.add(room.id)
        if not self._quotas.is_full(session.usage):
            row = OfferRow.of(offer, session.usage.account, room.seq, settled=settles)
            batch.changes.offers.append(row)
            batch.offers.append((session.usage, len(offer.group_info)))
            session.usage.staged += len(offer.group_info)


def begins_epoch(room: RoomState, name: str, submit: Submit, *, confirms: bool) -> bool:
    """Return whether an epoch begins with a submission of the account `name`, as far as the relay can tell.

    A confirmation does if it `confirms` a rekey, and a rekey if nobody else could confirm it, as all others
    are of its account, joining, or removed by it.
    """
    match submit.kind:
        case Kind.COMMIT:
            return True
        case Kind.CONFIRM:
            return confirms
        case Kind.REKEY:
            removed = read_header(submit).remove
            left = {device: other for device, other in room.members.items() if device not in removed}
            return ordinary_accounts(left, room.joining) == {name}
    return False
