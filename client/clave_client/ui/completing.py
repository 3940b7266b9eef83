"""What a text that is being written could become: commands, names, rooms, emoji. Knows no terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from clave_client.ui.chat_commands import COMMANDS
from clave_client.ui.conversation import Conversation

__all__ = ["Completion", "completed_line", "completions"]

_MOST: Final = 50
_WORD: Final = re.compile(r"(?:^|(?<=[\s(]))([@:])([^\s@:]*)$")
"""A mention or the name of an emoji at the end of a text."""

_LEAST_EMOJI: Final = 2
"""Letters of an emoji's name before it is completed: a colon alone is often not the start of one."""


@dataclass(frozen=True)
class Completion:
    """What a text could become: `text`, whole. `name` is the same as long as there is a choice.

    They differ for an emoji, which is found by its name.
    """

    text: str = field(repr=False)
    name: str = field(repr=False)


def completions(talk: Conversation, text: str) -> list[Completion]:
    """Return what `text`, which ends at the cursor, could become; nothing if it needs nothing."""
    if text.startswith("/") and not text.startswith("//"):
        found = [Completion(each, each) for each in _commands(talk, text)]
    else:
        found = _words(talk, text)
    return [each for each in found if each.text != text][:_MOST]


def completed_line(talk: Conversation, text: str) -> list[str]:
    """Return what `text` could become, for a prompt that inserts what all of that begin with."""
    found = completions(talk, text)
    return [each.text if len(found) == 1 else each.name for each in found]


def _words(talk: Conversation, text: str) -> list[Completion]:
    match = _WORD.search(text)
    if match is None:
        return []
    start, word = text[: match.start(1)], match[2]
    if match[1] == "@":
        names = sorted(set(talk.members.values()))
        found = [f"{start}@{name} " for name in names if name.casefold().startswith(word.casefold())]
        return [Completion(each, each) for each in found]
    if len(word) < _LEAST_EMOJI:
        return []
    from clave_client.formats.emoji_names import complete, emoji_of  # here, as it takes 40 ms

    return [Completion(start + emoji_of(name), start + name) for name in complete(word.lower(), most=_MOST)]


def _commands(talk: Conversation, text: str) -> list[str]:
    name, space, argument = text[1:].partition(" ")
    if not space:
        return [f"/{command}" for command in COMMANDS if command.startswith(name.lower())]
    known = COMMANDS.get(name.lower())
    kind = known.completes if known else ""
    if kind == "emoji" and argument.startswith(":"):
        from clave_client.formats.emoji_names import complete

        return [f"/{name} {choice}" for choice in complete(argument)]
    if kind not in ("room", "name"):
        return []
    choices = sorted(room.title for room in talk.rooms.values()) if kind == "room" else talk.names
    folded = argument.casefold()
    return [f"/{name} {choice}" for choice in choices if choice.casefold().startswith(folded)]
