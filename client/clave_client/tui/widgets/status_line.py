"""The bottom line: the connection in words, what waits, where one is in the history."""

from __future__ import annotations

import time
from typing import Final

from textual.content import Content
from textual.widgets import Static

from clave_client.tui.keymap import Keys
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.widgets.message_list import MessageList
from clave_client.values import RoomInfo

__all__ = ["StatusLine"]

_FLASH_SECONDS: Final = 2.0


class StatusLine(Static):
    """Says how things are; `flash` has it say something else for a moment."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="status")
        self._keys = keys
        self._words: list[str] = []
        self._flash_until = 0.0

    def show(self, talk: ScreenConversation, messages: MessageList, info: RoomInfo | None) -> None:
        """Show the state of a conversation; `info` is of the room, if that is shown beside it."""
        words = ["online" if talk.is_online else "offline: what you write waits"]
        if talk.waiting:
            words.append(f"{len(talk.waiting)} waiting to be sent")
        if not messages.is_at_end:
            newer = f", {messages.unseen} new" if messages.unseen else ""
            words.append(f"SCROLLED{newer}; {self._keys.shown('main', 'newest')} goes to the newest")
        if info is not None:
            words.append(f"epoch {info.epoch}, {info.suite_name}")
        new = sum(room.unread for room in talk.rooms.values() if room.id != talk.room)
        if new:
            words.append(f"{new} new elsewhere, {self._keys.shown('main', 'next_unread')}")
        words.append(f"{self._keys.shown('main', 'help')} help")
        if words == self._words:
            return
        self._words = words
        if time.monotonic() >= self._flash_until:
            self.update(Content("   ".join(words)), layout=False)

    def flash(self, text: str) -> None:
        """Say something for a moment."""
        self._flash_until = time.monotonic() + _FLASH_SECONDS
        self.update(Content(text), layout=False)
        self.set_timer(_FLASH_SECONDS, self._end_flash)

    def _end_flash(self) -> None:
        if time.monotonic() >= self._flash_until:
            self.update(Content("   ".join(self._words)), layout=False)
