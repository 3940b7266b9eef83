"""Has Textual take Alt with a key at once, on terminals that send Escape and the key for it.

Textual 8.2 waits 0.1 s for what follows an Escape, and takes what is typed until then for one unknown
sequence: of `Alt-a hello`, typed ahead, it makes `^ahello`. Alt-1 is "¡" to it, as on a Mac's keyboard.
"""

from __future__ import annotations

import string
from typing import Any, Final, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

__all__ = ["take_alt_at_once"]

_STARTS: Final = "[]OPX^_"
"""What begins a longer sequence after an Escape."""

_MEANT_OTHERWISE: Final = "bf"
"""Alt with these moves by words, as in a shell."""

_ENTERS: Final = "\r\n"


class _Key:
    """A key as the table has them: Textual asks for its `value`."""

    def __init__(self, value: str) -> None:
        self.value = value


def take_alt_at_once() -> None:
    """Add Alt with each letter, digit and Enter to the sequences that Textual knows."""
    table = cast(dict[str, Any], ANSI_SEQUENCES_KEYS)
    for character in string.ascii_letters + string.digits:
        if character not in _STARTS + _MEANT_OTHERWISE:
            shift = "shift+" if character.isupper() else ""
            table[f"\x1b{character}"] = (_Key(f"alt+{shift}{character.lower()}"),)
    for character in _ENTERS:
        table[f"\x1b{character}"] = (_Key("alt+enter"),)
