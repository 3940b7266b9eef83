"""What the word being written could become, in a few lines above the composer."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from clave_client.ui.completing import Completion

__all__ = ["CompletionList"]


class CompletionList(OptionList, can_focus=False):
    """The choices; hidden without any."""

    def __init__(self) -> None:
        super().__init__()
        self._choices: Sequence[Completion] = ()
        self.display = False

    def show(self, choices: Sequence[Completion]) -> None:
        """Show these choices; nothing without any."""
        if choices == self._choices:
            return
        self._choices = choices
        self.clear_options()
        self.add_options(Option(Content(_shown(each))) for each in choices)
        self.highlighted = 0 if choices else None
        self.display = bool(choices)

    @property
    def chosen(self) -> Completion | None:
        """The choice that is highlighted."""
        place = self.highlighted
        return self._choices[place] if place is not None and place < len(self._choices) else None


def _shown(choice: Completion) -> str:
    word = choice.name if choice.name.startswith("/") else choice.name.split(" ")[-1]
    word = word or choice.name.rstrip().split(" ")[-1]
    return word if choice.text == choice.name else f"{choice.text.split(' ')[-1]}  {word}"
