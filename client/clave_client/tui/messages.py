"""What the widgets tell each other. Knows none of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from textual.message import Message

from clave_client.rpc.values import HistoryMessage

__all__ = [
    "About",
    "LineTyped",
    "PageWanted",
    "PlaceWanted",
    "ShortcutPressed",
    "TextEdited",
    "ThemeChosen",
]


@dataclass(frozen=True)
class About:
    """The message that what is written answers, or with `edits` gives another text.

    `before` was written before an edit, and is written again after it.
    """

    message: HistoryMessage
    edits: bool
    before: str = field(default="", repr=False)


class LineTyped(Message):
    """The user sends what was written, or runs it as a command; `about` is what it answers or edits."""

    def __init__(self, text: str, about: About | None = None) -> None:
        super().__init__()
        self.text = text
        self.about = about


class TextEdited(Message):
    """What is being written has changed."""


class ShortcutPressed(Message):
    """A key of the main screen was pressed while `text` was written; it comes in turn with typed lines."""

    def __init__(self, action: str, text: str) -> None:
        super().__init__()
        self.action = action
        self.text = text


class PageWanted(Message):
    """The list of messages is near one of its ends; `older` says which."""

    def __init__(self, *, older: bool) -> None:
        super().__init__()
        self.older = older


class PlaceWanted(Message):
    """The user wants the messages at a place of the history: 0.0 for the oldest, 1.0 for the newest."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = place


class ThemeChosen(Message):
    """The user chose how the screen looks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
