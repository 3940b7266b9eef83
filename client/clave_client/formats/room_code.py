"""The code of a room in one epoch: words that members read to each other. Knows no room.

Two people get the same words exactly if their devices are in the same epoch of the same group, and so have
the same members, roles and keys. Whoever wants to pass off two groups as one has to make commits in both
until two codes are equal, which takes the square root of the number of codes: 2^66 tries with 132 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from clave_client.formats.room_words import room_words
from clave_crypto.mls import Group

__all__ = ["CODE_WORDS", "code_lines", "code_words", "room_code"]

CODE_WORDS: Final = 12
"""Words of a code, of 11 bits each: the first 132 bits of the hash."""

_LABEL: Final = b"clave 1 room code"
_BITS: Final = 11
_WORDS_OF_LINE: Final = 6


def room_code(group: Group) -> tuple[str, ...]:
    """Return the 12 words of the epoch that `group` is in."""
    return code_words(group.group_id, group.epoch, group.epoch_authenticator)


def code_words(group_id: bytes, epoch: int, authenticator: bytes) -> tuple[str, ...]:
    """Return the words for an epoch, by its number and `epoch_authenticator` (RFC 9420, section 8.7)."""
    hashed = hashlib.sha256(_LABEL + group_id + epoch.to_bytes(8, "big") + authenticator).digest()
    bits = int.from_bytes(hashed, "big") >> (8 * len(hashed) - CODE_WORDS * _BITS)
    places = [bits >> (_BITS * (CODE_WORDS - 1 - place)) for place in range(CODE_WORDS)]
    words = room_words()
    return tuple(words[place % len(words)] for place in places)


def code_lines(words: Sequence[str]) -> list[str]:
    """Return the words in lines of six, as they are read aloud."""
    return [" ".join(words[at : at + _WORDS_OF_LINE]) for at in range(0, len(words), _WORDS_OF_LINE)]
