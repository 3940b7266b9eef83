"""What waits to be sent in the current room, and a command that takes its time; above what is written."""

from __future__ import annotations

from typing import Final

from textual.content import Content
from textual.widgets import Static

from clave_client.tui.keymap import Keys
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.message_lines import short

__all__ = ["WaitingLines"]

_MOST: Final = 3
"""Most waiting messages that are shown."""


class WaitingLines(Static):
    """A few lines; hidden when nothing waits."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="waiting")
        self._keys = keys
        self._lines: list[Content] = []

    def show(self, talk: ScreenConversation, slow: str) -> None:
        """Show the first messages that wait, and the command `slow`, unless it is empty."""
        waiting = [each for each in talk.waiting.values() if each.room == talk.room]
        lines = [Content.styled(f"waiting: {short(each.text)}", "$text-muted") for each in waiting[:_MOST]]
        if slow:
            text = f"running: {short(slow)}   {self._keys.shown('composer', 'stop')} stops it"
            lines.append(Content.styled(text, "$text-accent"))
        if lines != self._lines:
            self._lines = lines
            self.display = bool(lines)
            self.update(Content("\n").join(lines))
