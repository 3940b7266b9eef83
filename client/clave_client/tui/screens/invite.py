"""The screen that brings others into a room: by their names, or by a link. Shows a link with its QR code."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.types import CSSPathType
from textual.widgets import Button, Input, Select, Static

from clave_client.events import Person
from clave_client.formats.durations import exact_duration_words
from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.typed_ahead import Field
from clave_client.tui.widgets.qr_code import QrCode
from clave_client.ui.display import name_with_warning, note
from clave_client.ui.link_text import DEFAULT_SECONDS, DEFAULT_USES, made_lines
from clave_client.values import MadeLink

__all__ = ["InviteScreen"]

_SECONDS: Final = (3600, 86_400, DEFAULT_SECONDS, 30 * 86_400)
_USES: Final = (1, DEFAULT_USES, 100)


class InviteScreen(SideScreen[None]):
    """A name to invite, what a link is to allow, and the link once it is made."""

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "invite.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("invite")
    HINT = "Enter invites"

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        others = sorted({*talk.names} - {talk.name, *talk.members.values()})
        suggester = SuggestFromList(others, case_sensitive=False)
        self._whom = Field(placeholder="name of whom to invite", suggester=suggester, compact=True, id="name")
        self._seconds = _choice([(exact_duration_words(each), each) for each in _SECONDS], DEFAULT_SECONDS)
        self._uses = _choice([("1 device", 1), *((f"{n} devices", n) for n in _USES[1:])], DEFAULT_USES)
        self._shown, self._picture = Static(), QrCode()
        self._line = ""

    def heading(self) -> str:
        """Return into which room."""
        return f"Invite into {self.talk.title(self.of_room)}"

    def compose_body(self) -> ComposeResult:
        """Yield both ways."""
        with VerticalScroll(id="body", can_focus=False):
            yield Static(Content("By name: they find the invitation when they look, and answer it."))
            yield self._whom
            yield Static(Content("Or by a link: whoever has it can join, within"))
            with Horizontal(classes="row"):
                yield self._seconds
                yield self._uses
            yield Button(Content("Make a link"), action="screen.make_link", compact=True)
            yield self._shown
            yield self._picture

    def on_mount(self) -> None:
        """Begin with the name."""
        super().on_mount()
        self._shown.display = False
        self._whom.focus()

    # --- by name ---

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Invite a person."""
        name = event.value.strip()
        if not name:
            self.show_error("say whom: type a name, or make a link")
        elif room := self.current():
            self._whom.select_all()  # so that another name takes its place
            self.begin(self.do(m.Invite(room=room, name=name, key=new_key()), self._invited))

    def _invited(self, person: Person) -> None:
        name = name_with_warning(person, self.talk.account)
        self.talk.show(note(f"the invitation waits for {name}"))
        self.say(f"The invitation waits for {name}.")
        self._whom.value = ""

    # --- by link ---

    def action_make_link(self) -> None:
        """Make a link and show it."""
        seconds, uses = self._seconds.value, self._uses.value
        if not isinstance(seconds, int) or not isinstance(uses, int):
            return
        if room := self.current():
            link = m.MakeLink(room=room, seconds=seconds, uses=uses, key=new_key())
            self.begin(self.do(link, self._made))

    def _made(self, made: MadeLink) -> None:
        lines = made_lines(made, self.talk.title(self.of_room))
        self._line = lines[1]
        self._shown.update(Content("\n".join(lines)))
        self._shown.display = True
        self._picture.show(made.text)
        self.refresh_bindings()
        self.call_after_refresh(self._shown.scroll_visible, top=True, animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to copy only what is there."""
        return action != "copy" or bool(self._line)

    def action_copy(self) -> None:
        """Copy the line to join by."""
        self.app.copy_to_clipboard(self._line)
        self.say("Copied, if the terminal allows it: send it only to whom you want to let in.")


def _choice(options: list[tuple[str, int]], value: int) -> Select[int]:
    return Select(options, value=value, allow_blank=False, compact=True)
