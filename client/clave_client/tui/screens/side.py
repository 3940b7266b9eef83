"""What all screens beside the main one share: a title, an error in one line, and a key that closes them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.types import CSSPathType
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings, shown_key
from clave_client.tui.screens.over import OverScreen
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.hints import error_text

__all__ = ["SideScreen", "new_key"]

T = TypeVar("T")
R = TypeVar("R")

_SHORT_ROWS: Final = 24
"""Rows below which a screen takes all there are, and says less."""

_SEPARATOR: Final = "  "


def new_key() -> str:
    """Return a key for a change, so that it is done once."""
    return secrets.token_hex(16)


class SideScreen(OverScreen[R]):
    """A screen over the main one, about what `talk` talks of. `compose_body` yields what is in it.

    `HINT` says, before the keys in the last line, what keys do there that the table of keys does not list.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = "side.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")
    VERTICAL_BREAKPOINTS = [(0, "-short"), (_SHORT_ROWS, "-tall")]  # noqa: RUF012  (as Textual declares it)
    HEADING: ClassVar[str] = ""
    HINT: ClassVar[str] = ""

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__()
        self.talk = talk
        self.of_room = talk.room
        """The room that all is about, also if another one is entered below the screen."""
        self._work: Worker[object] | None = None
        self._said = Static(id="said")
        self._said.display = False

    def compose(self) -> ComposeResult:
        """Put the heading, the body, and lines of what was done and of keys into a frame."""
        with Vertical(id="frame"):
            yield Static(Content(self.heading()), id="heading")
            yield from self.compose_body()
            yield self._said
            yield Static(id="keys")

    def heading(self) -> str:
        """Return the title of the screen."""
        return self.HEADING

    def compose_body(self) -> ComposeResult:
        """Yield the widgets between heading and errors."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Show the keys that count, whenever others do."""
        self.bindings_updated_signal.subscribe(self, self._show_keys)
        self._show_keys()

    def _show_keys(self, _: object = None) -> None:
        shown: dict[str, str] = {}
        for active in self.active_bindings.values():
            if active.binding.show and active.enabled and active.node is self:
                shown.setdefault(active.binding.description, shown_key(active.binding.key))
        pieces = [Content.styled(self.HINT, "$text-muted")] if self.HINT else []
        for words, key in shown.items():
            pieces.append(Content.assemble((key, "bold"), (f" {words}", "$text-muted")))
        self.query_one("#keys", Static).update(Content(_SEPARATOR).join(pieces))

    @property
    def room(self) -> str:
        """The room that the screen was opened in, as a parameter of a method; "" for none."""
        return "" if self.of_room is None else self.of_room.hex()

    async def ask(self, method: m.Method[T]) -> T | None:
        """Have the owner execute a method; show an error in a line, and then return None."""
        done: list[T] = []
        await self.do(method, done.append)
        return done[0] if done else None

    async def do(self, method: m.Method[T], then: Callable[[T], object] = lambda _: None) -> bool:
        """Have the owner execute a method, and call `then` with its result; return whether it did.

        An error is shown in a line.
        """
        try:
            result = await self.talk.session.ask(method)
        except ClientError as error:
            self.show_error(error_text(error))
            return False
        self.show_error("")
        then(result)
        return True

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Do what may take a while, and leave the screen usable; ignore it while something is being done."""
        if self._work is not None and not self._work.is_finished:
            work.close()
        else:
            self._work = self.run_worker(work)

    def current(self) -> str:
        """Return the room as `room` does; show that there is none, and then return ""."""
        if self.of_room is None:
            self.show_error("you are in no room; /new TITLE opens one")
        return self.room

    def show_error(self, text: str) -> None:
        """Show why something was not done, or with "" nothing."""
        self._said.update(Content(text))
        self._said.display = bool(text)
        self._said.set_class(True, "-error")

    def say(self, text: str) -> None:
        """Show what was done."""
        self.show_error(text)
        self._said.set_class(False, "-error")

    @property
    def body(self) -> Widget:
        """What the keys for scrolling scroll."""
        return self.query_one("#body")

    async def action_body_up(self) -> None:
        """Scroll one page up."""
        await self.body.run_action("page_up")

    async def action_body_down(self) -> None:
        """Scroll one page down."""
        await self.body.run_action("page_down")

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
