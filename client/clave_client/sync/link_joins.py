"""Joins rooms by links, and again when another change came first. Knows no log.

The device finds the room by the link's key, takes what a member offers, and submits an external commit, which
another account confirms. What it says meanwhile is read once that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol

from clave_client import events
from clave_client.errors import (
    ClientError,
    LinkUnusable,
    NoOfferFits,
    PeerError,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
    RoomBehind,
    RoomUnreadable,
)
from clave_client.events import Person
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import rekey_id
from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.commit_builder import LinkJoin, build_link_join
from clave_client.rooms.join_record import JoinRecord
from clave_client.rooms.link_offers import OpenedOffer, make_offer, open_offer
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
_REPEAT_SECONDS: Final = 15.0
_MOST_REPEAT_SECONDS: Final = 900.0
"""Delays between two attempts to join again while no offer fits: each is twice the one before, up to that."""

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

    @property
    def unusable(self) -> dict[bytes, RoomUnreadable | RoomBehind]:
        """The rooms that cannot be used and why, by id."""

    def resume(self, room: LocalRoom) -> None:
        """Ask for a room's entries after its cursor, if there is a connection."""

    def handle_closed(self, room: LocalRoom, by: Person | None = None) -> None:
        """Drop a room this device is no longer in."""


class _Answer(NamedTuple):
    """The answer to a submission by which this device joins."""

    submission: int
    result: asyncio.Future[Accepted | Rejected]


class LinkJoins:
    """The joins by links of one profile."""

    def __init__(self, sync: LinkJoinContext, store: Store, account: Account) -> None:
        self._sync = sync
        self._store = store
        self._account = account
        self._answers: dict[bytes, _Answer] = {}
        self._repeating: set[bytes] = set()
        self._delays: dict[bytes, float] = {}
        self._one_at_a_time = asyncio.Lock()

    def take_answer(self, room: bytes, batch: list[LogMessage]) -> list[LogMessage]:
        """Take the relay's answer to a join out of a batch of a room; return the rest."""
        answer = self._answers.get(room)
        if answer is None:
            return batch
        rest: list[LogMessage] = []
        for message in batch:
            if not isinstance(message, Accepted | Rejected) or message.submission != answer.submission:
                rest.append(message)
            elif not answer.result.done():
                answer.result.set_result(message)
                former = self._sync.rooms.get(room)
                if isinstance(message, Accepted) and former is not None:
                    former.disconnected()  # what follows is of the membership that begins
        return rest

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
        async with self._one_at_a_time:
            return await self._join(secret, is_inviter, check, former)

    async def _join(
        self,
        secret: LinkSecret,
        is_inviter: Callable[[bytes], bool],
        check: Callable[[Person], None],
        former: LocalRoom | None,
    ) -> LocalRoom:
        unfit: set[object] = set()
        if former is not None and former.joining is not None and former.joining.superseded:
            unfit.add(former.joining.head)
        for _ in range(_TRIES):
            offer, opened, built, inviter = await self._find(secret, is_inviter, unfit)
            check(inviter)
            known = self._sync.rooms.get(offer.room)
            if known is not None and known is not former and known.record.phase in _IN:
                return known
            answer = await self._submit(offer, opened, built)
            if isinstance(answer, Accepted):
                return self._enter(secret, inviter.account, opened, built, answer, former)
            if answer.code in _LATER:
                await asyncio.sleep(_PAUSE_SECONDS)
            elif answer.code is Code.PRUNED:
                unfit.add(opened.seen)
            elif answer.code not in _AGAIN:
                raise _error(answer.code, answer.text)
        raise ClientError("others keep changing the room at the same time; try again")

    async def _find(
        self, secret: LinkSecret, is_inviter: Callable[[bytes], bool], unfit: Collection[object]
    ) -> tuple[LinkOffer, OpenedOffer, LinkJoin, Person]:
        """Return the first offer of a link that leads to a room of its inviter, and the join by it.

        `unfit` are the epochs that members have left, and the views that are too old, as this device knows.
        """
        place, offers, reason = 0, 1, ""
        while place < offers:
            offer = await self._ask(secret, place)
            place, offers = place + 1, offer.offers
            try:
                opened = open_offer(offer, secret)
                if opened.head in unfit or opened.seen in unfit:
                    raise PeerError("the room has changed since; try again once a member is there")
                return (offer, opened, *self._build(offer, opened, secret, is_inviter))
            except (MLSError, PeerError) as error:
                reason = reason or sanitize(str(error))
        raise NoOfferFits(f"you cannot join by this link now: {reason}")

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

    def _build(
        self,
        offer: LinkOffer,
        opened: OpenedOffer,
        secret: LinkSecret,
        is_inviter: Callable[[bytes], bool],
    ) -> tuple[LinkJoin, Person]:
        """Build the join by an offer; return it with who made the link, as a member of the room.

        Raises `MLSError` or `PeerError` if it is of no use.
        """
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
        for person in Roster.of(built.group, self._store).people().values():
            if person.account == link.by and is_inviter(person.account):
                return built, person
        raise PeerError("whoever made the link is not in the room that it leads to")

    async def _submit(self, offer: LinkOffer, opened: OpenedOffer, built: LinkJoin) -> Accepted | Rejected:
        """Submit the entry by which this device joins; return the relay's answer.

        With what it begins if only its own account's devices are there, as they confirm nothing.
        """
        number, proof = offer.submission + 1, built.proof.encode()
        submit = Submit(offer.room, number, offer.handshake, Kind.REKEY, built.payload, proof)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Accepted | Rejected] = loop.create_future()
        transport = self._sync.transport
        self._answers[offer.room] = _Answer(number, answer)
        try:
            if not Roster.of(built.group, self._store).others(self._account.verified.account):
                transport.send(make_offer(built.group, opened.seen, self._sync.clock(), number))
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
        sync.unusable.pop(room.id, None)
        self._delays.pop(room.id, None)
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
            work = self._repeat if room.record.phase is Phase.JOINED else self._give_up
            self._sync.spawn(lambda: work(room))
        return True

    async def _give_up(self, room: LocalRoom) -> None:
        """Close a room that this device did not get into, and wants to leave or cannot join."""
        self._repeating.discard(room.id)
        self._sync.emit(room.close(None))
        self._sync.handle_closed(room)

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
        except ClientError as error:
            if isinstance(error, LinkUnusable) and not isinstance(error, NoOfferFits):
                self._sync.emit(events.Notice(room.id, f"you did not get into {title}: {error}"))
                await self._give_up(room)
                return
            delay = self._delays.get(room.id, 0.0)
            self._delays[room.id] = min(2 * delay or _REPEAT_SECONDS, _MOST_REPEAT_SECONDS)
            if not delay:
                text = f"you are not in {title} yet: {error}; it is tried again"
                self._sync.emit(events.Notice(room.id, text))
            self._sync.later(self._delays[room.id], lambda: self._repeat_again(room))
        finally:
            self._repeating.discard(room.id)

    def _repeat_again(self, room: LocalRoom) -> None:
        if self._sync.is_online and self._sync.rooms.get(room.id) is room:
            self.repeats(room)

    # --- what others join by ---

    def offer_with(self, room: LocalRoom, submit: Submit) -> None:
        """Send what the relay is to keep with a submission that follows, for holders of links."""
        offer = room.offer_for(submit)
        if offer is not None and self._sync.transport.connection.has_links:
            self._sync.transport.send(offer)

    def offer_again(self, room: LocalRoom) -> None:
        """Have the relay keep again what holders of links need, if it is this device's turn."""
        if room.must_offer and not room.roster.own_rank(self._sync.online.get(room.id, set())):
            offer = room.offer()
            with room.changing():
                room.note_offered()
            if offer is not None and self._sync.transport.connection.has_links:
                self._sync.transport.send(offer)


def _error(code: Code, text: str) -> ClientError:
    if code is Code.NO_SUCH_LINK:
        return NoOfferFits(f"{_REASONS[code]}; {_NEW_ONE}")
    if code in _REASONS:
        return LinkUnusable(f"{_REASONS[code]}; {_NEW_ONE}")
    return RelayRefused(code, sanitize(text))
