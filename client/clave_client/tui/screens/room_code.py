"""The screen on which all of a room are verified at once, by the words that all of them see."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from clave_client.formats.room_code import code_lines
from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.line_content import paragraphs
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.display import note
from clave_client.values import RoomInfo

__all__ = ["RoomCodeScreen"]


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
        with VerticalScroll(id="body", can_focus=False):
            text = (
                "Each of them sees these words now, and nobody outside of the room does. Have each of them"
                " read them to you, in a call or face to face; a message here would prove nothing."
            )
            yield Static(Content(text))
            lines = [Content.styled(f"  {line}", "bold") for line in code_lines(self._info.code)]
            yield Static(paragraphs(*lines), classes="gap")
            yield Static(Content(f"In the room: {', '.join(self._others)}"), classes="gap")
        yield Button(Content("All of them read these words"), "primary", action="screen.same", compact=True)

    async def action_same(self) -> None:
        """Mark all members as verified, by the words that are shown."""
        await self.do(
            m.VerifyRoom(room=self._info.id.hex(), code=list(self._info.code), key=new_key()), self._verified
        )

    def _verified(self, names: list[str]) -> None:
        self.talk.show(note(f"verified: {', '.join(names)}"))
        self.dismiss(True)
