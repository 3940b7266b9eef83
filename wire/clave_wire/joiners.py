"""Where a zero-width joiner or non-joiner belongs in a text: between letters it shapes, and inside an emoji.

The scripts are those of Unicode Standard Annex 31, table 5, and limited-use ones, whose letters take another
form beside a joiner (section 2.3); the emoji sequences those of Unicode Technical Standard 51 (ED-16).
"""

from __future__ import annotations

import functools
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

__all__ = ["JOINERS", "is_joining"]

_ZWNJ, _ZWJ = "\u200c", "\u200d"

JOINERS: Final = frozenset({_ZWNJ, _ZWJ})
"""Zero-width non-joiner and zero-width joiner."""

_SCRIPTS: Final = frozenset(
    {
        *(
            "ADLAM",
            "ARABIC",
            "BENGALI",
            "DEVANAGARI",
            "GUJARATI",
            "GURMUKHI",
            "KANNADA",
            "KHMER",
            "MALAYALAM",
        ),
        *("MONGOLIAN", "MYANMAR", "NKO", "ORIYA", "SINHALA", "SYRIAC", "TAMIL", "TELUGU"),
    }
)
"""First words of the names of these scripts' letters and marks."""

_EMOJI_STYLE: Final = "\ufe0f"
_SKIN_TONES: Final = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")

_PICTOGRAPHS: Final = """
a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 2388 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab 25b6
25c0 25fb-25fe 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271d 2721 2728 2733-2734 2744 2747
274c 274e 2753-2755 2757 2763-2767 2795-2797 27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d
3297 3299 1f000-1f0ff 1f10d-1f10f 1f12f 1f16c-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1ad-1f1e5 1f201-1f20f
1f21a 1f22f 1f232-1f23a 1f23c-1f23f 1f249-1f3fa 1f400-1f53d 1f546-1f64f 1f680-1f6ff 1f774-1f77f 1f7d5-1f7ff
1f80c-1f80f 1f848-1f84f 1f85a-1f85f 1f888-1f88f 1f8ae-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1faff 1fc00-1fffd
"""
"""Extended_Pictographic in emoji-data.txt of Unicode 14.0, code points as in `name_tables`."""


def is_joining(before: Sequence[str], joiner: str, after: str) -> bool:
    """Return whether a joiner belongs between the characters `before` it, of which two matter, and `after`.

    Strings of several characters are what no joiner belongs to, like the empty one.
    """
    if not before:
        return False
    script = _joined_script(before[-1])
    if script and script == _joined_script(after):
        return True
    return joiner == _ZWJ and _ends_emoji(before) and _is_pictograph(after)


def _joined_script(character: str) -> str:
    """Return the script of a letter or mark that joiners shape; "" of any other character."""
    if len(character) != 1 or unicodedata.category(character)[0] not in "LM":
        return ""
    script = unicodedata.name(character, "").partition(" ")[0]
    return script if script in _SCRIPTS else ""


def _ends_emoji(before: Sequence[str]) -> bool:
    """Return whether a pictograph stands last, or last but for its emoji style or skin tone."""
    last = before[-1]
    if len(before) > 1 and (last == _EMOJI_STYLE or last in _SKIN_TONES):
        last = before[-2]
    return _is_pictograph(last)


def _is_pictograph(character: str) -> bool:
    if len(character) != 1:
        return False
    starts, ends = _pictographs()
    at = bisect_right(starts, ord(character)) - 1
    return at >= 0 and ord(character) <= ends[at]


@functools.cache
def _pictographs() -> tuple[list[int], list[int]]:
    """Return the first and the last code point of each range."""
    bounds = [item.partition("-") for item in _PICTOGRAPHS.split()]
    return [int(first, 16) for first, _, _ in bounds], [int(last or first, 16) for first, _, last in bounds]
