"""The demo on a whole terminal: three people and the relay's rows at once, then the receipt of a message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path, PurePath
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Input, Static

from clave_client.events import Event, PresenceChanged
from clave_client.tui.base_app import BaseApp
from clave_client.tui.typed_ahead import Field
from clave_client.ui.demo_script import PEOPLE, TITLE, Play, played
from clave_client.ui.display import Line, event_line, own_message_line
from clave_client.ui.inspection_lines import relay_view_lines
from clave_client.ui.terminal.wrapping import wrap
from clave_client.values import RelayView
from clave_wire.text import sanitize

__all__ = ["DemoApp", "playing", "run_demo_screen"]

_PACE_SECONDS: Final = 0.7
_MOST_LINES: Final = 300
"""Lines that a pane keeps."""

_MOST_CHARACTERS: Final = 2000
"""The longest message that can be typed."""

_INDENT: Final = 2
_STYLES: Final = {
    "name": "bold $text-primary",
    "own": "bold $text-success",
    "time": "$text-muted",
    "note": "$text-accent",
    "alarm": "bold $text-error",
    "heading": "bold",
    "typed": "bold $text-warning",
}
_WAITING: Final = "three people and a relay; Esc ends"
_TYPING: Final = "you are red now; F2 receipt, Esc ends"


class _Pane(VerticalScroll):
    """Lines with a title, wrapped, the last ones in sight unless it is `from_top`."""

    def __init__(self, title: str, name: str, *, from_top: bool = False) -> None:
        super().__init__(id=name, classes="pane")
        self.border_title = title
        self._from_top = from_top
        self._lines: deque[Line] = deque(maxlen=_MOST_LINES)
        self._text = Static()

    def compose(self) -> ComposeResult:
        """Put the text into the part that scrolls."""
        yield self._text

    def on_mount(self) -> None:
        """Stay at the end from now on."""
        if not self._from_top:
            self.anchor()

    def on_resize(self, _: Resize) -> None:
        """Wrap the lines anew."""
        self._draw()

    def add(self, line: Line) -> None:
        """Add a line."""
        self._lines.append(line)
        self._draw()

    def show(self, lines: Iterable[Line]) -> None:
        """Show other lines."""
        self._lines = deque(lines, _MOST_LINES)
        self._draw()

    def _draw(self) -> None:
        columns = self.scrollable_content_region.width
        if columns > 0:
            rows = [row for line in self._lines for row in wrap(line, columns, _INDENT)]
            self._text.update(Content("\n").join(map(_content, rows)))


class DemoApp(BaseApp[None]):
    """The stage of the demo, on one screen. Each line of the script waits `pace` seconds.

    `clock` returns seconds since 1970.
    """

    TITLE = "clave demo"
    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = [
        Path(__file__).with_name("base_app.tcss"),
        "demo.tcss",
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,escape,ctrl+c", "leave", "quit", priority=True),
        Binding("f2", "receipt", "receipt", priority=True),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual declares it so)

    def __init__(self, *, pace: float = _PACE_SECONDS, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.pace = pace
        self._time = clock
        self._people = {name: _Pane(f"what {name} sees", name) for name in PEOPLE}
        self._relay = _Pane("what the relay sees", "relay")
        self._receipt = _Pane("the receipt: what the relay learned", "receipt", from_top=True)
        self._heading, self._input = Static(_WAITING, id="heading", markup=False), _TypedLine()
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._is_shown = asyncio.Event()

    def compose(self) -> ComposeResult:
        """Put the people above the relay, and a line to write below."""
        yield self._heading
        with Container(id="people"):
            yield from self._people.values()
        yield self._relay
        yield self._receipt
        yield self._input

    def on_mount(self) -> None:
        """Let the play begin."""
        self._is_shown.set()

    @property
    def is_over(self) -> bool:
        """Whether the script is over, so that the user can write."""
        return self.has_class("over")

    # --- the play ---

    async def play(self) -> None:
        """Have the script run, then what the user types; ends with cancellation or a failure."""
        await self._is_shown.wait()
        readers: list[asyncio.Task[None]] = []
        try:
            async with played(self, quiet=True) as play:
                readers += [asyncio.create_task(self._read_events(play, name)) for name in PEOPLE]
                await play.converse()
                self.show_receipt(play.receipt("green"))
                while True:
                    text = await self._typed.get()
                    self.wrote("red", text)
                    await play.send("red", text)
                    self.show_receipt(play.receipt("red"))
        except Exception as error:  # noqa: BLE001  (whoever runs the app raises it)
            self._fail(error)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read_events(self, play: Play, name: str) -> None:
        client = play.client(name)
        try:
            async for event in client.events():
                self.read(name, event, client.sync.account.verified.account)
        except Exception as error:  # noqa: BLE001  (the same)
            self._fail(error)

    def wrote(self, name: str, text: str) -> None:
        """Show a message or a command in the pane of who sends it."""
        shown = sanitize(text)
        is_command = text.startswith("/")
        line = [("typed", f"> {shown}")] if is_command else own_message_line(name, shown, self._time())
        self._add(self._people[name], line)

    def read(self, name: str, event: Event, account: bytes) -> None:
        """Show what the client of `name`, whose account is `account`, tells its user; not who is online."""
        if isinstance(event, PresenceChanged):
            return
        line = event_line(event, lambda _: TITLE, elsewhere=False, me=account)
        if line is not None:
            self._add(self._people[name], line)

    def mirrored(self, row: str) -> None:
        """Show a row of the relay's mirror."""
        moment, _, rest = row.partition("  ")
        self._add(self._relay, [("time", sanitize(moment)), ("", sanitize(f"  {rest}"))])

    def show_receipt(self, view: RelayView) -> None:
        """Show what the relay could learn of a message, and let the user write."""
        lines: list[Line] = [
            [("" if line.startswith(" ") else "heading", sanitize(line))] for line in relay_view_lines(view)
        ]
        self._receipt.show(lines)
        self._receipt.scroll_home(animate=False)
        if not self.is_over:
            self.add_class("over")
            self._heading.update(Content(_TYPING))
            self._input.disabled = False
            self._input.focus()

    def _add(self, pane: _Pane, line: Line) -> None:
        if self.is_running:  # the relay still has rows when all is over
            pane.add(line)

    # --- the user ---

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send what was written; `exit` ends the demo."""
        text = event.value.strip()
        self._input.value = ""
        if text == "exit":
            self.exit()
        elif text:
            self._typed.put_nowait(text)

    def action_leave(self) -> None:
        """End the demo."""
        self.exit()

    def action_receipt(self) -> None:
        """Show the receipt alone, or everything again."""
        if self.is_over:
            self.toggle_class("alone")

    # --- ends ---

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.exit(return_code=1)


class _TypedLine(Field):
    """The line that the user writes as red."""

    def __init__(self) -> None:
        super().__init__(
            placeholder="write as red: green reads it, blue has left",
            disabled=True,
            compact=True,
            max_length=_MOST_CHARACTERS,
        )


def _content(line: Line) -> Content:
    """Return a line in colours; its text is never markup."""
    return Content.assemble(*((text, _STYLES.get(style, "")) for style, text in line))


@asynccontextmanager
async def playing(app: DemoApp) -> AsyncIterator[None]:
    """Have the play run on an app that runs within the context; the relay has ended after it."""
    task = asyncio.create_task(app.play())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run_demo_screen() -> None:
    """Show the demo until the user leaves. Raises what ended it before."""
    app = DemoApp()
    async with playing(app):
        await app.run_to_end()
