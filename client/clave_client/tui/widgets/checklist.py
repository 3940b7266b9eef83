"""What a new profile has done of the first steps; it ticks itself."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from clave_client.tui.keymap import Keys
from clave_client.tui.talk import ScreenConversation

__all__ = ["Checklist"]


class Checklist(Static):
    """The first steps of somebody who had no room when the program began; gone when all are done."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="checklist")
        self._keys = keys
        self._is_wanted: bool | None = None
        self.display = False

    def show(self, talk: ScreenConversation, *, said: bool) -> None:
        """Show what is done; `said` says that the user has said something in the room that is shown."""
        if not talk.name:
            return  # nothing is known yet
        if self._is_wanted is None:
            self._is_wanted = not talk.rooms
        if not self._is_wanted:
            return
        steps = self._steps(talk, said=said)
        self._is_wanted = self.display = not all(done for done, _ in steps)
        lines = [
            Content.styled(f"[{'x' if done else ' '}] {words}", "$text-muted" if done else "bold")
            for done, words in steps
        ]
        self.update(Content("\n").join(lines))

    def _steps(self, talk: ScreenConversation, *, said: bool) -> list[tuple[bool, str]]:
        others = [each.person for each in talk.people if each.person.account != talk.account]
        shown = self._keys.shown
        return [
            (talk.was_online, f"you are {talk.name} at your relay"),
            (bool(talk.rooms), "open a room: /new TITLE, or join one by a link: /join LINK"),
            (bool(others), f"bring somebody in: {shown('main', 'invite')}"),
            (said, "say something"),
            (any(each.verified for each in others), f"compare keys: {shown('main', 'verify')}"),
        ]
