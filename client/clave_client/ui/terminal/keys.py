"""The keys of the prompt besides those for editing text. Knows not what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from prompt_toolkit.filters import is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

__all__ = ["KeyActions", "make_keys"]


class KeyActions(Protocol):
    """What the keys call."""

    def enter(self) -> None:
        """Take the text."""

    def new_line(self) -> None:
        """Insert a newline."""

    def paste(self, text: str) -> None:
        """Insert a pasted text."""

    def interrupt(self) -> None:
        """Cancel, clear or quit."""

    def delete_or_end(self) -> None:
        """Delete a character; with no text, end the input."""

    def suspend(self) -> None:
        """Stop until a shell continues the program."""

    def complete(self) -> None:
        """Complete the text before the cursor."""

    def shortcut(self, name: str) -> None:
        """Run a shortcut."""


def make_keys(actions: KeyActions, shortcuts: Iterable[str]) -> KeyBindings:
    """Return the bindings; a shortcut is named as "alt-1" or "f2"."""
    keys = KeyBindings()

    def bind(sequence: tuple[str, ...], action: Callable[[], None], *, searching: bool = False) -> None:
        keys.add(*sequence, filter=searching or ~is_searching)(lambda _: action())

    bind(("enter",), actions.enter)
    bind(("escape", "enter"), actions.new_line)
    bind(("c-o",), actions.enter)  # By default it would drop the text.
    bind(("c-c",), actions.interrupt)
    bind(("c-d",), actions.delete_or_end)
    bind(("c-z",), actions.suspend, searching=True)
    bind(("tab",), actions.complete)
    for name in shortcuts:
        sequence = ("escape", name.removeprefix("alt-")) if name.startswith("alt-") else (name,)
        bind(sequence, partial(actions.shortcut, name), searching=True)

    @keys.add(Keys.CPRResponse)
    def _(_: KeyPressEvent) -> None:
        pass  # Nobody asked for it; by default it would make the prompt higher.

    @keys.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        actions.paste(event.data)

    return keys
