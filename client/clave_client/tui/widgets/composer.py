"""Where messages and commands are written: it grows to a third of the screen."""

from __future__ import annotations

from typing import Final

from textual.events import Key
from textual.widgets import TextArea

from clave_client.tui.messages import LineTyped

__all__ = ["Composer"]

_NEWLINE_KEYS: Final = {"alt+enter", "shift+enter", "ctrl+j"}


class Composer(TextArea):
    """A text to write; Enter sends it, Alt-Enter and Ctrl-J begin another line."""

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, compact=True)

    async def _on_key(self, event: Key) -> None:
        """Send at Enter, in its turn: a binding with priority would run before what was typed ahead."""
        if event.key == "enter":
            event.prevent_default().stop()
            self._send()
        elif event.key in _NEWLINE_KEYS:
            event.prevent_default().stop()
            self.insert("\n")

    def _send(self) -> None:
        """Hand on what was written."""
        text = self.text
        if text.strip():
            self.post_message(LineTyped(text))
        self.text = ""
