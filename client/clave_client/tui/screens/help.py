"""The screen that lists all keys and commands. Made from the tables of both."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.types import CSSPathType
from textual.widgets import Static

from clave_client.tui.keymap import FILE_NAME, KEYMAP, Keys, bindings
from clave_client.tui.line_content import content_of, paragraphs
from clave_client.tui.screens.side import SideScreen
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.typed_ahead import Field
from clave_client.ui.chat_commands import COMMANDS
from clave_client.ui.display import Line
from clave_client.ui.terminal.wrapping import wrap

__all__ = ["PLACES", "HelpScreen"]

PLACES: Final = {
    "main": "Anywhere on the main screen",
    "composer": "While you write",
    "messages": "At a chosen message",
    "side": "On every other screen",
    "search": "Where you search",
    "help": "In this list",
    "verify": "Where you compare keys with one person",
    "room code": "Where you compare with all of a room",
    "invite": "Where you invite",
    "links": "In the list of links",
    "devices": "In the list of devices",
    "pairing": "Where you add a device",
}
"""What the places of the keymap are called; another one is called as in the keymap."""

_ENTERS_ROOM: Final = re.compile("room_[1-9]")
_WIDE: Final = 60
"""Columns from which on what the keys do stands in a column of its own."""

_KEY_COLUMNS: Final = 16
_INDENT: Final = 4

_Entry = tuple[str, str]
"""What to type, and what it does."""


class HelpScreen(SideScreen[None]):
    """All keys by where they count, then the chat commands; what is typed is looked for in both."""

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "help.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("help")
    HEADING = "Keys and commands"

    def __init__(self, talk: ScreenConversation, keys: Keys) -> None:
        super().__init__(talk)
        self._sections = [
            *((PLACES.get(place, place), _keys_of(keys, place)) for place in KEYMAP),
            ("Commands", [(command.usage, command.help) for command in COMMANDS.values()]),
        ]
        self._input = Field(placeholder="what to look for", compact=True)
        self._text = Static()

    def compose_body(self) -> ComposeResult:
        """Yield what is looked for, and the list."""
        yield self._input
        with VerticalScroll(id="body", can_focus=False):
            yield self._text

    def on_mount(self) -> None:
        """Begin with what is looked for."""
        super().on_mount()
        self._input.focus()

    def on_resize(self, _: Resize) -> None:
        """Wrap the lines anew, once the list has its new width."""
        self.call_after_refresh(self._show)

    def on_input_changed(self) -> None:
        """Show what has all words that were typed."""
        self._show()
        self.body.scroll_home(animate=False)

    def _show(self) -> None:
        words = self._input.value.casefold().split()
        width = max(1, self.body.scrollable_content_region.width)
        lines: list[Content] = []
        for title, entries in self._sections:
            found = [each for each in entries if _has(each, words)]
            if found:
                lines += [Content(""), Content.styled(title, "bold underline")]
                lines += [
                    content_of(row) for each in found for row in wrap(_line(each, width), width, _INDENT)
                ]
        if not lines:
            lines = [Content(""), Content("no key and no command is about that")]
        elif not words:
            text = f'Other keys: write, as in next_unread = "alt+n", into {FILE_NAME} where the profiles are.'
            lines += [Content(""), Content(text)]
        self._text.update(paragraphs(*lines[1:]))

    def action_line_up(self) -> None:
        """Scroll one line up."""
        self.body.scroll_up(animate=False)

    def action_line_down(self) -> None:
        """Scroll one line down."""
        self.body.scroll_down(animate=False)


def _keys_of(keys: Keys, place: str) -> list[_Entry]:
    """Return the keys of a place; those that enter a room by its number as one entry."""
    rooms = [each.id for each in KEYMAP[place] if _ENTERS_ROOM.fullmatch(each.id)]
    found = [(keys.shown(place, each.id), each.words) for each in KEYMAP[place] if each.id not in rooms]
    if rooms:
        shown = f"{keys.shown(place, rooms[0])} to {keys.shown(place, rooms[-1])}"
        found.append((shown, f"go to a room by its number in the list, 1 to {len(rooms)}"))
    return found


def _has(entry: _Entry, words: list[str]) -> bool:
    text = " ".join(entry).casefold()
    return all(word in text for word in words)


def _line(entry: _Entry, width: int) -> Line:
    what, does = entry
    columns = _KEY_COLUMNS if width >= _WIDE else 0
    return [("bold", f"{what:<{columns}}"), ("", f"  {does}")]
