"""The screen on which all of a room are verified at once, by the words that all of them see."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.line_content import paragraphs
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.display import note
from clave_client.values import RoomInfo

__all__ = ["RoomCodeScreen"]

_WORDS: Final = 4
"""Words of a code in a line."""


class RoomCodeScreen(SideScreen[bool]):
    """The code of a room as it was when this was opened; closes with True once the `others` are verified."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("room code")

    def __init__(self, talk: ScreenConversation, info: RoomInfo, others: list[str]) -> None:
        super().__init__(talk)
        self._info = info
        self._others = others

    def heading(self) -> str:
        """Return what is to be done."""
        return f"Compare with all of {self._info.title}"

    def compose_body(self) -> ComposeResult:
        """Yield the words, and below them the answer."""
        with VerticalScroll(id="body"):
            text = (
                "Each of them sees these words now, and nobody outside of the room does. Have each of them"
                " read them to you, in a call or face to face; a message here would prove nothing."
            )
            yield Static(Content(text))
            code = self._info.code
            lines = [" ".join(code[at : at + _WORDS]) for at in range(0, len(code), _WORDS)]
            yield Static(paragraphs(*(Content.styled(line, "bold") for line in lines)), classes="gap")
            yield Static(Content(f"In the room: {', '.join(self._others)}"), classes="gap")
        yield Button(Content("All of them read these words"), "primary", action="screen.same", compact=True)

    def on_mount(self) -> None:
        """Begin with the words: the answer takes a key of its own, not the Enter that led here."""
        super().on_mount()
        self.body.focus()

    def action_same(self) -> None:
        """Mark all members as verified, by the words that are shown."""
        room, code = self._info.id.hex(), list(self._info.code)
        self.begin(self.do(m.VerifyRoom(room=room, code=code, key=new_key()), self._verified))

    def _verified(self, names: list[str]) -> None:
        self.talk.show(note(f"verified: {', '.join(names)}"))
        self.dismiss(True)
