"""What the command palette offers on the main screen: actions, rooms and chat commands. Draws nothing.

A room's title is a peer's text, and a command's usage has brackets: both are `Content`, never markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from clave_client.tui.keymap import KEYMAP
from clave_client.tui.messages import LineTyped
from clave_client.tui.screens.main import MainScreen
from clave_client.ui.chat_commands import COMMANDS
from clave_client.values import Phase

__all__ = ["Palette"]

_NOT_OFFERED: Final = frozenset({"palette", "write", *(f"room_{number}" for number in range(1, 10))})
"""Actions that mean nothing in the palette, or are offered as rooms."""


@dataclass(frozen=True)
class _Command:
    """A line of the palette: what is looked in, what stands below it, and what choosing it does."""

    text: str = field(repr=False)
    more: str = field(repr=False)
    run: Callable[[], object]

    def content(self, places: tuple[int, ...] = ()) -> Content:
        """Return what is shown; `places` of the text are where what was typed is."""
        found = Content(self.text)
        for place in places:
            found = found.stylize("bold underline", place, place + 1)
        return Content.assemble(found, "\n", (f"  {self.more}", "$text-muted"))


class _MainCommands(Provider):
    """Everything that can be done on the main screen, by its name; one of it is done."""

    _is_done = False

    def _do(self, command: _Command) -> None:
        if not self._is_done:
            self._is_done = True
            command.run()

    async def search(self, query: str) -> Hits:
        """Yield what matches."""
        find = self.matcher(query).fuzzy_search
        for command in self._commands():
            score, places = find.match(query, command.text)
            if score > 0:
                yield Hit(score, command.content(tuple(places)), partial(self._do, command), command.text)

    async def discover(self) -> Hits:
        """Yield everything."""
        for command in self._commands():
            yield DiscoveryHit(command.content(), partial(self._do, command), command.text)

    def _commands(self) -> Iterator[_Command]:
        screen = self.screen
        if not isinstance(screen, MainScreen):
            return
        for action in KEYMAP["main"]:
            if action.id not in _NOT_OFFERED:
                run = partial(screen.action_act, action.id)
                yield _Command(action.words, screen.keys.shown("main", action.id), run)
        for room in screen.talk.rooms.values():
            if room.phase is Phase.JOINED and room.id != screen.talk.room:
                new = f"{room.unread} new" if room.unread else "nothing new"
                yield _Command(f"go to {room.title}", new, partial(_go_to, screen, room.id))
        for command in COMMANDS.values():
            yield _Command(command.usage, command.help, partial(_use, screen, command.usage))


class Palette(CommandPalette):
    """The command palette over the main screen."""

    def __init__(self) -> None:
        super().__init__([_MainCommands])

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close it once, as an `OverScreen`."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


def _go_to(screen: MainScreen, room: bytes) -> None:
    screen.choose_room(room)


def _use(screen: MainScreen, usage: str) -> None:
    """Run a command that takes nothing; write one that takes something before what is written."""
    word, _, takes = usage.partition(" ")
    if takes:
        screen.composer.write(f"{word} {screen.composer.text}")
        screen.composer.focus()
    else:
        screen.post_message(LineTyped(word))
