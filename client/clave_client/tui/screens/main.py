"""The main screen: rooms, messages, and what is being written. Shows what a `ScreenConversation` has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Static

from clave_client.errors import ClientError
from clave_client.rpc.session import Session
from clave_client.tui.messages import LineTyped, PageWanted, RoomChosen
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.widgets.composer import Composer
from clave_client.tui.widgets.message_list import MessageList
from clave_client.tui.widgets.room_list import RoomList
from clave_client.ui.chat_commands import run_input, run_shortcut, switch_to_unread
from clave_client.ui.draft_line import TypedText

__all__ = ["MainScreen"]

_NARROW = 60
"""Columns below which the list of rooms is left out."""


class MainScreen(Screen[None]):
    """Rooms at the left, the messages of one in the middle, the composer below."""

    CSS_PATH = "main.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+a", "next_unread", "next unread"),
        Binding("escape", "write", "write", show=False),
    ]

    def __init__(
        self,
        session: Session,
        room: str | None,
        fail: Callable[[Exception], None],
        alert: Callable[[], None],
    ) -> None:
        super().__init__()
        self._room = room
        self.messages, self.rooms = MessageList(), RoomList()
        self.composer, self.title_line, self.status = Composer(), Static(id="title"), Static(id="status")
        self.fail = fail
        self.talk = ScreenConversation(session, self.messages, self._changed, alert)
        self.talk.draft = self
        self._handling = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Put the parts in their places."""
        with Horizontal(id="columns"):
            yield self.rooms
            with Vertical(id="middle"):
                yield self.title_line
                yield self.messages
                yield self.composer
        yield self.status

    def on_mount(self) -> None:
        """Begin the conversation."""
        self.composer.focus()
        self.watch(self.messages, "scroll_y", self._show_status, init=False)
        self.run_worker(self._talk(), name="conversation")

    def on_resize(self, event: Resize) -> None:
        """Leave the rooms out of a narrow screen."""
        self.set_class(event.size.width < _NARROW, "narrow")

    async def _talk(self) -> None:
        try:
            await self.talk.begin(self._room)
            await self.talk.listen()
        except Exception as error:  # noqa: BLE001  (whoever runs the app raises it)
            self.fail(error)

    # --- what the conversation shows ---

    def _changed(self) -> None:
        """Show the rooms, the title and the status anew."""
        if not self.is_mounted:
            return
        talk = self.talk
        rooms = [room for room in talk.rooms.values() if not room.archived or room.id == talk.room]
        self.rooms.show(rooms, talk.room)
        self.title_line.update(Content(talk.title(talk.room)))
        self._show_status()

    def _show_status(self) -> None:
        talk = self.talk
        waiting = f"{len(talk.waiting)} waiting to be sent" if talk.waiting else ""
        newer = "SCROLLED, End goes to the newest" if not self.messages.is_at_end else ""
        words = ["online" if talk.is_online else "offline", waiting, newer]
        self.status.update(Content("   ".join(word for word in words if word)))

    # --- the draft of a room, as `DraftLine` ---

    def text(self) -> str:
        """Return what is written and not sent."""
        return self.composer.text

    def put_back(self, text: str) -> None:
        """Write a kept draft into the composer, unless something is there."""
        if text and not self.composer.text:
            self.composer.text = text
            self.composer.move_cursor(self.composer.document.end)

    # --- what the user does ---

    async def on_line_typed(self, event: LineTyped) -> None:
        """Send what was written, or run the command; what is refused is written again."""
        async with self._handling:
            accepted = await run_input(self.talk, event.text)
        if not accepted:
            self.put_back(event.text)
        if self.talk.finished:
            await self.leave()

    async def on_room_chosen(self, event: RoomChosen) -> None:
        """Enter a room."""
        self.composer.focus()
        await self._switch(partial(self.talk.enter, event.room))

    async def on_page_wanted(self, event: PageWanted) -> None:
        """Load older or newer messages."""
        with contextlib.suppress(ClientError):
            await self.talk.load(older=event.older)

    async def action_next_unread(self) -> None:
        """Enter the next room with something new."""
        await self._switch(partial(switch_to_unread, self.talk))

    async def _switch(self, work: Callable[[TypedText], Awaitable[None]]) -> None:
        """Do what leads to another room; what is written stays with the one that is left."""
        typed = TypedText(self.composer.text)
        self.composer.text = ""
        await run_shortcut(self.talk, work, typed)
        if not typed.is_kept:
            self.put_back(typed.text)

    def action_write(self) -> None:
        """Go back to the composer."""
        self.composer.focus()

    async def leave(self) -> None:
        """End the conversation and the program."""
        await self.talk.finish()
        self.app.exit()
