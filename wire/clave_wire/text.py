"""Text somebody else wrote: made harmless to show, judged as a name. Knows nothing of terminals or messages.

Names are compared as Unicode Technical Standard 39 compares identifiers: by skeleton. Every Python judges
them alike, whichever Unicode its `unicodedata` has: by the table of Unicode 14.0 in `name_tables`.
"""

from __future__ import annotations

import functools
import unicodedata
from bisect import bisect_right
from typing import Final

from confusable_homoglyphs import categories, confusables

from clave_wire.errors import BadName
from clave_wire.name_tables import DIGITS, LETTERS, MARKS

__all__ = ["MAX_NAME_CHARACTERS", "check_name", "fold", "sanitize", "skeleton"]

MAX_NAME_CHARACTERS: Final = 32
"""Characters of a participant's name."""

_MAX_MARKS: Final = 4
"""Combining marks kept in a row; no writing system needs more, stacks of hundreds cover other lines."""

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_INVISIBLE_LETTERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that show nothing (default-ignorable ones and the blank Braille pattern)."""

_LETTER, _MARK, _DIGIT = "L", "M", "N"


def _read_ranges(table: str, kind: str) -> list[tuple[int, int, str]]:
    bounds = (item.partition("-") for item in table.split())
    return [(int(first, 16), int(last or first, 16), kind) for first, _, last in bounds]


_RANGES: Final = sorted(
    [*_read_ranges(LETTERS, _LETTER), *_read_ranges(MARKS, _MARK), *_read_ranges(DIGITS, _DIGIT)]
)
"""(first code point, last one, kind) of the characters that names are made of, in order."""

_STARTS: Final = [first for first, _, _ in _RANGES]

_NAME_PUNCTUATION: Final = frozenset("-_.")

_SCRIPTS_WRITTEN_TOGETHER: Final = (
    frozenset({"HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"HAN", "BOPOMOFO"}),
    frozenset({"HAN", "HANGUL"}),
)
"""UTS 39, section 5.2, "highly restrictive" without its Latin."""


def sanitize(text: str, *, multiline: bool = False) -> str:
    """Make a peer's text safe for a terminal: what could act or hide is spelled out, e.g. `<U+202E>`.

    Controls, escapes, bidirectional and zero-width and other format characters, surrogates, private-use and
    unassigned code points are spelled out; more than four combining marks in a row are cut. Newlines and tabs
    stay only if `multiline`. Everything else is returned as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        if character in "\n\t" and multiline:
            marks = 0
            shown.append(character)
        elif _is_hidden(character):
            marks = 0
            shown.append(f"<U+{ord(character):04X}>")
        elif unicodedata.category(character)[0] == "M":
            marks += 1
            if marks <= _MAX_MARKS:
                shown.append(character)
        else:
            marks = 0
            shown.append(character)
    return "".join(shown)


def check_name(name: str) -> None:
    """Raise `BadName` unless `name` may be a participant's name.

    Letters, digits and `-_.` of one script, normalised (NFC), 32 characters at most, a letter or digit first.
    All of them were assigned in Unicode 14.0.
    """
    if not name:
        raise BadName("a name cannot be empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadName(f"a name has at most {MAX_NAME_CHARACTERS} characters, this one has {len(name)}")
    marks = 0
    for character in name:
        kind = _kind_of(character)
        marks = marks + 1 if kind == _MARK else 0
        allowed = kind is not None or character in _NAME_PUNCTUATION
        if character in _INVISIBLE_LETTERS or (not allowed and _is_hidden(character)):
            raise BadName(f"a name cannot hold the invisible character U+{ord(character):04X}")
        if not allowed:
            raise BadName(f"a name holds letters, digits (of Unicode 14.0) and - _ . only, not {character!a}")
        if marks > _MAX_MARKS:
            raise BadName(f"a name stacks at most {_MAX_MARKS} combining marks")
    # From here on only characters of Unicode 14.0 are left, which every later version normalizes and folds
    # alike: "Normalization Stability" and "Case Folding Stability" of Unicode's Character Encoding Stability
    # Policies.
    if unicodedata.normalize("NFC", name) != name:
        raise BadName("a name must be in Unicode's composed form (NFC)")
    if _kind_of(name[0]) == _MARK or name[0] in _NAME_PUNCTUATION:
        raise BadName("a name starts with a letter or a digit")
    scripts = frozenset(categories.unique_aliases(name)) - {"COMMON", "INHERITED"}
    if len(scripts) > 1 and not any(scripts <= together for together in _SCRIPTS_WRITTEN_TOGETHER):
        raise BadName(f"a name keeps to one script, this one mixes {' and '.join(sorted(scripts)).title()}")


def fold(name: str) -> str:
    """Return what two names share that differ in case or compatibility form only.

    All versions of Python agree on it for names that `check_name` accepts.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def skeleton(name: str) -> str:
    """Return what names share that look alike: `b1ue` and `blue`, Cyrillic twins (UTS 39, section 4).

    All versions of Python agree on it for names that `check_name` accepts.
    """
    folded = _prototypes(name).casefold()
    return unicodedata.normalize("NFD", _prototypes(folded).casefold())


def _kind_of(character: str) -> str | None:
    """Return whether a character is a letter, mark or digit in Unicode 14.0; None for all else."""
    point = ord(character)
    at = bisect_right(_STARTS, point) - 1
    if at < 0:
        return None
    _, last, kind = _RANGES[at]
    return kind if point <= last else None


def _prototypes(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(map(_prototype, decomposed))


@functools.lru_cache(maxsize=4096)
def _prototype(character: str) -> str:
    """Return the form UTS 39 maps a character to.

    The package lists each pair from both sides and marks no direction: a prototype has many look-alikes, and
    a look-alike has one prototype. Of two that have only each other, the smaller code point stands for both.
    """
    alike = _alike(character)
    if len(alike) != 1:
        return character
    other = alike[0]
    return min(character, other) if len(_alike(other)) == 1 else other


def _alike(text: str) -> list[str]:
    entries = confusables.confusables_data.get(text, [])
    return [entry["c"].replace("\u200e", "") for entry in entries]


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _INVISIBLE_LETTERS
