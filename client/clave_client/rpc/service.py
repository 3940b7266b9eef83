"""Executes the methods of the RPC on one client. Knows no connection, and no other window.

A change with a key is noted before it is begun. What is this device's alone is done in one transaction with
its outcome. What needs the relay is begun again when its key comes again without an outcome, and then takes
what is done already for done: a room under the same id, a member who is in, a title that is set.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from clave_client.client import Client
from clave_client.events import Event, OutboxChanged, Person
from clave_client.formats.json_values import dump, load, type_tag
from clave_client.rpc import methods as m
from clave_client.rpc.account_service import account_info, check_health, delete_account
from clave_client.rpc.values import (
    ROOM_CHANGES,
    EventsPage,
    HistoryMessage,
    NumberedEvent,
    OwnerInfo,
    PendingMessage,
    ProfileInfo,
    RoomNews,
    RoomSummary,
    SendResult,
)
from clave_client.store import settings
from clave_client.store.database import RoomRecord
from clave_client.store.message_tables import HistoryLine
from clave_client.store.request_log import RequestLog
from clave_client.store.schema import MIGRATIONS
from clave_client.sync.event_stream import EventStream
from clave_client.values import Fingerprint, Phase
from clave_crypto.identity import fingerprint as fingerprint_of
from clave_host.version import VERSION

__all__ = ["Service"]

T = TypeVar("T")

_MOST_TEXT_BYTES = 1024 * 1024
"""Most bytes of messages in one answer."""

_MOST_MESSAGES = 1000
_MOST_PENDING = 100

_TOLD = {type_tag(each) for each in ROOM_CHANGES}


class _Attempt(NamedTuple):
    """The room of a change, whether its key came before, and the outcome that was noted for it, if any."""

    room: bytes
    again: bool = False
    outcome: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<_Attempt again={self.again!r}>"


@dataclass
class _Running:
    """A change that is being made, and how many requests wait for it."""

    task: asyncio.Future[Any]
    waiting: int = 0


class Service:
    """The methods of the RPC on a client that was started."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.sync.store
        self._journal = client.sync.journal
        self._requests = RequestLog(self._store)
        self._running: dict[str, _Running] = {}
        if settings.told(self._store, b"") is None:
            settings.set_told(self._store, b"", self._journal.head)
        self._sending: dict[bytes, asyncio.Lock] = {}
        self._queries: dict[type, Callable[[Any], Any]] = {
            m.Hello: self._hello,
            m.Ping: lambda _: None,
            m.GetProfile: lambda _: self._profile(),
            m.SetLastRoom: lambda r: settings.set_last_room(self._store, self._maybe_room(r.room)),
            m.GetTypedLines: lambda _: settings.typed_lines(self._store),
            m.AddTypedLine: lambda r: settings.add_typed_line(self._store, r.line),
            m.ListRooms: lambda _: self._summaries(client.rooms.values()),
            m.FindRoom: lambda r: self._summary(self._room(r.room, invited=r.invited)),
            m.GetRoomInfo: lambda r: client.info(self._room(r.room)),
            m.ListMembers: lambda r: client.members(self._room(r.room)),
            m.GetHistory: self._history,
            m.GetUnread: lambda r: self._messages(client.unshown(self._room(r.room), _MOST_MESSAGES)),
            m.MarkShown: self._mark_shown,
            m.ListPending: self._pending,
            m.Mute: lambda r: settings.mute(self._store, self._room(r.room), r.until),
            m.ListKeys: lambda r: client.keys(r.name, room=self._maybe_room(r.room) or None),
            m.ListMismatches: lambda r: client.key_mismatches(self._room(r.room)),
            m.NoteTold: lambda r: self._note_told(b"", r.number),
            m.CommitEvents: lambda r: self._journal.set_consumer(r.consumer, r.number),
            m.ForgetConsumer: lambda r: self._journal.forget_consumer(r.consumer),
        }
        self._waits: dict[type, Callable[[Any], Awaitable[Any]]] = {
            m.WaitFlushed: lambda r: _within(r.wait, client.wait_flushed()),
            m.WaitSettled: lambda _: client.wait_settled(),
            m.WaitSynced: lambda r: _within(r.wait, client.wait_synced(self._room(r.room))),
            m.GetFingerprint: self._fingerprint,
            m.ReadEvents: self._read_events,
            m.CatchUp: self._catch_up,
            m.GetAccount: lambda _: account_info(client),
            m.DeleteAccount: lambda r: delete_account(client, r.wait),
            m.CheckHealth: lambda _: check_health(client),
        }
        self._changes: dict[type, Callable[[Any, _Attempt], Awaitable[Any]]] = {
            m.CreateRoom: self._create,
            m.Invite: self._invite,
            m.Accept: self._accept,
            m.Decline: self._decline,
            m.Remove: self._remove,
            m.SetTitle: self._set_title,
            m.Leave: self._leave,
            m.Post: self._post,
            m.Send: self._send,
            m.Verify: self._verify,
            m.Repin: self._repin,
        }

    async def execute(self, request: m.Method[T]) -> T:
        """Execute a request and return its result. Raises `ClientError`."""
        kind = type(request)
        result: T
        if isinstance(request, m.Change):
            result = await self._change(request)
        elif kind in self._queries:
            result = self._queries[kind](request)
        else:
            result = await self._waits[kind](request)
        return result

    def is_immediate(self, request: m.Method[Any]) -> bool:
        """Return whether a request is answered without waiting for anything."""
        return type(request) in self._queries

    def _note_told(self, room: bytes, number: int) -> None:
        """Note that the user was told what happened up to an event, in a room or (b"") in all."""
        if number > (settings.told(self._store, room) or 0):
            settings.set_told(self._store, room, min(number, self._journal.head))

    # --- changes, once per key ---

    async def _change(self, request: m.Change[T]) -> T:
        """Execute a change; with a key that came before, wait for it or go on from what was noted."""
        change, key = self._changes[type(request)], request.key
        result: T
        if not key:
            result = await change(request, _Attempt(self._room_of(request)))
            return result
        again, room = self._requests.begin(key, _content(request), lambda: self._room_of(request))
        running = self._running.get(key)
        if running is None:
            attempt = _Attempt(room, again, self._requests.outcome(key))
            running = self._running[key] = _Running(asyncio.ensure_future(change(request, attempt)))
        running.waiting += 1
        try:
            result = await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and self._running.get(key) is running:
                del self._running[key]
                running.task.cancel()  # if it was cancelled in all that waited
        return result

    def _room_of(self, request: m.Change[Any]) -> bytes:
        """Return the id of the room that a change names, or nothing for one that names none."""
        invited = isinstance(request, m.Accept | m.Decline)
        return self._room(request.room, invited=invited) if hasattr(request, "room") else b""

    def _once(self, request: m.Change[Any], attempt: _Attempt, work: Callable[[], Any]) -> Any:
        """Return the noted outcome of `work`; else do it and note the outcome, in one transaction."""
        if attempt.outcome is not None:
            return attempt.outcome["done"]
        try:
            with self._store.transaction():
                done = dump(work())
                if request.key:
                    self._requests.finish(request.key, {"done": done})
        except BaseException:
            here = self._client.sync.rooms.get(attempt.room)
            if here is not None:
                here.reload()  # what it changed in memory is not on disk
            raise
        return done

    def _finish(self, request: m.Change[T], result: T) -> T:
        """Note the outcome of a change that needed the relay, and return it."""
        if request.key:
            self._requests.finish(request.key, {"done": dump(result)})
        return result

    async def _create(self, request: m.CreateRoom, attempt: _Attempt) -> RoomSummary:
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

    async def _invite(self, request: m.Invite, attempt: _Attempt) -> Person:
        if attempt.outcome is not None:
            return load(Person, attempt.outcome["done"])
        await self._client.wait_settled()
        person = await self._client.invite(attempt.room, request.name, repeated=attempt.again)
        return self._finish(request, person)

    async def _remove(self, request: m.Remove, attempt: _Attempt) -> bool:
        if attempt.outcome is not None:
            return bool(attempt.outcome["done"])
        await self._client.wait_settled()
        counts = await self._client.remove(attempt.room, request.name, repeated=attempt.again)
        return self._finish(request, counts)

    async def _set_title(self, request: m.SetTitle, attempt: _Attempt) -> bool:
        if attempt.outcome is not None:
            return bool(attempt.outcome["done"])
        await self._client.wait_settled()
        return self._finish(request, await self._client.set_title(attempt.room, request.title))

    async def _verify(self, request: m.Verify, attempt: _Attempt) -> None:
        if attempt.outcome is None:
            await self._client.verify(request.name, request.account)
            self._finish(request, None)

    async def _repin(self, request: m.Repin, attempt: _Attempt) -> None:
        self._once(request, attempt, lambda: self._client.repin(request.name, request.account))

    async def _accept(self, request: m.Accept, attempt: _Attempt) -> bool:
        room = attempt.room
        self._once(request, attempt, lambda: self._client.note_answer(room, accept=True))
        self._client.submit_noted(room)
        await self._client.wait_settled()
        return await self._client.wait_answered(room)

    async def _decline(self, request: m.Decline, attempt: _Attempt) -> bool:
        room = attempt.room
        self._once(request, attempt, lambda: self._client.note_answer(room, accept=False))
        return await self._leave_noted(room)

    async def _leave(self, request: m.Leave, attempt: _Attempt) -> bool:
        self._once(request, attempt, lambda: self._client.note_leave(attempt.room))
        return await self._leave_noted(attempt.room)

    async def _leave_noted(self, room: bytes) -> bool:
        self._client.submit_noted(room)
        await self._client.wait_settled()
        return await self._client.wait_left(room)

    # --- messages ---

    async def _post(self, request: m.Post, attempt: _Attempt) -> bytes:
        return self._post_now(request, attempt)

    def _post_now(self, request: m.Post | m.Send, attempt: _Attempt) -> bytes:
        """Append a message to the outbox and submit it, unless that was done; return its id."""
        room = attempt.room

        def note() -> bytes:
            if isinstance(request, m.Send):
                self._note_told(room, request.told)
            return self._client.note_message(room, request.text)

        done = self._once(request, attempt, note)
        self._submit_message(room)
        return bytes.fromhex(done)

    def _submit_message(self, room: bytes) -> None:
        self._client.sync.emit(OutboxChanged(room))
        self._client.submit_noted(room)

    async def _send(self, request: m.Send, attempt: _Attempt) -> SendResult:
        room, message_id, seq = attempt.room, b"", 0
        try:
            async with asyncio.timeout(request.wait):
                if attempt.outcome is None:
                    # One at a time, so that messages are posted in the order of their requests.
                    async with self._sending.setdefault(room, asyncio.Lock()):
                        await self._client.wait_until_sendable(room)
                        message_id = self._post_now(request, attempt)
                else:
                    message_id = self._post_now(request, attempt)
                seq = await self._client.wait_delivered(room, message_id)
        except TimeoutError:
            if not message_id:
                message_id = self._post_now(request, attempt)
        return SendResult(message_id, seq)

    async def _catch_up(self, request: m.CatchUp) -> RoomNews:
        room = self._room(request.room)
        told = max(settings.told(self._store, each) or 0 for each in (room, b""))
        await _within(request.wait, self._client.wait_until_sendable(room))
        own = self._client.sync.account.verified.account.hex()
        changes: list[NumberedEvent] = []
        while len(changes) < _MOST_MESSAGES and (page := self._journal.read(told, _MOST_MESSAGES).events):
            told = page[-1].number
            for number, raw in page:
                event = msgspec.json.decode(raw)
                if event["room"] == room.hex() and event["type"] in _TOLD and _author(event) != own:
                    changes.append(NumberedEvent(number, event))
        here = self._client.rooms.get(room)
        notices = [] if here is None else self._client.key_mismatches(room)
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

    def _room(self, words: str, *, invited: bool = False) -> bytes:
        return self._client.find_room(words, invited=invited)

    def _maybe_room(self, words: str) -> bytes:
        return self._room(words) if words else b""

    def _summary(self, room: bytes) -> RoomSummary:
        (summary,) = self._summaries([self._client.rooms[room]])
        return summary

    def _summaries(self, records: Iterable[RoomRecord]) -> list[RoomSummary]:
        client = self._client
        unread = self._store.unread_counts(client.sync.own_device)
        waiting = self._store.waiting_counts()
        muted = settings.muted_until(self._store)
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
                )
            )
        return found

    def _others(self, room: bytes) -> int:
        """Return how many accounts are in a room besides this one."""
        accounts = {member.person.account for member in self._client.members(room)}
        return len(accounts - {self._client.sync.account.verified.account})

    def _history(self, request: m.GetHistory) -> list[HistoryMessage]:
        room, after, before = self._room(request.room), request.after, request.before or 2**63 - 1
        if request.newest:
            lines = self._store.history(room, after=after, before=before, last=request.limit)
            return self._messages(lines, newest=True)
        return self._messages(self._store.next_messages(room, after, request.limit, before=before))

    def _messages(self, lines: list[HistoryLine], *, newest: bool = False) -> list[HistoryMessage]:
        """Return messages of at most 1 MiB together: the first of `lines`, or the last ones."""
        found: list[HistoryMessage] = []
        room_left = _MOST_TEXT_BYTES
        for line in reversed(lines) if newest else lines:
            room_left -= len(line.text.encode())
            if room_left < 0:
                break
            own = line.account == self._client.sync.account.verified.account
            sender = self._client.sender(line)
            found.append(HistoryMessage(line.seq, sender, own, line.id, line.text, line.sent_at / 1000))
        return found[::-1] if newest else found

    def _mark_shown(self, request: m.MarkShown) -> None:
        self._client.mark_shown(self._room(request.room), request.seq, until=request.until)

    def _pending(self, request: m.ListPending) -> list[PendingMessage]:
        room = self._maybe_room(request.room)
        items = self._store.pending_texts(room or None, _MOST_PENDING)
        found: list[PendingMessage] = []
        size = 0
        for of, item in items:
            size += len(item.body.encode())
            if found and size > _MOST_TEXT_BYTES:
                break
            found.append(PendingMessage(of, item.id, item.body, item.sent_at / 1000))
        return found

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
                await _within(request.wait, self._wait_stored(stream, after))
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


async def _within(seconds: float, waiting: Awaitable[Any]) -> bool:
    """Return whether `waiting` ends within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True


def _author(event: dict[str, Any]) -> str:
    """Return the account of who made a change, if it says so; both as JSON."""
    by = event.get("by")
    return "" if by is None else str(by["account"])


def _content(request: m.Change[Any]) -> bytes:
    """Return what a key stands for: the request without what may differ when it is repeated."""
    fields = {name: value for name, value in dump(request).items() if name not in ("key", "wait", "told")}
    return hashlib.sha256(msgspec.json.encode([request.NAME, fields])).digest()
