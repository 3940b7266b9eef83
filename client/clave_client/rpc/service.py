"""Executes the methods of the RPC on one client. Knows no connection, and no other window."""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from clave_client.client import Client
from clave_client.events import Event, Person
from clave_client.formats.agreed_state import parse_role
from clave_client.formats.json_values import load, type_tag
from clave_client.rooms.room_names import stored_room
from clave_client.rpc import methods as m
from clave_client.rpc.account_service import account_info, check_health, delete_account
from clave_client.rpc.device_service import DeviceService
from clave_client.rpc.message_service import LAST, MOST_MESSAGES
from clave_client.rpc.service_base import Attempt, within
from clave_client.rpc.values import (
    ROOM_CHANGES,
    EventsPage,
    NumberedEvent,
    OwnerInfo,
    ProfileInfo,
    RoomNews,
    RoomSummary,
)
from clave_client.store import settings
from clave_client.store.database import RoomRecord
from clave_client.store.schema import MIGRATIONS
from clave_client.sync.event_stream import EventStream
from clave_client.values import Fingerprint, MadeLink, Phase
from clave_crypto.identity import fingerprint as fingerprint_of
from clave_host.version import VERSION

__all__ = ["Service"]

_TOLD = {type_tag(each) for each in ROOM_CHANGES}


class Service(DeviceService):
    """The methods of the RPC on a client that was started."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        if settings.told(self._store, b"") is None:
            settings.set_told(self._store, b"", self._journal.head)
        queries: dict[type, Callable[[Any], Any]] = {
            m.Hello: self._hello,
            m.Ping: lambda _: None,
            m.GetProfile: lambda _: self._profile(),
            m.SetLastRoom: lambda r: settings.set_last_room(self._store, self._maybe_room(r.room)),
            m.GetTypedLines: lambda _: settings.typed_lines(self._store),
            m.AddTypedLine: lambda r: settings.add_typed_line(self._store, r.line),
            m.ListRooms: lambda _: self._summaries(client.rooms.values()),
            m.FindRoom: lambda r: self._summary(self._room(r.room, invited=r.invited)),
            m.AuditRoom: lambda r: client.audit(stored_room(r.room, self._store.rooms()).id),
            m.GetRelayView: lambda r: client.relay_view(
                self._room(r.room), "" if r.message == LAST else r.message
            ),
            m.GetRoomInfo: lambda r: client.info(self._room(r.room)),
            m.ListMembers: lambda r: client.members(self._room(r.room)),
            m.ListLinks: lambda r: client.links(self._room(r.room)),
            m.Mute: lambda r: settings.mute(self._store, self._room(r.room), r.until),
            m.ListKeys: lambda r: client.keys(r.name, room=self._maybe_room(r.room) or None),
            m.ListMismatches: lambda r: client.notices_before_sending(self._room(r.room)),
            m.NoteTold: lambda r: self._note_told(b"", r.number),
            m.CommitEvents: lambda r: self._journal.set_consumer(r.consumer, r.number),
            m.ForgetConsumer: lambda r: self._journal.forget_consumer(r.consumer),
        }
        self._queries |= queries
        waits: dict[type, Callable[[Any], Awaitable[Any]]] = {
            m.WaitFlushed: lambda r: within(r.wait, client.wait_flushed()),
            m.WaitSettled: lambda _: client.wait_settled(),
            m.WaitSynced: lambda r: within(r.wait, client.wait_synced(self._room(r.room))),
            m.GetFingerprint: self._fingerprint,
            m.ReadEvents: self._read_events,
            m.CatchUp: self._catch_up,
            m.GetAccount: lambda _: account_info(client),
            m.DeleteAccount: lambda r: delete_account(client, r.wait),
            m.CheckHealth: lambda _: check_health(client),
        }
        self._waits |= waits
        changes: dict[type, Callable[[Any, Attempt], Awaitable[Any]]] = {
            m.CreateRoom: self._create,
            m.Invite: self._invite,
            m.Accept: self._accept,
            m.Decline: self._decline,
            m.Remove: self._remove,
            m.SetTitle: self._changing(lambda room, r: self._client.set_title(room, r.title)),
            m.SetExpiry: self._changing(lambda room, r: self._client.set_expiry(room, r.seconds)),
            m.SetTopic: self._changing(lambda room, r: self._client.set_topic(room, r.topic)),
            m.SetRole: self._changing(
                lambda room, r: self._client.set_role(room, r.name, parse_role(r.role))
            ),
            m.SetPolicy: self._changing(
                lambda room, r: self._client.set_policy(room, r.action, parse_role(r.role))
            ),
            m.Ban: self._changing(lambda room, r: self._client.ban(room, r.name)),
            m.MakeLink: self._make_link,
            m.RevokeLinks: self._changing(lambda room, r: self._client.revoke_links(room, r.link)),
            m.JoinLink: self._join_link,
            m.Unban: self._changing(lambda room, r: self._client.unban(room, r.name)),
            m.OpenDirect: self._open_direct,
            m.Leave: self._leave,
            m.Verify: self._verify,
            m.VerifyRoom: self._verify_room,
            m.Repin: self._repin,
        }
        self._changes |= changes

    async def _create(self, request: m.CreateRoom, attempt: Attempt) -> RoomSummary:
        if attempt.outcome is not None:
            return load(RoomSummary, attempt.outcome["done"])
        await self._client.wait_settled()
        room_id = self._room_id(request.key) if request.key else None
        room = await self._client.create_room(request.title, room_id=room_id)
        return self._finish(request, self._summary(room.id))

    def _room_id(self, key: str) -> bytes:
        """Return the room id for a request's key: the same each time, and nobody else's to guess."""
        secret = self._store.get("room ids")
        if secret is None:
            secret = os.urandom(32)
            self._store.put("room ids", secret)
        return hmac.digest(secret, key.encode(), "sha256")[:16]

    async def _invite(self, request: m.Invite, attempt: Attempt) -> Person:
        if attempt.outcome is not None:
            return load(Person, attempt.outcome["done"])
        await self._client.wait_settled()
        person = await self._client.invite(attempt.room, request.name, repeated=attempt.again)
        return self._finish(request, person)

    async def _remove(self, request: m.Remove, attempt: Attempt) -> bool:
        if attempt.outcome is not None:
            return bool(attempt.outcome["done"])
        await self._client.wait_settled()
        counts = await self._client.remove(attempt.room, request.name, repeated=attempt.again)
        return self._finish(request, counts)

    async def _make_link(self, request: m.MakeLink, attempt: Attempt) -> MadeLink:
        seed = self._room_id(f"link {request.key}") if request.key else os.urandom(16)
        if attempt.outcome is not None:  # what was kept lacks the text
            return replace(load(MadeLink, attempt.outcome["done"]), text=self._client.link_text(seed))
        await self._client.wait_settled()
        made = await self._client.make_link(
            attempt.room, seconds=request.seconds, uses=request.uses, seed=seed
        )
        self._finish(request, replace(made, text=""))
        return made

    async def _join_link(self, request: m.JoinLink, attempt: Attempt) -> RoomSummary:
        if attempt.outcome is not None:
            return load(RoomSummary, attempt.outcome["done"])
        await self._client.wait_settled()
        return self._finish(request, self._summary(await self._client.join_link(request.link)))

    async def _open_direct(self, request: m.OpenDirect, attempt: Attempt) -> RoomSummary:
        if attempt.outcome is not None:
            return load(RoomSummary, attempt.outcome["done"])
        await self._client.wait_settled()
        room_id = self._room_id(request.key) if request.key else None
        room = await self._client.open_direct(request.name, room_id=room_id)
        return self._finish(request, self._summary(room.id))

    async def _verify(self, request: m.Verify, attempt: Attempt) -> None:
        if attempt.outcome is None:
            await self._client.verify(request.name, request.account)
            self._finish(request, None)

    async def _verify_room(self, request: m.VerifyRoom, attempt: Attempt) -> list[str]:
        verify = partial(self._client.verify_room, attempt.room, request.code)
        return load(list[str], self._once(request, attempt, verify))

    async def _repin(self, request: m.Repin, attempt: Attempt) -> None:
        self._once(request, attempt, lambda: self._client.repin(request.name, request.account))

    async def _accept(self, request: m.Accept, attempt: Attempt) -> bool:
        room = attempt.room
        self._once(request, attempt, lambda: self._client.note_answer(room, accept=True))
        self._client.submit_noted(room)
        await self._client.wait_settled()
        return await self._client.wait_answered(room)

    async def _decline(self, request: m.Decline, attempt: Attempt) -> bool:
        room = attempt.room
        self._once(request, attempt, lambda: self._client.note_answer(room, accept=False))
        return await self._leave_noted(room)

    async def _leave(self, request: m.Leave, attempt: Attempt) -> bool:
        self._once(request, attempt, lambda: self._client.note_leave(attempt.room))
        return await self._leave_noted(attempt.room)

    async def _leave_noted(self, room: bytes) -> bool:
        self._client.submit_noted(room)
        await self._client.wait_settled()
        return await self._client.wait_left(room)

    async def _catch_up(self, request: m.CatchUp) -> RoomNews:
        room = self._room(request.room)
        told = max(settings.told(self._store, each) or 0 for each in (room, b""))
        await within(request.wait, self._client.wait_until_sendable(room))
        own = self._client.sync.account.verified.account.hex()
        changes: list[NumberedEvent] = []
        while len(changes) < MOST_MESSAGES and (page := self._journal.read(told, MOST_MESSAGES).events):
            told = page[-1].number
            for number, raw in page:
                event = msgspec.json.decode(raw)
                if event["room"] == room.hex() and event["type"] in _TOLD and _author(event) != own:
                    changes.append(NumberedEvent(number, event))
        here = self._client.rooms.get(room)
        notices = [] if here is None else self._client.notices_before_sending(room)
        title = request.room if here is None else here.title
        return RoomNews(title, notices, changes, told)

    # --- queries ---

    def _hello(self, request: m.Hello) -> OwnerInfo:
        software = f"clave {VERSION}"
        return OwnerInfo(m.RPC_VERSION, len(MIGRATIONS), software, os.getpid(), self._client.name)

    def _profile(self) -> ProfileInfo:
        client = self._client
        me = client.sync.account.verified
        address, relay_fingerprint = client.relay
        return ProfileInfo(
            client.name,
            me.account,
            fingerprint_of(me.account),
            address,
            relay_fingerprint,
            client.is_online,
            client.unusable,
            settings.last_room(self._store),
            client.known_names(),
        )

    def _summary(self, room: bytes) -> RoomSummary:
        (summary,) = self._summaries([self._client.rooms[room]])
        return summary

    def _summaries(self, records: Iterable[RoomRecord]) -> list[RoomSummary]:
        client = self._client
        unread = self._store.unread_counts(client.sync.account.verified.account)
        waiting = self._store.waiting_counts()
        muted = settings.muted_until(self._store)
        drafts = self._store.rooms_with_setting(settings.DRAFT)
        found = []
        for record in sorted(records, key=lambda record: (record.title.casefold(), record.id)):
            similar = client.similar_room(record.id) if record.phase is Phase.INVITED else None
            found.append(
                RoomSummary(
                    record.id,
                    record.title,
                    record.phase,
                    unread.get(record.id, (0, 0))[0],
                    waiting.get(record.id, 0),
                    muted.get(record.id, 0.0),
                    "" if similar is None else similar.title,
                    client.inviter(record.id) if record.phase is Phase.INVITED else None,
                    self._others(record.id) if record.phase is Phase.INVITED else 0,
                    unread.get(record.id, (0, 0))[1],
                    client.sync.rooms[record.id].is_archived,
                    bool(client.sync.rooms[record.id].direct),
                    record.id in drafts,
                )
            )
        return found

    def _others(self, room: bytes) -> int:
        """Return how many accounts are in a room besides this one."""
        accounts = {member.person.account for member in self._client.members(room)}
        return len(accounts - {self._client.sync.account.verified.account})

    async def _fingerprint(self, request: m.GetFingerprint) -> Fingerprint:
        await self._client.wait_settled()
        return await self._client.fingerprint(request.name, room=self._maybe_room(request.room) or None)

    async def _read_events(self, request: m.ReadEvents) -> EventsPage:
        after = request.after
        if after is None:
            after = self._journal.consumer(request.consumer) if request.consumer else self._journal.head
        stream = self._client.events()
        try:
            page = self._journal.read(after, request.limit)
            if not page.events and request.wait:
                await within(request.wait, self._wait_stored(stream, after))
                page = self._journal.read(after, request.limit)
        finally:
            stream.close()
        found = [NumberedEvent(each.number, each.event) for each in page.events]
        return EventsPage(found, found[-1].number if found else after, page.gap)

    async def _wait_stored(self, stream: EventStream[Event], after: int) -> None:
        """Wait until an event with a number above `after` is stored."""
        async for _ in stream:
            if self._journal.head > after:
                return


def _author(event: dict[str, Any]) -> str:
    """Return the account of who made a change, if it says so; both as JSON."""
    by = event.get("by")
    return "" if by is None else str(by["account"])
