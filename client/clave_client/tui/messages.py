"""What the widgets tell each other. Knows none of them."""

from __future__ import annotations

from textual.message import Message

from clave_client.rpc.values import HistoryMessage

__all__ = [
    "LineTyped",
    "MessageAction",
    "PageWanted",
    "PlaceWanted",
    "RoomChosen",
    "ShortcutPressed",
    "TextEdited",
    "ThemeChosen",
]


class LineTyped(Message):
    """The user sends what was written, or runs it as a command."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


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


class RoomChosen(Message):
    """The user chose a room in the list."""

    def __init__(self, room: bytes) -> None:
        super().__init__()
        self.room = room


class MessageAction(Message):
    """The user wants `action` (an action of the place "messages" in `keymap`) done to these messages."""

    def __init__(self, action: str, messages: list[HistoryMessage]) -> None:
        super().__init__()
        self.action = action
        self.messages = messages


class ThemeChosen(Message):
    """The user chose how the screen looks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
