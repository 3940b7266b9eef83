"""Executes the methods of the RPC about messages and conversations. Knows no connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from clave_client.client import Client
from clave_client.events import OutboxChanged
from clave_client.formats.json_values import load
from clave_client.rpc import methods as m
from clave_client.rpc.message_views import MOST_TEXT_BYTES, MessageViews
from clave_client.rpc.service_base import Attempt, ServiceBase
from clave_client.rpc.values import HistoryMessage, MessageDetails, PendingMessage, SendResult
from clave_client.store import settings
from clave_client.store.message_tables import HistoryLine

__all__ = ["LAST", "MOST_MESSAGES", "MessageService"]

MOST_MESSAGES: Final = 1000
_MOST_PENDING: Final = 100

LAST: Final = "last"


class MessageService(ServiceBase):
    """The methods about messages; a part of `Service`."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._views = MessageViews(client)
        self._sending: dict[bytes, asyncio.Lock] = {}
        queries: dict[type, Callable[[Any], Any]] = {
            m.GetHistory: self._history,
            m.GetUnread: lambda r: self._messages(
                self._room(r.room), client.unshown(self._room(r.room), r.limit)
            ),
            m.MarkShown: self._mark_shown,
            m.ListPending: self._pending,
            m.GetMessage: self._message,
            m.Search: lambda r: self._views.search(r, self._maybe_room(r.room)),
            m.SetReadReceipts: lambda r: client.set_read_receipts(self._room(r.room), on=r.on),
            m.Archive: lambda r: client.set_archived(self._room(r.room), archived=r.archived),
            m.GetDraft: lambda r: client.draft(self._room(r.room)),
            m.SetDraft: lambda r: client.set_draft(self._room(r.room), r.text),
            m.Block: lambda r: client.block(r.name),
            m.Unblock: lambda r: client.unblock(r.name),
            m.ListBlocked: lambda _: client.blocked(),
            m.ListPinned: lambda r: self._messages(self._room(r.room), client.pinned(self._room(r.room))),
        }
        self._queries |= queries
        changes: dict[type, Callable[[Any, Attempt], Awaitable[Any]]] = {
            m.Post: self._post,
            m.Send: self._send,
            m.Edit: self._edit,
            m.DeleteMessage: self._delete,
            m.React: self._react,
            m.Unreact: self._unreact,
            m.PinMessage: self._changing(self._pin),
            m.UnpinMessage: self._changing(self._unpin),
        }
        self._changes |= changes

    # --- saying ---

    async def _post(self, request: m.Post, attempt: Attempt) -> bytes:
        note = self._note_message(request, attempt)

        def note_typed_too() -> bytes:
            message = note()
            self._note_typed(request.typed, message)
            return message

        return self._note_now(request, attempt, note_typed_too)

    def _note_typed(self, line: str, message: bytes) -> None:
        """Note what a typed line has said, if there was one."""
        if line:
            settings.note_typed(self._store, line, message)

    async def _send(self, request: m.Send, attempt: Attempt) -> SendResult:
        note = self._note_message(request, attempt)

        def note_told_too() -> bytes:
            self._note_told(attempt.room, request.told)
            return note()

        return await self._deliver(request, attempt, note_told_too, request.wait)

    def _note_message(self, request: m.Post | m.Send, attempt: Attempt) -> Callable[[], bytes]:
        room = attempt.room
        reply_to = b""
        if request.reply_to and attempt.outcome is None:
            reply_to = self._find(room, request.reply_to, own=False).id

        def note() -> bytes:
            return self._client.note_message(
                room, request.text, reply_to=reply_to, expires_after=request.expires
            )

        return note

    async def _edit(self, request: m.Edit, attempt: Attempt) -> SendResult:
        message = self._named(request, attempt, own=True)

        def note() -> bytes:
            self._note_typed(request.typed, message)
            return self._client.note_edit(attempt.room, message, request.text)

        return await self._deliver(request, attempt, note, request.wait)

    async def _delete(self, request: m.DeleteMessage, attempt: Attempt) -> SendResult:
        room = attempt.room
        if request.here_only:

            def hide() -> SendResult:
                line = self._find(room, request.message, own=None)
                self._client.note_hidden(room, line.id)
                return SendResult(line.id, line.seq)

            done = load(SendResult, self._once(request, attempt, hide))
            self._store.remove_traces()
            return done
        message = self._named(request, attempt, own=True)
        return await self._deliver(
            request, attempt, lambda: self._client.note_deletion(room, message), request.wait
        )

    async def _react(self, request: m.React, attempt: Attempt) -> SendResult:
        message = self._named(request, attempt, own=False)
        return await self._deliver(
            request,
            attempt,
            lambda: self._client.note_reaction(attempt.room, message, request.reaction),
            request.wait,
        )

    async def _unreact(self, request: m.Unreact, attempt: Attempt) -> SendResult:
        message = self._named(request, attempt, own=False)
        return await self._deliver(
            request,
            attempt,
            lambda: self._client.note_unreaction(attempt.room, message, request.reaction),
            request.wait,
        )

    async def _pin(self, room: bytes, request: m.PinMessage) -> bool:
        return await self._client.pin_message(room, self._find(room, request.message, own=None).id)

    async def _unpin(self, room: bytes, request: m.UnpinMessage) -> bool:
        pinned = self._client.pinned(room)
        line = pinned[-1] if request.message == LAST and pinned else None
        line = line or self._find(room, request.message, own=None)
        return await self._client.unpin_message(room, line.id)

    def _named(
        self, request: m.Edit | m.DeleteMessage | m.React | m.Unreact, attempt: Attempt, *, own: bool
    ) -> bytes:
        """Return the message that a change is about, as it is known before the room is read further.

        So "last" is one that whoever asks can have seen. Nothing once the change was noted.
        """
        if attempt.outcome is not None:
            return b""
        return self._find(attempt.room, request.message, own=own).id

    def _find(self, room: bytes, words: str, *, own: bool | None) -> HistoryLine:
        """Return the message that a method names; of the last ones, that of this account or of others."""
        return self._client.find_message(room, "" if words == LAST else words, own=own)

    def _note_now(self, request: m.Change[Any], attempt: Attempt, note: Callable[[], bytes]) -> bytes:
        """Append a content to the outbox and submit it, unless that was done; return its id."""
        done = self._once(request, attempt, note)
        self._client.sync.emit(OutboxChanged(attempt.room))
        self._client.submit_noted(attempt.room)
        return bytes.fromhex(done)

    async def _deliver(
        self, request: m.Change[SendResult], attempt: Attempt, note: Callable[[], bytes], wait: float
    ) -> SendResult:
        """Append a content once the room is read, and wait until the relay has it; in all `wait` seconds."""
        room, message_id, seq = attempt.room, b"", 0
        try:
            async with asyncio.timeout(wait):
                if attempt.outcome is None:
                    # One at a time, so that messages are posted in the order of their requests.
                    async with self._sending.setdefault(room, asyncio.Lock()):
                        await self._client.wait_until_sendable(room)
                        message_id = self._note_now(request, attempt, note)
                else:
                    message_id = self._note_now(request, attempt, note)
                seq = await self._client.wait_delivered(room, message_id)
        except TimeoutError:
            if not message_id:
                message_id = self._note_now(request, attempt, note)
        return SendResult(message_id, seq)

    # --- reading ---

    def _message(self, request: m.GetMessage) -> MessageDetails:
        room = self._room(request.room)
        return self._views.details(room, self._find(room, request.message, own=None))

    def _history(self, request: m.GetHistory) -> list[HistoryMessage]:
        room, after, before = self._room(request.room), request.after, request.before or 2**63 - 1
        if request.newest:
            lines = self._store.history(room, after=after, before=before, last=request.limit)
            return self._messages(room, lines, newest=True)
        return self._messages(room, self._store.next_messages(room, after, request.limit, before=before))

    def _messages(
        self, room: bytes, lines: list[HistoryLine], *, newest: bool = False
    ) -> list[HistoryMessage]:
        """Return messages of at most 1 MiB together: the first of `lines`, or the last ones."""
        found: list[HistoryLine] = []
        room_left = MOST_TEXT_BYTES
        for line in reversed(lines) if newest else lines:
            room_left -= len(line.text.encode()) + len(line.markup.encode())
            if room_left < 0:
                break
            found.append(line)
        return self._views.messages(room, found[::-1] if newest else found)

    def _mark_shown(self, request: m.MarkShown) -> None:
        self._client.mark_shown(self._room(request.room), request.seq, until=request.until)

    def _pending(self, request: m.ListPending) -> list[PendingMessage]:
        room = self._maybe_room(request.room)
        items = self._store.pending_texts(room or None, _MOST_PENDING)
        found: list[PendingMessage] = []
        size = 0
        for of, item in items:
            size += len(item.body.encode())
            if found and size > MOST_TEXT_BYTES:
                break
            found.append(PendingMessage(of, item.id, item.body, item.sent_at / 1000))
        return found
