"""What a new profile has done of the first steps; it ticks itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content
from textual.widgets import Static

from clave_client.tui.keymap import Keys
from clave_client.tui.talk import ScreenConversation
from clave_client.values import Phase

__all__ = ["Checklist"]

_LOW: Final = 22
"""Rows below which there is no place for all steps."""


class Checklist(Static):
    """The first steps of somebody new, if `is_wanted`; gone when all are done."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="checklist")
        self._keys = keys
        self.is_wanted = False
        self.display = False
        self._lines: list[Content] = []

    def show(self, talk: ScreenConversation, *, said: bool) -> None:
        """Show what is done; `said` says that the user has said something in the room that is shown."""
        if not self.is_wanted:
            return
        steps: Sequence[tuple[bool, str]] = self._steps(talk, said=said)
        self.is_wanted = self.display = not all(done for done, _ in steps)
        if self.app.size.height < _LOW:  # only what is next
            steps = [(done, words) for done, words in steps if not done][:1]
        lines = [
            Content.styled(f"[{'x' if done else ' '}] {words}", "$text-muted" if done else "bold")
            for done, words in steps
        ]
        if lines != self._lines:
            self._lines = lines
            self.update(Content("\n").join(lines))

    def _steps(self, talk: ScreenConversation, *, said: bool) -> list[tuple[bool, str]]:
        others = [each.person for each in talk.people if each.person.account != talk.account]
        shown = self._keys.shown
        return [
            (talk.was_online, f"you are {talk.name} at your relay"),
            (
                any(each.phase is Phase.JOINED for each in talk.rooms.values()),
                "open a room: /new TITLE, or join one by a link: /join LINK",
            ),
            (bool(others), f"bring somebody in: {shown('main', 'invite')}"),
            (said, "say something"),
            (any(each.verified for each in others), f"compare keys: {shown('main', 'verify')}"),
        ]
