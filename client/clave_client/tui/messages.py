"""What the widgets tell each other. Knows none of them."""

from __future__ import annotations

from textual.message import Message

__all__ = ["LineTyped", "PageWanted", "RoomChosen"]


class LineTyped(Message):
    """The user sends what was written, or runs it as a command."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class PageWanted(Message):
    """The list of messages is near one of its ends; `older` says which."""

    def __init__(self, *, older: bool) -> None:
        super().__init__()
        self.older = older


class RoomChosen(Message):
    """The user chose a room in the list."""

    def __init__(self, room: bytes) -> None:
        super().__init__()
        self.room = room
