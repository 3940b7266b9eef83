"""A conversation on the full screen: what line mode prints, it puts into lists. Draws nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from clave_client import events
from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import FoundMessage, HistoryMessage
from clave_client.tui.rows import Row
from clave_client.tui.widgets.message_list import MessageList
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import Line, separator
from clave_client.ui.draft_line import TypedText
from clave_client.ui.message_commands import edit_message
from clave_client.values import MOST_NUMBER

__all__ = ["ScreenConversation"]

_LEAST_PAGE: Final = 40
"""Messages loaded at once, at least; else as many as fill the screen twice, if each has one line."""

_NOTE_SECONDS: Final = 1 / 15
"""What was shown within this time is noted at once."""


class ScreenConversation(Conversation):
    """One user at the full screen; messages go into `messages` as rows, all else as notes between them."""

    def __init__(
        self,
        session: Session,
        messages: MessageList,
        changed: Callable[[], None],
        alert: Callable[[], None],
    ) -> None:
        super().__init__(session, self._note, interactive=True)
        self._list = messages
        self._to_mark: dict[bytes, int] = {}
        self._marked: dict[bytes, int] = {}
        self._marking: asyncio.Task[None] | None = None
        self._oldest = self._newest = 0
        self.is_in_sight: Callable[[], bool] = lambda: True
        """Whether the user can see the messages: no other screen is over them."""
        self.may_choose: Callable[[], bool] = lambda: True
        """Whether a message may be chosen, which takes keys from what is written."""
        self.connect(self._note, changed, lambda *_: alert())

    @property
    def was_online(self) -> bool:
        """Whether the relay is known to have accepted a login."""
        return self._online is True

    def _note(self, line: Line) -> None:
        self._list.add_arrived(Row([line]))

    def _row(self, message: HistoryMessage) -> Row:
        names = self.members | {self.account: self.name}
        self._newest = max(self._newest, message.seq)
        return Row.of(message, me=self.account, names=names, numbered=self.numbered)

    def show_message(self, message: HistoryMessage, *, elsewhere: bytes = b"") -> None:
        """Add a message of the current room; those of others are counted in the list of rooms."""
        if not elsewhere:
            self._list.add_arrived(self._row(message))

    async def show_new_message(self, event: events.Message, *, elsewhere: bytes = b"") -> None:
        """Add a message that has come; one with a quote or marks has to be asked for."""
        message: HistoryMessage | None = HistoryMessage(
            event.seq, event.sender, False, event.id, event.text, event.sent_at, event.seq & MOST_NUMBER
        )
        if event.reply_to or event.markup or event.disappears or event.kind is not events.MessageKind.TEXT:
            message = await self.ask_message(event.room, event.id)
        if message is not None:
            self.show_message(message, elsewhere=elsewhere)

    async def show_history(self, count: int) -> None:
        """Show the messages of the current room anew, as with numbers; at least `count`."""
        room = bytes.fromhex(self.current())
        await self._load_end(room, max(count, self._page))

    async def answer(self, message: HistoryMessage, text: str) -> None:
        """Post an answer to a message of the current room."""
        await self.post(text, reply_to=message.id.hex())

    async def edit(self, message: HistoryMessage, text: str) -> None:
        """Give an own message of the current room another text."""
        await edit_message(self, message.id.hex(), text)

    @property
    def _page(self) -> int:
        return max(_LEAST_PAGE, 2 * self._list.size.height)

    # --- entering a room ---

    async def enter_at(self, room: bytes, seq: int, typed: TypedText) -> None:
        """Enter a room as `enter` does, and choose the message at a history seq there."""
        async with self._showing:
            await self._enter(room, typed, seq)

    def _choose(self, seq: int) -> None:
        self._list.choose(seq, takes_keys=self.may_choose())

    async def _enter(self, room: bytes, typed: TypedText, seq: int = 0) -> None:
        ask, words = self.session.ask, room.hex()
        self.note_seen()
        await self._mark_all()
        if room not in self.rooms:
            await self.refresh()
        draft = ""
        if self.room != room:
            draft = await ask(m.GetDraft(room=words))
            typed.is_kept = await self._keep_draft(typed.text)
            await ask(m.SetLastRoom(room=words))
        with self._list.while_opening():
            try:
                if self.room != room:
                    self.room = room
                    self._oldest = self._newest = 0
                    self.draft.put_back(draft)
                await self.ask_members()
                first = await ask(m.GetHistory(room=words, newest=False, limit=1))
                self._oldest = first[0].seq if first else 0
                if seq:
                    last = await ask(m.GetHistory(room=words, limit=1))
                    self._newest = last[0].seq if last else 0
                    await self._load_around(seq)
                else:
                    unread = await ask(m.GetUnread(room=words, limit=1))
                    await self._load_end(room, self._page, unread[0].seq if unread else 0)
            except BaseException:
                self._list.show([], has_older=True)  # is asked for again
                raise
        if seq:
            self._choose(seq)
        await self.show_key_notices(room)
        await self._show_missed_changes(room)
        if room in self.rooms and not seq:
            self._forget_unread(room)
        self._changed()

    async def _load_end(self, room: bytes, count: int, unread: int = 0) -> None:
        """Show the last messages of a room, or those around the first unread one, which is marked."""
        ask, words = self.session.ask, room.hex()
        page = await ask(m.GetHistory(room=words, limit=count))
        if self.room != room:
            return  # another room was entered meanwhile
        newest = page[-1].seq if page else 0
        if unread and page and page[0].seq > unread:
            before = await ask(m.GetHistory(room=words, before=unread, limit=count // 2))
            page = before + await ask(m.GetHistory(room=words, after=unread - 1, newest=False, limit=count))
            if self.room != room:
                return
        self._newest = max(self._newest, newest)  # one may have come just now
        has_older, has_newer = self._has_more(page, newest)
        self._shown[room] = set() if has_newer else {message.seq for message in page}
        rows, top = self._rows_of(page, unread)
        self._list.show(rows, has_older=has_older, has_newer=has_newer, top=top)

    def _has_more(self, page: list[HistoryMessage], newest: int) -> tuple[bool, bool]:
        """Return whether there are messages before and after those of a page.

        That cannot be told by their number: the owner gives at most 1 MiB at once.
        """
        if not page:
            return False, False
        return page[0].seq > self._oldest, page[-1].seq < newest

    def _rows_of(self, page: list[HistoryMessage], unread: int = 0) -> tuple[list[Row], Row | None]:
        """Return the rows of messages, with a line before the first unread one, which is returned too."""
        rows: list[Row] = []
        top = None
        for message in page:
            if top is None and unread and message.seq >= unread:
                top = Row([separator("new")])
                rows.append(top)
            rows.append(self._row(message))
        return rows, top

    # --- moving through the history ---

    async def load(self, *, older: bool) -> None:
        """Load the page before the first message that is loaded, or after the last one."""
        rows, is_done = self._list.rows, False
        try:
            is_done = await self._load(older=older)
        finally:
            if not is_done and self._list.rows is rows:
                self._list.end_page(older=older)

    async def _load(self, *, older: bool) -> bool:
        """Load a page as `load` does; return whether the list knows that it need not wait for it."""
        rows = self._list.rows
        edge = rows.first if older else rows.last
        if self.room is None or (edge is None and not older):
            return False
        words, room = self.room.hex(), self.room
        count, seq = self._page, 0 if edge is None else edge.seq
        asked = m.GetHistory(
            room=words,
            before=seq if older else 0,
            after=0 if older else seq,
            newest=older,
            limit=count,
        )
        page = await self.session.ask(asked)
        now = rows.first if older else rows.last
        if self.room != room or self._list.rows is not rows:
            return False
        if (0 if now is None else now.seq) != seq:  # the list was cut there meanwhile
            self._list.end_page(older=older)
            self._list.want_near()
            return True
        newest = self._newest
        found = [self._row(message) for message in page]
        has_more = self._has_more(page, newest)[0 if older else 1]
        self._changed()
        if older:
            self._list.add_older(found, has_older=has_more)
            return True
        self._list.add_newer(found, has_newer=has_more)
        if not has_more:
            self._shown[room] = {message.seq for message in page}
        return True

    async def show_newest(self) -> None:
        """Show the newest messages of the current room, unless they are loaded."""
        if self.room is not None and self._list.has_newer:
            await self._load_end(self.room, self._page)
            self._changed()

    async def show_around(self, seq: int) -> None:
        """Show the messages around the one at a history seq of the current room, and choose that."""
        if self._list.rows.row_of(seq) is None:
            await self._load_around(seq)
        self._choose(seq)
        self._changed()

    async def _load_around(self, seq: int) -> None:
        """Show the messages around a history seq, unless another room is entered meanwhile."""
        room, half, few = self.room, self._page // 2, self._page // 4
        if room is None:
            return
        words = room.hex()
        before = await self.session.ask(m.GetHistory(room=words, before=seq, limit=few))
        after = await self.session.ask(m.GetHistory(room=words, after=seq - 1, newest=False, limit=half))
        if self.room != room:
            return
        has_older, has_newer = self._has_more(before + after, self._newest)
        self._shown[room] = set() if has_newer else {message.seq for message in after}
        rows, _ = self._rows_of(before + after)
        top = next((row for row in rows if row.message is not None and row.message.seq >= seq), None)
        self._list.show(rows, has_older=has_older, has_newer=has_newer, top=top)

    async def show_place(self, place: float) -> None:
        """Show the messages at a place of the current room's history, from 0.0 to 1.0 for the newest."""
        if self.room is None:
            return
        if place >= 1.0:
            await self.show_newest()
            self._list.action_newest()
            return
        seq = self._oldest + int(place * max(0, self._newest - self._oldest))
        found = await self.session.ask(
            m.GetHistory(room=self.room.hex(), after=max(0, seq - 1), newest=False, limit=1)
        )
        if found:
            await self.show_around(found[0].seq)

    async def show_found(self, found: FoundMessage) -> None:
        """Show what was said around a message that a search has found."""
        if found.room == self.room:
            await self.show_around(found.message.seq)
        else:
            await self.enter_at(found.room, found.message.seq, TypedText())

    def part_in_sight(self) -> tuple[float, float]:
        """Return which part of the current room's history is in sight, from 0.0 to 1.0."""
        first = self._list.first_in_sight
        whole = self._newest - self._oldest + 1
        if first is None or not self._oldest or whole <= 0:
            return 0.0, 1.0
        top = (first.seq - self._oldest) / whole
        count = max(1, self._list.messages_in_sight)
        if self._list.is_at_end:
            return min(top, 1.0 - count / whole), 1.0
        return top, min(1.0, top + count / whole)

    # --- what was shown ---

    async def _mark_shown(self, event: events.Message) -> None:
        """Do nothing yet: a message was shown once it was in sight."""

    def note_seen(self) -> None:
        """Note, with what else is seen within a moment, that the messages down to the last in sight were."""
        last = self._list.last_in_sight if self.is_in_sight() else None
        if self.room is None or last is None or last.seq <= self._marked.get(self.room, 0):
            return
        self._to_mark[self.room] = self._marked[self.room] = last.seq
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark_later())

    async def _mark_later(self) -> None:
        await asyncio.sleep(_NOTE_SECONDS)
        while self._to_mark:
            await self._mark_all()

    async def _mark_all(self) -> None:
        for room, seq in list(self._to_mark.items()):
            with self.while_it_lasts(room), contextlib.suppress(ClientError):
                await self.session.ask(m.MarkShown(room=room.hex(), seq=seq, until=True))
                for each in self._list.rows.messages():  # from now on it is known when they disappear
                    if room == self.room and each.expires_after and not each.own and each.seq <= seq:
                        await self._show_again(room, each.id)
            if self._to_mark.get(room) == seq:
                del self._to_mark[room]

    async def keep_draft(self, text: str) -> None:
        """Keep what was written and not sent with the current room."""
        await self._keep_draft(text)

    async def finish(self) -> None:
        """Note what was shown, and wait for what was not sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._mark_all()
        await super().finish()

    async def _show_message_change(
        self, event: events.MessageEdited | events.MessageDeleted | events.ReactionChanged
    ) -> None:
        """Show a message of the current room as it is now."""
        if isinstance(event, events.ReactionChanged):
            await self._show_again(event.room, event.id)
        else:
            await self._show_with_answers(event.room, event.id)

    async def show_changed(self, message: bytes) -> None:
        """Show a message of the current room as it is now."""
        if self.room is not None:
            await self._show_with_answers(self.room, message)

    async def _show_with_answers(self, room: bytes, message: bytes) -> None:
        """Show a message that has changed, and its answers, which quote it."""
        await self._show_again(room, message)
        for answer in [each.id for each in self._list.rows.messages() if each.reply_to == message]:
            found = await self.ask_message(room, answer)
            if found is not None and room == self.room:
                for each in self._list.rows.messages():
                    if each.reply_to == message:
                        self._list.replace(self._row(replace(each, quote=found.quote)))
                break

    async def _show_again(self, room: bytes, message: bytes) -> None:
        self._list.flush()
        if room != self.room or not self._list.rows.holds(message):
            return
        found = await self.ask_message(room, message)
        if found is not None and room == self.room:
            self._list.replace(self._row(found))

    async def _show_event(self, event: events.Event) -> None:
        """Show also what became of own messages, and which are gone."""
        await super()._show_event(event)
        if isinstance(event, events.StatusChanged):
            await self._show_again(event.room, event.id)
        elif isinstance(event, events.MessagesExpired) and event.room == self.room:
            rows = [self._list.rows.row_of(seq) for seq in event.seqs]
            for row in rows:
                if row is not None and row.message is not None:
                    await self._show_with_answers(event.room, row.message.id)
