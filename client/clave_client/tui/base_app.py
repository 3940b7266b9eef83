"""What the full-screen programs share: themes, keys with Alt, and that no text can steer the terminal.

Knows no screen of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import ClassVar, Final, TypeVar

from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.events import Event, Paste
from textual.filter import LineFilter, Monochrome, NoColor

from clave_client.tui.alt_keys import take_alt_at_once
from clave_client.tui.themes import DARK, THEMES
from clave_wire.text import sanitize

__all__ = ["BaseApp", "writable"]

R = TypeVar("R")

_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls, and what changes the direction of the text around it."""


class _Printable(LineFilter):
    """Draws "?" for each character that could steer the terminal, whatever widget it is in.

    Text of peers is sanitised before it gets here; this holds for all text, also the user's own.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without such characters."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [
            segment if segment.text.isprintable() else segment._replace(text=_STEERING.sub("?", segment.text))
            for segment in segments
        ]


def writable(text: str) -> str:
    """Return a text that comes from elsewhere as it may stand where one writes: see `sanitize`."""
    return sanitize(text.replace("\r\n", "\n").replace("\r", "\n"), multiline=True, joiners=True)


class BaseApp(App[R]):
    """A program of clave. `theme` names one of `available_themes`; by another name it is the dark one."""

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = Path(__file__).with_suffix(".tcss")
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, theme: str = DARK.name) -> None:
        take_alt_at_once()
        super().__init__()
        self.failure: Exception | None = None
        """What ended it, for whoever runs it to raise."""
        self._printable = _Printable()
        self.animation_level = "none"  # what moves slowly costs time, and is no more to be read
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme if theme in self.available_themes else DARK.name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what is done to all that is drawn: with NO_COLOR it has no colours at all."""
        found = [NoColor() if isinstance(each, Monochrome) else each for each in super().get_line_filters()]
        return [self._printable, *found]

    async def on_event(self, event: Event) -> None:
        """Take a paste without what could steer the terminal, and without the line ends at its end."""
        if isinstance(event, Paste) and not event.is_forwarded:
            event = Paste(writable(event.text).rstrip("\n"))
        await super().on_event(event)

    def _handle_exception(self, error: Exception) -> None:
        """End because of a defect, without Textual's traceback: that shows the values of variables."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self.failure = self.failure or error
        self._return_code = 1
        self._close_messages_no_wait()
