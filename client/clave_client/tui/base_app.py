"""What the full-screen programs share: themes, keys with Alt, and that no text can steer the terminal.

Knows no screen of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final, TypeVar

from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.app import App
from textual.color import Color
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Event, Key, Paste
from textual.filter import LineFilter, Monochrome, NoColor
from textual.geometry import Size
from textual.screen import Screen
from textual.timer import Timer

from clave_client.tui.alt_keys import take_alt_at_once
from clave_client.tui.drivers import TerminalDriver
from clave_client.tui.themes import DARK, THEMES
from clave_wire.text import sanitize

__all__ = ["FRAME_SECONDS", "BaseApp", "forget_closed_widgets", "program_of", "writable"]

R = TypeVar("R")

FRAME_SECONDS: Final = 1 / 15
"""What comes within this time is drawn at once."""

_HOLD_SECONDS: Final = 0.005
_MOST_HOLD_SECONDS: Final = 10.0
"""How often it is seen whether a screen takes keys, and how long they are kept at most."""

_LINE_FEED: Final = "ctrl+j"
_START_SECONDS: Final = 2.0
"""How long after the start a line feed is an Enter that was typed before."""

_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls, and what changes the direction of the text around it."""


class _Printable(LineFilter):
    """Draws "?" for each character that could steer the terminal, whatever widget it is in.

    Text of peers is sanitised before it gets here; this holds for all text, also the user's own. Does what
    `others` do, too: one filter, as Textual looks up a cache for each filter and line.
    """

    def __init__(self, others: Sequence[LineFilter]) -> None:
        super().__init__()
        self.others = others

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without such characters."""
        if not all(segment.text.isprintable() for segment in segments):
            segments = [
                each if each.text.isprintable() else each._replace(text=_STEERING.sub("?", each.text))
                for each in segments
            ]
        for other in self.others:
            segments = other.apply(segments, background)
        return segments


def writable(text: str) -> str:
    """Return a text that comes from elsewhere as it may stand where one writes: see `sanitize`."""
    return sanitize(text.replace("\r\n", "\n").replace("\r", "\n"), multiline=True, joiners=True)


def forget_closed_widgets() -> None:
    """Free what Textual keeps of up to a thousand widgets that are gone: a cache of a method holds them."""
    StylesCache.get_inner_outer.cache_clear()


def program_of(widget: DOMNode) -> BaseApp[Any]:
    """Return the program that a widget is in. Raises `TypeError` if that is none of clave's."""
    if isinstance(widget.app, BaseApp):
        return widget.app
    raise TypeError(f"{type(widget.app).__name__} is no program of clave")


class BaseApp(App[R], inherit_bindings=False):
    """A program of clave. `theme` names one of `available_themes`; by another name it is the dark one."""

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = Path(__file__).with_suffix(".tcss")
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, theme: str = DARK.name) -> None:
        take_alt_at_once()
        super().__init__()
        self.failure: Exception | None = None
        """What ended it, for whoever runs it to raise."""
        self._filter = _Printable(())
        self._found_filters: Sequence[LineFilter] = ()
        self._began = time.monotonic()
        self._key_at = 0.0
        self.away = asyncio.Lock()
        """Held while the terminal is left to something else."""
        self._held: list[Key] | None = None
        self._held_later: list[Key] = []
        self._holds = 0
        self._undrawn = contextlib.ExitStack()
        self._draw_timer: Timer | None = None
        self._drawn_size = Size(0, 0)
        self.animation_level = "none"  # what moves slowly costs time, and is no more to be read
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme if theme in self.available_themes else DARK.name

    def get_driver_class(self) -> type[Driver]:
        """Return what draws on a terminal."""
        found = super().get_driver_class()
        return TerminalDriver if issubclass(found, LinuxDriver) else found

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what is done to all that is drawn: with NO_COLOR it has no colours at all."""
        found = super().get_line_filters()
        if [*found] != [*self._found_filters]:
            self._found_filters = found
            others = [NoColor() if isinstance(each, Monochrome) else each for each in found]
            self._filter = _Printable(others)
        return (self._filter,)

    # --- keys that are typed before a screen is there to take them ---

    @property
    def is_holding(self) -> bool:
        """Whether keys wait for another screen."""
        return self._held is not None

    def hold_keys(self, *, for_screen: bool = True) -> int:
        """Keep keys until the screen that is opened now takes them, or `release_keys` of what is returned.

        With `for_screen` False no screen takes them before that.
        """
        self._holds += 1
        if self._held is None:
            self._held, self._held_later = [], []
        former = self.screen if for_screen else None
        self.run_worker(self._release_when_ready(self._holds, former), group="keys")
        return self._holds

    def hold(self, event: Key) -> None:
        """Keep a key that waited at a widget already, before those that come now."""
        if self._held is not None:
            self._held.append(event)

    def release_keys(self, hold: int) -> None:
        """Hand the keys on to what has the focus now, unless they are kept for something later."""
        if self._held is None or hold != self._holds:
            return
        events, self._held = [*self._held, *self._held_later], None
        for event in events:
            (self.focused or self.screen)._forward_event(Key(event.key, event.character))

    # --- what is not seen ---

    def draw_later(self) -> None:
        """Draw nothing until `draw_now`, for `FRAME_SECONDS` at most: what comes in between is not seen."""
        if self._draw_timer is None:
            self._undrawn.enter_context(self.batch_update())
            self._drawn_size = self.size
            self._draw_timer = self.set_timer(FRAME_SECONDS, self.draw_now)

    def draw_now(self) -> None:
        """Draw what `draw_later` has put off."""
        if self._draw_timer is not None:
            self._draw_timer.stop()
            self._draw_timer = None
            self._undrawn.close()
            for screen in self.screen_stack[-1:]:  # none when the program ends
                if self.size != self._drawn_size:
                    screen.refresh(layout=True)  # Textual forgets what it would have drawn then
                screen.check_idle()

    async def _release_when_ready(self, hold: int, former: Screen[Any] | None) -> None:
        ends = time.monotonic() + _MOST_HOLD_SECONDS
        while self._held is not None and hold == self._holds and time.monotonic() < ends:
            screen = self.screen
            takes_keys = screen.is_mounted and (screen.focused or not screen.focus_chain)
            if former not in (None, screen) and takes_keys:
                break
            await asyncio.sleep(_HOLD_SECONDS)
        self.release_keys(hold)

    async def run_to_end(self) -> R | None:
        """Run until the user leaves, and return the result. Raises what ended it before.

        Textual takes a cancellation for an end like others: here it is raised, once all is in order.
        """
        result = await self.run_async()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if self.failure is not None:
            raise self.failure
        return result

    async def on_event(self, event: Event) -> None:
        """Take a paste without what could steer the terminal, and without the line ends at its end."""
        if isinstance(event, Paste) and not event.is_forwarded:
            event = Paste(writable(event.text).rstrip("\n"))
        elif (
            isinstance(event, Key)
            and (event.key, event.is_forwarded) == (_LINE_FEED, False)
            and time.monotonic() - self._began < _START_SECONDS
        ):  # Enter, typed before the program had the terminal, which made a line feed of it
            event = Key("enter", "\r")
        if isinstance(event, Key) and not event.is_forwarded:
            self._key_at = time.monotonic()
            if self._held is not None:
                self._held_later.append(event)
                return
        await super().on_event(event)

    @property
    def seconds_since_key(self) -> float:
        """How long ago the last key was pressed, in seconds."""
        return time.monotonic() - self._key_at

    def _handle_exception(self, error: Exception) -> None:
        """End because of a defect, without Textual's traceback: that shows the values of variables."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self.failure = self.failure or error
        self._return_code = 1
        self._close_messages_no_wait()
