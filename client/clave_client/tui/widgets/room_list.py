"""The rooms and people at the left, with what is new in each, and a filter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from clave_client.rpc.values import RoomSummary
from clave_client.tui.messages import RoomChosen, ShortcutPressed
from clave_client.values import Phase

__all__ = ["RoomList"]


class RoomList(Vertical):
    """The rooms; choosing one posts `RoomChosen`. `find` has the user type a part of a title."""

    def __init__(self) -> None:
        super().__init__()
        self.options = _Options()
        self.filter = Input(placeholder="find a room", compact=True)
        self.filter.display = False
        self._rooms: list[RoomSummary] = []
        self._current: bytes | None = None
        self._shown: list[tuple[str, Content]] = []

    def compose(self) -> ComposeResult:
        """Put the filter above the rooms."""
        yield self.filter
        yield self.options

    def show(self, rooms: Iterable[RoomSummary], current: bytes | None) -> None:
        """Show these rooms; `current` is the one that is open."""
        self._rooms, self._current = list(rooms), current
        self._update()

    @property
    def order(self) -> list[RoomSummary]:
        """The rooms in the order of the list, without a filter."""
        return [room for _, rooms in _sections(self._rooms, "") for room in rooms]

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
        shown: list[tuple[str, Content]] = []
        first_room = current = None
        for name, rooms in _sections(self._rooms, self.filter.value):
            shown.append((f"-{name}", Content.styled(name, "$text-muted")))
            for room in rooms:
                first_room = len(shown) if first_room is None else first_room
                current = len(shown) if room.id == self._current else current
                shown.append((room.id.hex(), _words(room, here=room.id == self._current)))
        options = self.options
        if [each for each, _ in shown] != [each for each, _ in self._shown]:
            options.clear_options()
            options.add_options(Option(words, id=id_, disabled=id_[0] == "-") for id_, words in shown)
        else:
            for place, ((_, words), (_, before)) in enumerate(zip(shown, self._shown, strict=True)):
                if words != before:
                    options.replace_option_prompt_at_index(place, words)
        self._shown = shown
        if self.filter.display:
            if options.highlighted is None or anew:
                options.highlighted = first_room
        elif not options.has_focus:
            options.highlighted = current

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the rooms that fit."""
        event.stop()
        self._update(anew=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open the highlighted room."""
        event.stop()
        self.options.action_select()

    def on_key(self, event: Key) -> None:
        """Go through the rooms while a filter is typed; Escape ends it."""
        if event.key == "escape":
            event.stop()
            self.end_find()
            self.post_message(ShortcutPressed("write", ""))
        elif self.filter.has_focus and event.key in ("up", "down"):
            event.stop()
            (self.options.action_cursor_up if event.key == "up" else self.options.action_cursor_down)()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Tell which room was chosen."""
        event.stop()
        if event.option_id is not None:
            self.end_find()
            self.post_message(RoomChosen(bytes.fromhex(event.option_id)))


class _Options(OptionList):
    """The lines of the rooms."""


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
