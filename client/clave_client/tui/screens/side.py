"""What all screens beside the main one share: a title, an error in one line, and a key that closes them."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.hints import error_text

__all__ = ["SideScreen"]

T = TypeVar("T")
R = TypeVar("R")


class SideScreen(ModalScreen[R]):
    """A screen over the main one, about what `talk` talks of. `compose_body` yields what is in it."""

    CSS_PATH = "side.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")
    HEADING: ClassVar[str] = ""

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__()
        self.talk = talk

    def compose(self) -> ComposeResult:
        """Put the heading, the body and the line of errors into a frame."""
        with Vertical(id="frame"):
            yield Static(Content(self.heading()), id="heading")
            yield from self.compose_body()
            yield Static(id="error")

    def heading(self) -> str:
        """Return the title of the screen."""
        return self.HEADING

    def compose_body(self) -> ComposeResult:
        """Yield the widgets between heading and errors."""
        raise NotImplementedError

    async def ask(self, method: m.Method[T]) -> T | None:
        """Have the owner execute a method; show an error in a line, and then return None."""
        try:
            result = await self.talk.session.ask(method)
        except ClientError as error:
            self.show_error(error_text(error))
            return None
        self.show_error("")
        return result

    def show_error(self, text: str) -> None:
        """Show why something was not done, or with "" nothing."""
        if self.is_mounted:
            self.query_one("#error", Static).update(Content(text))

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
