"""The screen on which two people compare their keys. Decides about exactly the key that it shows."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Button, Input, Static

from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.line_content import paragraphs
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.typed_ahead import Field
from clave_client.tui.widgets.qr_code import QrCode
from clave_client.ui.display import note
from clave_client.ui.key_commands import digits_match
from clave_client.values import Fingerprint

__all__ = ["CompareScreen"]

_GROUPS: Final = 4
"""Groups of digits or letters in a line."""


class CompareScreen(SideScreen[bool]):
    """The fingerprint of a key, the safety number with its owner, and its QR code: both see the same ones.

    Closes with True once the key was marked as verified.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "compare.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("verify")

    def __init__(self, talk: ScreenConversation, found: Fingerprint) -> None:
        super().__init__(talk)
        self._found = found
        self._is_own = not found.safety_number

    def heading(self) -> str:
        """Return what is to be done."""
        return "Your own key" if self._is_own else f"Compare with {self._found.name}"

    def compose_body(self) -> ComposeResult:
        """Yield what is compared, and below it the answers."""
        found = self._found
        with VerticalScroll(id="body", can_focus=self._is_own):
            yield Static(Content(self._what_to_do()))
            if not self._is_own:
                yield Static(_groups("Safety number", found.safety_number), classes="gap")
            yield Static(_groups("Fingerprint", found.fingerprint), classes="gap")
            yield Static(Content.styled(f"The key is from {found.source}.", "$text-muted"))
            yield QrCode(found.safety_number.replace(" ", ""))
        if not self._is_own:
            yield Field(placeholder="type what is read to you: half of it, or all", compact=True)
            with Horizontal(id="answers"):
                yield Button(Content("They are the same"), "primary", action="screen.same", compact=True)
                yield Button(Content("They differ"), action="screen.differ", compact=True)

    def _what_to_do(self) -> str:
        name = self._found.name
        if self._is_own:
            return "Others compare it with you, and verify you. It is the same on all your devices."
        done = "You have compared it before, and it was right. " if self._found.verified else ""
        return (
            f"{done}{name} sees the same number and the same picture, if nobody stands between you. Call or"
            f" meet {name}, and compare them; a message here would prove nothing."
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer no answers about the own key."""
        return not (self._is_own and action in ("same", "differ"))

    # --- answers ---

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Mark the key if the digits that were read out are its own."""
        found, typed = self._found, event.value
        if digits_match(typed, found.safety_number) or digits_match(typed, found.fingerprint):
            self.action_same()
            return
        self.show_error(
            "That is not what is shown here, and nothing was marked: type at least the first half of the"
            f" number or the fingerprint. If {found.name} read it to you, somebody stands between you."
        )

    def action_same(self) -> None:
        """Mark the key that is shown as verified."""
        self.begin(self._verify())

    async def _verify(self) -> None:
        found = self._found
        if await self.do(m.Verify(name=found.name, account=found.account, key=new_key())):
            self.talk.show(note(f"{found.name} is verified: {found.fingerprint}"))
            self.dismiss(True)

    def action_differ(self) -> None:
        """Say what it means that they differ; nothing is marked."""
        name = self._found.name
        self.talk.keys.last.pop(name, None)
        self.show_error(
            f"Nothing was marked. Check that {name}, too, looks at the number with you. If it still differs,"
            f" this is not the key that {name} uses: somebody stands between you, and can read what you say."
            f" Say nothing confidential where this key is, and tell {name}."
        )


def _groups(title: str, text: str) -> Content:
    groups = text.split(" ")
    lines = [" ".join(groups[at : at + _GROUPS]) for at in range(0, len(groups), _GROUPS)]
    return paragraphs(Content(title), *(Content.styled(f"  {line}", "bold") for line in lines))
