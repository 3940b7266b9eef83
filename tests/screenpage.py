"""Makes the tables in docs/screen.md: the keys, and how both modes serve each command and each event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clave_client import events
from clave_client.events import Event
from clave_client.tui.keymap import KEYMAP, Keys
from clave_client.tui.screens.help import PLACES
from clave_client.ui.chat_commands import COMMANDS

PAGE: Final = Path(__file__).parents[1] / "docs" / "screen.md"
BEGIN, END = "<!-- generated: make screen-page -->", "<!-- end of what is generated -->"

WAYS: Final[dict[str, tuple[str, ...]]] = {
    "invite": ("main.invite",),
    "links": ("main.links",),
    "revoke": ("main.links",),
    "accept": ("main.find_room",),
    "decline": ("main.find_room",),
    "room": ("main.find_room", "main.next_unread"),
    "who": ("main.members",),
    "members": ("main.members",),
    "info": ("main.info",),
    "fingerprint": ("main.verify",),
    "verify": ("main.verify",),
    "trust": ("main.verify",),
    "title": ("main.settings",),
    "topic": ("main.settings",),
    "policy": ("main.settings",),
    "disappear": ("main.settings",),
    "receipts": ("main.settings",),
    "mute": ("main.settings",),
    "archive": ("main.settings",),
    "history": ("main.older",),
    "reply": ("messages.reply",),
    "edit": ("messages.edit",),
    "delete": ("messages.delete",),
    "react": ("messages.react",),
    "unreact": ("messages.react",),
    "show": ("messages.details",),
    "receipt": ("messages.receipt",),
    "pin": ("messages.pin",),
    "unpin": ("messages.pin",),
    "search": ("main.search",),
    "more": ("main.search",),
    "jump": ("main.search",),
    "devices": ("main.devices",),
    "device": ("main.devices",),
    "help": ("main.help",),
    "exit": ("main.leave",),
}
"""By which keys the screen does what a command does; those that are missing are typed there too."""

_OTHER_ROOM: Final = re.compile("room_[2-9]")
_BOTH: Final = "Every chat command can be typed in both modes. The screen does many by keys as well."
_NOTE: Final = "the same line, between the messages"
_STATUS: Final = "the same line, and the line at the bottom"

SHOWN: Final[dict[type[Event], tuple[str, str]]] = {
    events.Message: ("a line; of another room a count", "a message; of another room a count"),
    events.MessageEdited: ("a line", "the message has its new text"),
    events.MessageDeleted: ("a line", "the message says so"),
    events.MessagesExpired: ("nothing; /history has them no more", "the message says so"),
    events.ReactionChanged: ("a line", "a count below the message"),
    events.StatusChanged: ("in /show", "a word at the message"),
    events.Sent: ("a line", "a message"),
    events.SendFailed: ("a line, and what it said", "the same lines, between the messages"),
    events.OutboxChanged: ("lines above the prompt", "lines above what is written, and a count"),
    events.Connected: ("a line", _STATUS),
    events.Disconnected: ("a line, and the prompt", _STATUS),
    events.Invited: ("a line", f"{_NOTE}, and an entry in the list of rooms"),
    events.RoomClosed: ("a line", f"{_NOTE}; it leaves the list of rooms"),
    events.RoomChanged: ("a line", f"{_NOTE}, and the titles"),
}
"""What line mode and the screen show of an event; of all others a line and the same line."""


def kinds() -> list[type[Event]]:
    """Return all kinds of events, by name."""
    found = [getattr(events, name) for name in events.__all__]
    return sorted(
        (kind for kind in found if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event),
        key=lambda kind: kind.__name__,
    )


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join([BEGIN, "", *_tables(), "", END]) + after


def _tables() -> Iterator[str]:
    keys = Keys()
    yield from ("## All keys", "", "| where | keys | do |", "|---|---|---|")
    for place, actions in KEYMAP.items():
        where = PLACES[place]
        for action in actions:
            if not _OTHER_ROOM.fullmatch(action.id):
                shown, words = keys.shown(place, action.id), action.words
                if action.id == "room_1":
                    shown, words = (
                        f"{shown} to {keys.shown(place, 'room_9')}",
                        "go to rooms 1 to 9 of the list",
                    )
                yield f"| {where} | {shown} | {words} |"
                where = ""
    yield from ("", "## Both modes", "", _BOTH, "")
    yield from ("| command | line mode | the screen |", "|---|---|---|")
    for name, command in COMMANDS.items():
        ways = [_way(keys, way) for way in WAYS.get(name, ())]
        also = f", or {' or '.join(ways)}" if ways else ""
        usage = command.usage.replace("|", "\\|")
        yield f"| `{usage}` | typed | typed{also} |"
    yield from ("", "| event | line mode shows | the screen shows |", "|---|---|---|")
    for kind in kinds():
        line, screen = SHOWN.get(kind, ("a line", _NOTE))
        yield f"| {kind.__name__} | {line} | {screen} |"


def _way(keys: Keys, way: str) -> str:
    place, action = way.split(".")
    first = "" if place == "main" else f"{keys.shown('main', 'select')} and "
    return first + keys.shown(place, action)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
