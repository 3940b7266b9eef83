"""The rooms and people at the left, with what is new in each, and a filter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from clave_client.rpc.values import RoomSummary
from clave_client.tui.typed_ahead import Field, pass_on
from clave_client.values import Phase

__all__ = ["RoomList", "in_order"]


class RoomList(Vertical):
    """The rooms; `choose` is called with the id of a chosen one, `leave` when the user chooses none.

    `find` has the user type a part of a title.
    """

    def __init__(self, choose: Callable[[bytes], None], leave: Callable[[], None]) -> None:
        super().__init__()
        self._choose, self._leave = choose, leave
        self.options = _Options()
        self.filter = _Filter(self._find_by)
        self.filter.display = False
        self._rooms: list[RoomSummary] = []
        self._current: bytes | None = None
        self._shown: list[tuple[str, Content]] = []
        self._part = ""

    def compose(self) -> ComposeResult:
        """Put the filter above the rooms."""
        yield self.filter
        yield self.options

    def show(self, rooms: Iterable[RoomSummary], current: bytes | None) -> None:
        """Show these rooms; `current` is the one that is open."""
        self._rooms, self._current = list(rooms), current
        self._update()

    def find(self) -> None:
        """Have the user type a part of a title."""
        self.filter.display = True
        self.screen.set_focus(self.filter)
        self._update(anew=True)

    def end_find(self) -> None:
        """Show all rooms again."""
        self.filter.value = ""
        self.filter.display = False

    def _update(self, *, anew: bool = False) -> None:
        self._part = self.filter.value
        shown: list[tuple[str, Content]] = []
        first_room = current = None
        for name, rooms in _sections(self._rooms, self.filter.value):
            shown.append((f"-{name}", Content.styled(name, "$text-muted")))
            for room in rooms:
                first_room = len(shown) if first_room is None else first_room
                current = len(shown) if room.id == self._current else current
                shown.append((room.id.hex(), _words(room, here=room.id == self._current)))
        options = self.options
        chosen = options.highlighted_option
        if [each for each, _ in shown] != [each for each, _ in self._shown]:
            options.clear_options()
            options.add_options(Option(words, id=id_, disabled=id_[0] == "-") for id_, words in shown)
            if chosen is not None and chosen.id in dict(shown):
                options.highlighted = options.get_option_index(str(chosen.id))
        else:
            for place, ((_, words), (_, before)) in enumerate(zip(shown, self._shown, strict=True)):
                if words != before:
                    options.replace_option_prompt_at_index(place, words)
        self._shown = shown
        if self.filter.display:
            if anew:
                options.highlighted = first_room
        elif not options.has_focus:
            options.highlighted = current

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the rooms that fit."""
        event.stop()
        self._update(anew=True)

    def _find_by(self, key: str) -> None:
        """Do what a key means while a title is typed."""
        if self.filter.value != self._part:  # what was typed just before
            self._update(anew=True)
        match key:
            case "up":
                self.options.action_cursor_up()
            case "down":
                self.options.action_cursor_down()
            case "enter":
                place = self.options.highlighted
                if place is not None:
                    self._open(self.options.get_option_at_index(place).id)
            case _:
                self.end_find()
                self._leave()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open the room that was clicked on."""
        event.stop()
        self._open(event.option_id)

    def _open(self, room: str | None) -> None:
        self.end_find()
        if room is not None:
            self._choose(bytes.fromhex(room))

    def on_key(self, event: Key) -> None:
        """Leave the list by Escape."""
        if event.key == "escape":
            event.stop()
            self._leave()


class _Filter(Field):
    """Takes a part of a title; `by` is called with the keys that do something else."""

    def __init__(self, by: Callable[[str], None]) -> None:
        super().__init__(placeholder="find a room", compact=True)
        self._by = by

    async def _on_key(self, event: Key) -> None:
        if event.key in ("up", "down", "enter", "escape") and not pass_on(self, event):
            event.prevent_default().stop()
            self._by(event.key)


class _Options(OptionList):
    """The lines of the rooms."""


def in_order(rooms: Sequence[RoomSummary]) -> list[RoomSummary]:
    """Return rooms in the order of the list."""
    return [room for _, members in _sections(rooms, "") for room in members]


def _sections(rooms: Sequence[RoomSummary], part: str) -> list[tuple[str, list[RoomSummary]]]:
    """Return the rooms with `part` in their titles: invitations, rooms, people; each with its heading."""
    fit = [room for room in rooms if part.strip().casefold() in room.title.casefold()]
    invited = [room for room in fit if room.phase is Phase.INVITED]
    direct = [room for room in fit if room.direct and room.phase is not Phase.INVITED]
    others = [room for room in fit if not room.direct and room.phase is not Phase.INVITED]
    found = [("invitations", invited), ("rooms", others), ("people", direct)]
    return [(name, members) for name, members in found if members]


def _words(room: RoomSummary, *, here: bool) -> Content:
    """Return the line of a room; a title is never markup."""
    words = [Content("> " if here else "  "), Content.styled(room.title, "bold" if room.unread else "")]
    if room.unread:
        words.append(Content.styled(f" {room.unread}", "$text-accent bold"))
    if room.mentions:
        words.append(Content.styled(f" @{room.mentions}", "$text-warning bold"))
    marks = [("draft", room.draft), ("muted", room.muted_until > time.time())]
    marks += [("leaving", room.phase is Phase.LEAVING), ("archived", room.archived)]
    marks += [(f"{room.waiting} waiting", bool(room.waiting))]
    words += [Content.styled(f" {word}", "$text-muted") for word, holds in marks if holds]
    return Content.assemble(*words)
