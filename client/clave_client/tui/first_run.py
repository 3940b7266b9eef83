"""The first screen of all: who one is, and where. Knows no relay and no profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from clave_client.tui.base_app import BaseApp
from clave_client.tui.running import chosen_theme
from clave_client.tui.themes import DARK
from clave_client.tui.typed_ahead import Field

__all__ = ["Answers", "FirstRun", "ask_first"]

_WELCOME: Final = (
    "clave: end-to-end encrypted group chat.\nYour account is made on this machine: nobody else has its keys."
)


@dataclass(frozen=True)
class Answers:
    """What somebody said: a name, and a relay's address or a link to join by; "" for a profile there is."""

    name: str = ""
    relay: str = ""


class FirstRun(BaseApp[Answers | None]):
    """Asks which of the profiles `names` to use, or what a new one needs; `problem` is why it asks again."""

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = [
        Path(__file__).with_name("base_app.tcss"),
        "first_run.tcss",
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,ctrl+c", "quit", "quit", priority=True),
    ]

    def __init__(
        self, names: Sequence[str], answers: Answers, problem: str, *, theme: str = DARK.name
    ) -> None:
        super().__init__(theme)
        self._names = names
        self._answers = answers
        self._problem = problem

    def compose(self) -> ComposeResult:
        """Put the questions below each other."""
        with VerticalScroll(id="form", can_focus=False):
            yield Static(Content(_WELCOME), id="welcome")
            if self._names:
                yield Static(Content("Go on as"))
                yield OptionList(*(Option(Content(name), id=f"p-{name}") for name in self._names))
                yield Static(Content("or begin anew. Your name"))
            else:
                yield Static(Content("Your name"))
            yield Field(self._answers.name, placeholder="red", id="name", compact=True)
            yield Static(Content("Where: a relay's address, or a link that somebody sent you"))
            yield Field(
                self._answers.relay, placeholder="chat.example.org or clave://...", id="relay", compact=True
            )
            yield Static(Content(self._problem), id="problem")
            yield Button(Content("Start"), id="start", variant="primary", compact=True)
            yield Static(Content("Enter goes on, Ctrl-Q quits. Nobody to ask? clave-relay starts a relay."))

    def on_mount(self) -> None:
        """Begin with the first question that has no answer."""
        self.query_one("#name", Field).entered = self._named
        self.query_one("#relay", Field).entered = self._start
        if self._problem and self._answers.name:
            self.query_one("#relay").focus()
        elif self._names and not self._answers.name:
            self.query_one(OptionList).focus()
        else:
            self.query_one("#relay" if self._answers.name else "#name").focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go on with a profile there is."""
        self.exit(Answers(self._names[event.option_index]))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Forget what was wrong with an answer that is another one now."""
        if event.value != (self._answers.name if event.input.id == "name" else self._answers.relay):
            self.query_one("#problem", Static).update("")

    def _named(self) -> None:
        """Go on to the next question, or start."""
        name, relay = (self.query_one(part, Input) for part in ("#name", "#relay"))
        if name.value.strip() and not relay.value:
            self.screen.set_focus(relay)
        else:
            self._start()

    def on_button_pressed(self, _: Button.Pressed) -> None:
        """Start, or go to what is missing."""
        self._start()

    def _start(self) -> None:
        name, relay = (self.query_one(part, Input).value.strip() for part in ("#name", "#relay"))
        if name in self._names and not relay:
            self.exit(Answers(name))
        elif not name:
            self._missing("#name", "say what others are to call you")
        elif not relay:
            self._missing(
                "#relay", "say where: whoever invited you knows the relay's address, or sends a link"
            )
        elif name in self._names:
            self._missing("#name", f"{name} is a profile on this machine already; choose it above")
        else:
            self.exit(Answers(name, "".join(relay.split()).removeprefix("clavejoin")))

    def _missing(self, part: str, words: str) -> None:
        self.query_one("#problem", Static).update(Content(words))
        self.query_one(part).focus()


async def ask_first(home: Path, names: Sequence[str], answers: Answers, problem: str) -> Answers | None:
    """Return what the user answers, None if they leave; `home` is the folder of all profiles."""
    return await FirstRun(names, answers, problem, theme=chosen_theme(home)).run_to_end()
