"""Jump mode: a letter on everything in sight that can be gone to; typing it goes there."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.events import Key
from textual.geometry import Offset
from textual.widgets import Static

from clave_client.tui.base_app import program_of
from clave_client.tui.keymap import bindings
from clave_client.tui.screens.over import OverScreen

if TYPE_CHECKING:
    from clave_client.tui.screens.main import MainScreen

__all__ = ["JumpScreen", "Target", "targets_of"]

_LETTERS: Final = "asdfghjklqwertyuiopzxcvbnm" + string.ascii_uppercase


@dataclass(frozen=True)
class Target:
    """Something to go to, and where on the screen its letter stands."""

    place: Offset
    go: Callable[[], object]


class JumpScreen(OverScreen[Target | None]):
    """Shows a letter on each target; returns the one whose letter is typed, None for any other key."""

    CSS_PATH = "jump.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self.hold = 0
        """What keeps the keys behind the letter until its target was gone to, for `release_keys`."""
        self._targets = dict(zip(_LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """Put the letters where the targets are."""
        for letter, target in self._targets.items():
            label = Static(Content(letter), classes="letter")
            label.absolute_offset = target.place
            yield label

    def on_key(self, event: Key) -> None:
        """Go where a letter says."""
        event.stop()
        if self.app.screen is not self:  # typed ahead, behind the letter
            program_of(self).hold(event)
            return
        target = self._targets.get(event.character or "")
        if target is not None:
            self.hold = program_of(self).hold_keys(for_screen=False)
        self.dismiss(target)

    def action_close(self) -> None:
        """Go nowhere."""
        self.dismiss(None)


def targets_of(screen: MainScreen) -> list[Target]:
    """Return what can be gone to: where one writes, the messages in sight from the newest, then the rooms."""
    messages, options = screen.messages, screen.rooms.options
    found = [Target(screen.composer.region.offset, screen.composer.focus)]
    region = messages.region
    seen: set[int] = set()
    for y in reversed(range(region.height)):
        row = messages.rows.row_at(messages.scroll_offset.y + y)
        if row is None or row.message is None or id(row) in seen:
            continue
        seen.add(id(row))
        top = max(0, messages.rows.span_of(row)[0] - messages.scroll_offset.y)
        found.append(Target(region.offset + Offset(0, top), partial(messages.choose, row.message.seq)))
    if options.region.width:
        for place, option in enumerate(options.options):
            y = place - options.scroll_offset.y
            if option.id is not None and not option.disabled and 0 <= y < options.region.height:
                room = bytes.fromhex(option.id)
                found.append(
                    Target(
                        options.region.offset + Offset(0, y),
                        partial(screen.choose_room, room),
                    )
                )
    return found
