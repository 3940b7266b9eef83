"""The text being typed, and the earlier texts that Up and Down go through. Draws nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory

__all__ = ["Draft"]

_MOST_ENTRIES: Final = 1000
"""Most earlier texts kept."""


class Draft(Buffer):
    """The buffer of the prompt. Its history is at hand at once, as what is typed ahead may begin with Up."""

    def __init__(self, history: Iterable[str]) -> None:
        super().__init__(multiline=True, history=DummyHistory())
        self._entries: deque[str] = deque(history, _MOST_ENTRIES)
        self._start("")

    def take(self) -> tuple[str, bool]:
        """Clear the text; return it, and whether it is a new entry of the history."""
        text = self.text
        if not self._is_newest():
            self._add(self._working_lines[-1])  # What was typed before Up.
        is_new = self._add(text)
        self._start("")
        return text, is_new

    def put_back(self, text: str) -> bool:
        """Make `text` the text again if none was typed since, else the newest entry; return which it was."""
        if not self.text:
            self._start(text)
            return True
        position, index = self.cursor_position, self.working_index
        is_newest = self._is_newest()
        if self._add(text):
            self._working_lines.insert(len(self._working_lines) - 1, text)
            self.working_index = index + is_newest
            self.cursor_position = position
        return False

    def cut(self) -> str:
        """Clear the text and return it, which becomes no entry of the history."""
        text = self.text
        self._start("")
        return text

    def paste(self, text: str) -> None:
        """Insert a pasted text, with newlines for any line ends and without those at its end."""
        self.insert_text(text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n"))

    def replace_start(self, old: str, new: str) -> bool:
        """Replace `old` at the start of the text, which may have grown since; return whether it is there."""
        text, position = self.text, self.cursor_position
        if not text.startswith(old) or position < len(old):
            return False
        self.document = Document(new + text[len(old) :], position + len(new) - len(old))
        return True

    def _is_newest(self) -> bool:
        """Return whether the text is not one that Up brought back."""
        return self.working_index == len(self._working_lines) - 1

    def _add(self, text: str) -> bool:
        if not text.strip() or (self._entries and self._entries[-1] == text):
            return False
        self._entries.append(text)
        return True

    def _start(self, text: str) -> None:
        self.reset(Document(text))
        # `Buffer` itself would read a history in a task, after the keys that have been typed already.
        self._working_lines = deque([*self._entries, text])
        self.working_index = len(self._entries)
        self.cursor_position = len(text)
