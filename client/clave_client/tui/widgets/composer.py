"""Where messages and commands are written: it grows to a third of the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.events import Key
from textual.widgets import TextArea

from clave_client.tui.base_app import writable
from clave_client.tui.keymap import AT_ONCE, SWITCHING, Keys
from clave_client.tui.messages import About, LineTyped, ShortcutPressed, TextEdited
from clave_client.tui.typed_ahead import pass_on, run_own_binding
from clave_wire.joiners import JOINERS

__all__ = ["Composer"]

_MOST_LINES: Final = 1000
"""Most lines that are kept to be called back."""


class Composer(TextArea):
    """A text to write; Enter sends it.

    It takes keys in their turn, also those of the main screen: a binding of that could run before, or after,
    what was typed ahead. `choosing` has the user choose among completions: it is given "up", "down" or
    "tab" and returns whether there are any. `at_once` does the action "stop" and those of `AT_ONCE`.
    `drawn` is called when a key has changed what is to be drawn.
    """

    def __init__(
        self,
        keys: Keys,
        choosing: Callable[[str], bool],
        at_once: Callable[[str], None],
        drawn: Callable[[], None],
    ) -> None:
        super().__init__(soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, compact=True)
        self._keys = keys
        self._choosing = choosing
        self._at_once = at_once
        self._drawn = drawn
        self.typed: list[str] = []
        """Lines that were typed before, oldest first."""
        self.about: About | None = None
        """What the text answers or edits."""
        self.cuts = 0
        """How often what was written was cut: what is written since is for another room."""
        self._back = 0
        self._kept = self._called = ""

    async def _on_key(self, event: Key) -> None:
        if not pass_on(self, event):
            await self._take_key(event)
            self._drawn()

    async def _take_key(self, event: Key) -> None:
        action = self._keys.action("composer", event.key)
        if action is not None:
            event.prevent_default().stop()
            self._do(action)
        elif (action := self._keys.action("main", event.key)) is not None:
            event.prevent_default().stop()
            if action in AT_ONCE:
                self._at_once(action)
            else:
                self.post_message(ShortcutPressed(action, self.cut() if action in SWITCHING else ""))
        elif event.character in JOINERS:  # which are part of emoji and words, but not printable by themselves
            event.prevent_default().stop()
            self.insert(event.character or "")
        elif event.key in ("up", "down") and (
            (self._back and self._call_back(event.key))
            or self._choosing(event.key)
            or self._call_back(event.key)
        ):
            event.prevent_default().stop()
        else:
            await run_own_binding(self, event)

    def _do(self, action: str) -> None:
        match action:
            case "send":
                self._send()
            case "newline":
                self.insert("\n")
            case "complete":
                if not self._choosing("tab") and not self.text:
                    self.screen.focus_next()
            case "undo":
                self.undo()
            case "stop":
                self._at_once(action)

    def _send(self) -> None:
        """Hand on what was written."""
        text = self.text
        if text.strip():
            self._remember(text)
            is_command = text.startswith("/") and not text.startswith("//")
            self.post_message(LineTyped(text, None if is_command else self.about))
            if not is_command:
                self.write(self.kept_text if self.about is not None and self.about.edits else "")
                self.about = None
                return
        self.write("")

    @property
    def kept_text(self) -> str:
        """What is written for the room; while a message is edited, what was written before."""
        return self.about.before if self.about is not None and self.about.edits else self.text

    def cut(self) -> str:
        """Return what is written and is to be kept, and write nothing more."""
        self.cuts += 1
        text = self.kept_text
        self.about = None
        self.write("")
        self.history.clear()  # what was deleted here is not brought back elsewhere
        return text

    def write(self, text: str) -> None:
        """Make `text` what is written, with the cursor at its end."""
        text = writable(text)
        self._back, self._called = 0, text
        if text != self.text:  # else Textual would lay out the whole screen
            self.text = text
        self.move_cursor(self.document.end)

    def on_text_area_changed(self) -> None:
        """Tell that the text has changed; a line that was called back and edited is a new one."""
        if self.text != self._called:
            self._back = 0
        self.post_message(TextEdited())

    @property
    def before_cursor(self) -> str:
        """What is written before the cursor."""
        return self.get_text_range((0, 0), self.cursor_location)

    def complete(self, text: str) -> None:
        """Make `text` what is written before the cursor."""
        self.replace(text, (0, 0), self.cursor_location)

    # --- lines that were typed before ---

    def _remember(self, text: str) -> None:
        if not self.typed or self.typed[-1] != text:
            self.typed.append(text)
            del self.typed[:-_MOST_LINES]

    def _call_back(self, key: str) -> bool:
        """Write an earlier or later typed line, at the first or last line of the text; return whether."""
        row, last = self.cursor_location[0], self.document.line_count - 1
        step = 1 if key == "up" else -1
        place = self._back + step
        if (row != (0 if key == "up" else last)) or not 0 <= place <= len(self.typed):
            return False
        if self._back == 0:
            self._kept = self.text
        self.write(self.typed[-place] if place else self._kept)
        self._back = place
        return True
