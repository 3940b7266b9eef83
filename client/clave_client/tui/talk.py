"""A conversation on the full screen: what line mode prints, it puts into lists. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clave_client import events
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import HistoryMessage
from clave_client.tui.rows import Row
from clave_client.tui.widgets.message_list import MessageList
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import Line
from clave_client.ui.draft_line import TypedText
from clave_client.values import MOST_NUMBER

__all__ = ["ScreenConversation"]

_PAGE: Final = 100
"""Messages loaded at once."""


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
        self.connect(self._note, changed, lambda *_: alert())

    def _note(self, line: Line) -> None:
        self._list.add_arrived(Row([line]))

    def _row(self, message: HistoryMessage) -> Row:
        return Row.of(message, me=self.account, names=self.members | {self.account: self.name})

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

    async def _enter(self, room: bytes, typed: TypedText) -> None:
        ask, words = self.session.ask, room.hex()
        if room not in self.rooms:
            await self.refresh()
        await ask(m.SetLastRoom(room=words))
        if self.room != room:
            typed.is_kept = await self._keep_draft(typed.text)
            self.room = room
            self.draft.put_back(await ask(m.GetDraft(room=words)))
        await self.ask_members()
        page = await ask(m.GetHistory(room=words, limit=_PAGE))
        self._shown[room] = {message.seq for message in page}
        self._list.show([self._row(message) for message in page], has_older=len(page) == _PAGE)
        await self.show_key_notices(room)
        await self._show_missed_changes(room)
        if page:
            await ask(m.MarkShown(room=words, seq=page[-1].seq, until=True))
        if room in self.rooms:
            self._count_unread(room, reset=True)
        self._changed()

    async def load(self, *, older: bool) -> None:
        """Load the page before the first message that is loaded, or after the last one."""
        rows = self._list.rows
        edge = rows.first if older else rows.last
        if self.room is None or edge is None:
            return
        words, room = self.room.hex(), self.room
        asked = m.GetHistory(
            room=words,
            before=edge.seq if older else 0,
            after=0 if older else edge.seq,
            newest=older,
            limit=_PAGE,
        )
        page = await self.session.ask(asked)
        if self.room != room:
            return
        found, has_more = [self._row(message) for message in page], len(page) == _PAGE
        if older:
            self._list.add_older(found, has_older=has_more)
        else:
            self._list.add_newer(found, has_newer=has_more)

    async def _show_message_change(
        self, event: events.MessageEdited | events.MessageDeleted | events.ReactionChanged
    ) -> None:
        """Show a message of the current room as it is now."""
        if event.room != self.room:
            return
        message = await self.ask_message(event.room, event.id)
        if message is not None:
            self._list.replace(self._row(message))
