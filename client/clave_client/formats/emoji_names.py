"""The names of emoji that people type, as GitHub and Slack have them. Knows no messages.

The names are those of the package `emoji`, which is loaded when a name is first looked up.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from itertools import islice, takewhile

__all__ = ["complete", "emoji_of"]

_NAME = re.compile(r"[a-z0-9_+-]++")
"""A name that can be typed; whatever has another name has such a one beside it."""

_CANCEL_TAG = "\N{CANCEL TAG}"
"""The end of the flags of England, Scotland and Wales, which are made of hidden characters."""


_NEWEST = 14
"""The version of emoji in Unicode 14.0, that of the oldest Python here, which shows no newer one."""


def emoji_of(name: str) -> str:
    """Return the emoji of a name such as `tada` or `:tada:`, "" if there is none."""
    return _emoji_by_name().get(_bare(name), "")


def complete(prefix: str, most: int = 20) -> list[str]:
    """Return at most `most` names that begin with `prefix`, with or without its colon, as in `:tada:`."""
    bare = prefix.removeprefix(":")
    names = _sorted_names()
    found = takewhile(lambda name: name.startswith(bare), islice(names, bisect_left(names, bare), None))
    return [f":{name}:" for name in islice(found, most)]


def _bare(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == ":" else name


@functools.cache
def _sorted_names() -> list[str]:
    return sorted(_emoji_by_name())


@functools.cache
def _emoji_by_name() -> dict[str, str]:
    """Return all emoji by name. A shorter name of one goes before the name that Unicode gives another."""
    from emoji import EMOJI_DATA, STATUS  # here, as it takes 40 ms and is seldom needed

    shown = {
        emoji: data
        for emoji, data in EMOJI_DATA.items()
        if data["status"] <= STATUS["fully_qualified"] and data["E"] <= _NEWEST and _CANCEL_TAG not in emoji
    }
    by_name: dict[str, str] = {}
    for emoji, data in shown.items():
        for name in data.get("alias", []):
            by_name.setdefault(_bare(name), emoji)
    for emoji, data in shown.items():
        by_name.setdefault(_bare(data["en"]), emoji)
    return {name: emoji for name, emoji in by_name.items() if _NAME.fullmatch(name)}
