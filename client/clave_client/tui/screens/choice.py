"""A question with a few answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from clave_client.tui.keymap import bindings
from clave_client.tui.screens.over import OverScreen

__all__ = ["ChoiceScreen"]


class ChoiceScreen(OverScreen[str | None]):
    """Asks `question`; `answers` are words by what is returned. Closing it returns None."""

    CSS_PATH = "choice.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")

    def __init__(self, question: str, answers: Mapping[str, str]) -> None:
        super().__init__()
        self._question = question
        self._answers = answers

    def compose(self) -> ComposeResult:
        """Put the question above its answers."""
        with Vertical(id="frame"):
            yield Static(Content(self._question), id="question")
            yield OptionList(*(Option(Content(words)) for words in self._answers.values()))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the answer."""
        self.dismiss(list(self._answers)[event.option_index])

    def action_close(self) -> None:
        """Return no answer."""
        self.dismiss(None)
