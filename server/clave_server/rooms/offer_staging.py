"""Stages offers: each with the submission that it came with, or alone. Knows no disk and no network."""

from __future__ import annotations

from clave_server.limits.quotas import QuotaTracker
from clave_server.rooms.channel import Channel
from clave_server.rooms.links import is_join
from clave_server.rooms.offers import OfferRow
from clave_server.rooms.room_state import RoomState
from clave_server.rooms.session import Session
from clave_server.rooms.write_batch import WriteBatch
from clave_wire.limits import MAX_WELCOME_BYTES
from clave_wire.messages import Kind, Offer, Submit

__all__ = ["begins_epoch", "receive_offer", "stage_offer_of", "take_offer"]


def receive_offer(
    batch: WriteBatch, channel: Channel, session: Session, offer: Offer, quotas: QuotaTracker
) -> None:
    """Stage an offer, or keep it in the session until the submission that it comes with."""
    if len(offer.group_info) > MAX_WELCOME_BYTES:
        return
    if offer.submission:
        session.offer = offer
    else:
        _stage(batch, channel, session, offer, quotas, settles=False)


def take_offer(session: Session, submit: Submit) -> Offer | None:
    """Return the offer that came with a submission, if one did; the session keeps it no longer."""
    offer = session.offer
    if offer is None or (offer.room, offer.submission) != (submit.room, submit.submission):
        return None
    session.offer = None
    return offer


def begins_epoch(room: RoomState, name: str, submit: Submit, *, confirms: bool) -> bool:
    """Return whether an epoch begins with a submission of the account `name`, as far as the relay can tell.

    A confirmation does if it `confirms` a rekey, and a rekey by a member if nobody else could confirm it.
    """
    match submit.kind:
        case Kind.COMMIT:
            return True
        case Kind.CONFIRM:
            return confirms
        case Kind.REKEY:
            return not is_join(submit) and set(room.members.values()) == {name}
    return False


def stage_offer_of(
    batch: WriteBatch,
    channel: Channel,
    session: Session,
    submit: Submit,
    quotas: QuotaTracker,
    *,
    confirms: bool,
) -> None:
    """Stage the offer that came with a submission, which is staged, if one did."""
    offer = take_offer(session, submit)
    if offer is not None:
        settles = begins_epoch(channel.room, session.name, submit, confirms=confirms)
        _stage(batch, channel, session, offer, quotas, settles=settles)


def _stage(
    batch: WriteBatch,
    channel: Channel,
    session: Session,
    offer: Offer,
    quotas: QuotaTracker,
    *,
    settles: bool,
) -> None:
    """Stage an offer of a member; of an account that may store no more, only which links are live."""
    room = channel.room
    if session.device not in room.members:
        return
    batch.touch(channel)
    room.stage_links(offer.links, settles=settles)
    if not quotas.is_full(session.usage):
        row = OfferRow.of(offer, session.usage.account, room.seq, settled=settles)
        batch.changes.offers.append(row)
        batch.offers.append((session.usage, len(offer.group_info)))
        session.usage.staged += len(offer.group_info)
