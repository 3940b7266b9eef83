"""Joins rooms by links, and again when another change came first. Knows no log.

The device finds the room by the link's key, takes what a member offers, and submits an external commit, which
another account confirms. What it says meanwhile is read once that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from clave_client import events
from clave_client.errors import (
    ClientError,
    LinkUnusable,
    PeerError,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
)
from clave_client.events import Person
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import rekey_id
from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.commit_builder import LinkJoin, build_link_join
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.link_offers import OpenedOffer, open_offer
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogMessage
from clave_client.rooms.policy import agreed_state, check_direct, check_names_differ
from clave_client.rooms.roster import Roster
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.sync.context import SyncContext
from clave_client.values import Phase
from clave_crypto.mls import MLSError
from clave_wire.messages import Accepted, Code, FindLink, Kind, LinkOffer, Rejected, Submit
from clave_wire.text import sanitize

__all__ = ["RELAY_TOO_OLD", "LinkJoinContext", "LinkJoins"]

RELAY_TOO_OLD: Final = "this relay is too old for links; ask its operator to update it"

_TRIES: Final = 16
"""How often a join is tried at once while others change the room."""

_PAUSE_SECONDS: Final = 2.0

_IN: Final = (Phase.INVITED, Phase.JOINED)

_AGAIN: Final = {Code.STALE, Code.OUT_OF_ORDER, Code.RENUMBER}
_LATER: Final = {Code.PACE, Code.STORAGE}

_REASONS: Final = {
    Code.NO_SUCH_LINK: "its relay does not know this link: nobody has confirmed it yet, or it is of long ago",
    Code.LINK_EXPIRED: "this link has expired",
    Code.LINK_REVOKED: "this link was revoked",
    Code.LINK_USED_UP: "this link is used up",
}
"""Why a link is of no use, by the relay's refusal."""

_NEW_ONE: Final = "ask for a new one"


class LinkJoinContext(SyncContext, Protocol):
    """What joins need of a `RoomSync`."""

    @property
    def incarnation(self) -> bytes:
        """The relay's incarnation, as of the last login."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock, in seconds since 1970."""

    def resume(self, room: LocalRoom) -> None:
        """Ask for a room's entries after its cursor, if there is a connection."""

    def handle_closed(self, room: LocalRoom, by: Person | None = None) -> None:
        """Drop a room this device is no longer in."""


class LinkJoins:
    """The joins by links of one profile."""

    def __init__(self, sync: LinkJoinContext, store: Store, account: Account) -> None:
        self._sync = sync
        self._store = store
        self._account = account
        self._answers: dict[bytes, asyncio.Future[Accepted | Rejected]] = {}
        self._repeating: set[bytes] = set()

    def handle(self, room: bytes, batch: Sequence[LogMessage]) -> bool:
        """Take the relay's answer to a join; return whether one waits for the room."""
        answer = self._answers.get(room)
        if answer is None:
            return False
        for message in batch:
            if isinstance(message, Accepted | Rejected) and not answer.done():
                answer.set_result(message)
        return True

    async def join(
        self,
        secret: LinkSecret,
        is_inviter: Callable[[bytes], bool],
        check: Callable[[Person], None],
        former: LocalRoom | None = None,
    ) -> LocalRoom:
        """Join the room of a link; return it once the relay has it on disk, or if it is known already.

        `is_inviter` tells whether an account made the link, `check` raises what keeps this device from
        joining a room of that person. `former` is the same room after a join that was superseded. Raises
        `LinkUnusable`, or `ClientError` when the relay or all that members offer is of no use.
        """
        for _ in range(_TRIES):
            left = None if former is None or former.joining is None else former.joining.head
            offer, opened, built, inviter = await self._find(secret, is_inviter, left)
            check(inviter)
            known = self._sync.rooms.get(offer.room)
            if known is not None and known is not former and known.record.phase in _IN:
                return known
            answer = await self._submit(offer, built)
            if isinstance(answer, Accepted):
                return self._enter(secret, inviter.account, opened, built, answer, former)
            if answer.code in _LATER:
                await asyncio.sleep(_PAUSE_SECONDS)
            elif answer.code not in _AGAIN:
                raise _error(answer.code, answer.text)
        raise ClientError("others keep changing the room at the same time; try again")

    async def _find(
        self, secret: LinkSecret, is_inviter: Callable[[bytes], bool], left: bytes | None
    ) -> tuple[LinkOffer, OpenedOffer, LinkJoin, Person]:
        """Return the first offer of a link that leads to a room of its inviter, and the join by it.

        `left` is the epoch that members have left, as this device knows: no offer of it is of use.
        """
        place, offers, reason = 0, 1, ""
        while place < offers:
            offer = await self._ask(secret, place)
            place, offers = place + 1, offer.offers
            try:
                opened = open_offer(offer, secret)
                if opened.head == left:
                    raise PeerError("the room has changed since; it works once a member is there")
                built = self._build(offer, opened, secret)
                return offer, opened, built, self._find_inviter(built, secret, is_inviter)
            except (MLSError, PeerError) as error:
                reason = reason or sanitize(str(error))
        raise LinkUnusable(f"you cannot join by this link now: {reason}")

    async def _ask(self, secret: LinkSecret, place: int) -> LinkOffer:
        transport = self._sync.transport
        if not transport.connection.has_links:
            raise RelayFault(RELAY_TOO_OLD)
        try:
            answer = await transport.request(lambda request: FindLink(request, secret.key, place))
        except RelayRefused as error:
            raise _error(error.code, str(error)) from None
        if not isinstance(answer, LinkOffer):
            raise RelayFault("the relay answered something else than was asked")
        return answer

    def _build(self, offer: LinkOffer, opened: OpenedOffer, secret: LinkSecret) -> LinkJoin:
        """Build the join by an offer. Raises `MLSError` or `PeerError` if it is of no use."""
        built = build_link_join(
            opened.group_info,
            secret,
            head=opened.head,
            seen=opened.seen,
            account=self._account.verified,
            identity=self._account.identity,
            device=self._account.device,
        )
        if built.group.group_id != offer.room:
            raise PeerError("it is of another room than the relay says")
        check_names_differ(built.group)
        check_direct(built.group)
        link = agreed_state(built.group.extensions).find_link(secret.key)
        if link is None:
            raise PeerError("the link was revoked")
        if link.kem_key != secret.kem_keys(built.group.suite)[1]:
            raise PeerError("the link has another key there")
        if link.not_after <= self._sync.clock():
            raise PeerError("the link has expired")
        return built

    def _find_inviter(
        self, built: LinkJoin, secret: LinkSecret, is_inviter: Callable[[bytes], bool]
    ) -> Person:
        """Return who made the link, as a member of the room. Raises `PeerError` if nobody there did."""
        link = agreed_state(built.group.extensions).find_link(secret.key)
        for person in Roster.of(built.group, self._store).people().values():
            if link is not None and person.account == link.by and is_inviter(person.account):
                return person
        raise PeerError("whoever made the link is not in the room that it leads to")

    async def _submit(self, offer: LinkOffer, built: LinkJoin) -> Accepted | Rejected:
        """Submit the entry by which this device joins; return the relay's answer."""
        number, proof = offer.submission + 1, built.proof.encode()
        submit = Submit(offer.room, number, offer.handshake, Kind.REKEY, built.payload, proof)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Accepted | Rejected] = loop.create_future()
        transport = self._sync.transport
        self._answers[offer.room] = answer
        try:
            transport.send(submit)
            await asyncio.wait((answer, transport.closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._answers.pop(offer.room, None)
        if not answer.done():
            raise RelayUnreachable("the connection was lost before this device joined; try again")
        return answer.result()

    def _enter(
        self,
        secret: LinkSecret,
        inviter: bytes,
        opened: OpenedOffer,
        built: LinkJoin,
        accepted: Accepted,
        former: LocalRoom | None,
    ) -> LocalRoom:
        """Store the room that this device joined with the entry `accepted`, and read it."""
        sync = self._sync
        joining = JoinRecord(bytes(secret.seed), inviter, rekey_id(built.payload), opened.head)
        join_point = JoinPoint(opened.seen, accepted.seq, sync.incarnation)
        room = LocalRoom.join_by_link(
            self._store, built.group, join_point, joining, accepted.submission, sync.clock, former
        )
        sync.rooms[room.id] = room
        sync.resume(room)
        return room

    # --- joins that were superseded ---

    def repeats(self, room: LocalRoom) -> bool:
        """Join a room again by its link if no member has let this device in; return whether that is so.

        Members then have begun another epoch, or had the relay stop routing to this device.
        """
        if not room.awaits_entry:
            return False
        if (room.cannot_follow or room.not_routed) and room.id not in self._repeating:
            self._repeating.add(room.id)
            self._sync.spawn(lambda: self._repeat(room))
        return True

    async def _repeat(self, room: LocalRoom) -> None:
        joining, title = room.joining, room.record.title
        try:
            if joining is None or not self._sync.is_online:
                return
            await self.join(
                LinkSecret(joining.secret), lambda each: each == joining.inviter, lambda _: None, room
            )
            self._sync.emit(events.Notice(room.id, f"joined {title} again"))
        except RelayUnreachable:
            return  # tried again once the room is resumed
        except LinkUnusable as error:
            self._sync.emit(events.Notice(room.id, f"you did not get into {title}: {error}"))
            self._sync.emit(room.close(None))
            self._sync.handle_closed(room)
        finally:
            self._repeating.discard(room.id)

    # --- what others join by ---

    def offer_with(self, room: LocalRoom, submit: Submit) -> None:
        """Send what the relay is to keep with a submission that follows, for holders of links."""
        offer = room.offer_for(submit)
        if offer is not None and self._sync.transport.connection.has_links:
            self._sync.transport.send(offer)

    def offer_again(self, room: LocalRoom) -> None:
        """Have the relay keep again what holders of links need, if it is this device's turn."""
        if room.offer_due and not room.roster.own_rank(self._sync.online.get(room.id, set())):
            room.offer_due = False
            offer = room.offer()
            if offer is not None and self._sync.transport.connection.has_links:
                self._sync.transport.send(offer)


def _error(code: Code, text: str) -> ClientError:
    if code in _REASONS:
        return LinkUnusable(f"{_REASONS[code]}; {_NEW_ONE}")
    return RelayRefused(code, sanitize(text))
