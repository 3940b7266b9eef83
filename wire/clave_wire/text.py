"""Sanitizes a peer's text, and validates and compares names. Knows no terminal and no message.

Names are compared by skeleton, as in Unicode Technical Standard 39. All Python versions agree on which names
are valid, as that is decided by the tables of Unicode 14.0 in `name_tables`, not by `unicodedata`. Tables are
read when a name that is not in ASCII first needs them.
"""

from __future__ import annotations

import functools
import unicodedata
from bisect import bisect_right
from typing import Final

from clave_wire.errors import BadName
from clave_wire.joiners import JOINERS, is_joining
from clave_wire.name_tables import DIGITS, LETTERS, MARKS

__all__ = ["MAX_NAME_CHARACTERS", "check_name", "fold", "sanitize", "skeleton"]

MAX_NAME_CHARACTERS: Final = 32
"""Characters of a participant's name."""

_MAX_MARKS: Final = 4
"""Combining marks kept in a row; no writing system needs more, and hundreds would cover other lines."""

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_INVISIBLE_LETTERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that show nothing (default-ignorable ones and the blank Braille pattern)."""

_LETTER, _MARK, _DIGIT = "L", "M", "N"


_ASCII_PROTOTYPES: Final = {
    '"': "''",
    "%": "º/₀",
    "0": "O",
    "1": "l",
    "I": "l",
    "`": "'",
    "m": "rn",
    "|": "l",
}
"""What UTS 39 maps ASCII characters to, but for those it maps to themselves; names in ASCII need no more."""

_NAME_PUNCTUATION: Final = frozenset("-_.")

_SCRIPTS_WRITTEN_TOGETHER: Final = (
    frozenset({"HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"HAN", "BOPOMOFO"}),
    frozenset({"HAN", "HANGUL"}),
)
"""UTS 39, section 5.2, "highly restrictive" without its Latin."""


def sanitize(text: str, *, multiline: bool = False, joiners: bool = False) -> str:
    """Make a peer's text safe for a terminal: control and hidden characters become e.g. `<U+202E>`.

    That is controls, escapes, bidirectional, zero-width and other format characters, surrogates, private-use
    and unassigned code points. Combining marks after the fourth in a row are cut. Newlines and tabs are kept
    only if `multiline`, zero-width joiners only if `joiners`, where they belong (`clave_wire.joiners`): that
    is for what people say, not for names, in which they would be confusable. Everything else is returned
    unchanged.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for index, character in enumerate(text):
        if character in "\n\t" and multiline:
            marks = 0
            shown.append(character)
        elif (
            joiners and character in JOINERS and is_joining(shown, character, _next_shown(text, index, marks))
        ):
            shown.append(character)  # marks before and after it stand on one letter
        elif _is_hidden(character):
            marks = 0
            shown.append(f"<U+{ord(character):04X}>")
        elif _is_mark(character):
            marks += 1
            if marks <= _MAX_MARKS:
                shown.append(character)
        else:
            marks = 0
            shown.append(character)
    return "".join(shown)


def _next_shown(text: str, index: int, marks: int) -> str:
    """Return the character after `index` if it will be shown as it is after so many `marks`, else ""."""
    following = text[index + 1 : index + 2]
    if not following or _is_hidden(following) or (marks >= _MAX_MARKS and _is_mark(following)):
        return ""
    return following


def check_name(name: str) -> None:
    """Raise `BadName` unless `name` may be a participant's name.

    It has at most 32 letters, digits and `-_.`, of one script, in NFC, assigned in Unicode 14.0; the first is
    a letter or a digit.
    """
    if not name:
        raise BadName("a name cannot be empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadName(f"a name has at most {MAX_NAME_CHARACTERS} characters, this one has {len(name)}")
    marks = 0
    for character in name:
        if 0xD800 <= ord(character) <= 0xDFFF:  # a byte that is no UTF-8, as Python keeps it in arguments
            raise BadName(f"a name is text in UTF-8, and the byte {ord(character) & 0xFF:#04x} is none here")
        kind = _kind_of(character)
        marks = marks + 1 if kind == _MARK else 0
        allowed = kind is not None or character in _NAME_PUNCTUATION
        if character in _INVISIBLE_LETTERS or (not allowed and _is_hidden(character)):
            raise BadName(f"a name cannot hold the invisible character U+{ord(character):04X}")
        if not allowed:
            raise BadName(f"a name holds letters, digits and - _ . only, not {character}")
        if marks > _MAX_MARKS:
            raise BadName(f"a name stacks at most {_MAX_MARKS} combining marks")
    # From here on only characters of Unicode 14.0 are left, which every later version normalizes and folds
    # alike: "Normalization Stability" and "Case Folding Stability" of Unicode's Character Encoding Stability
    # Policies.
    if unicodedata.normalize("NFC", name) != name:
        raise BadName("a name must be in Unicode's composed form (NFC)")
    if _kind_of(name[0]) == _MARK or name[0] in _NAME_PUNCTUATION:
        raise BadName("a name starts with a letter or a digit")
    scripts = _scripts(name) - {"COMMON", "INHERITED"}
    if len(scripts) > 1 and not any(scripts <= together for together in _SCRIPTS_WRITTEN_TOGETHER):
        raise BadName(f"a name keeps to one script, this one mixes {' and '.join(sorted(scripts)).title()}")


def fold(name: str) -> str:
    """Return the form in which names that differ only in case or compatibility form are equal.

    All Python versions agree on it for names that `check_name` accepts.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def skeleton(name: str) -> str:
    """Return the form in which names that look alike are equal, e.g. `b1ue` and `blue` (UTS 39, section 4).

    All Python versions agree on it for names that `check_name` accepts.
    """
    folded = _prototypes(name).casefold()
    return unicodedata.normalize("NFD", _prototypes(folded).casefold())


def _kind_of(character: str) -> str | None:
    """Return whether a character is a letter, mark or digit in Unicode 14.0; None for others."""
    if character.isascii():
        return _LETTER if character.isalpha() else _DIGIT if character.isdigit() else None
    point = ord(character)
    starts, ranges = _ranges()
    at = bisect_right(starts, point) - 1
    if at < 0:
        return None
    _, last, kind = ranges[at]
    return kind if point <= last else None


@functools.cache
def _ranges() -> tuple[list[int], list[tuple[int, int, str]]]:
    """Return the characters allowed in names: first code points, and (first, last, kind) of the same."""
    ranges = sorted(
        [*_read_ranges(LETTERS, _LETTER), *_read_ranges(MARKS, _MARK), *_read_ranges(DIGITS, _DIGIT)]
    )
    return [first for first, _, _ in ranges], ranges


def _read_ranges(table: str, kind: str) -> list[tuple[int, int, str]]:
    bounds = (item.partition("-") for item in table.split())
    return [(int(first, 16), int(last or first, 16), kind) for first, _, last in bounds]


def _scripts(name: str) -> frozenset[str]:
    """Return the scripts of a name's characters; for those in ASCII without reading the package's tables."""
    if name.isascii():
        return frozenset({"LATIN", "COMMON"})
    from confusable_homoglyphs import categories

    return frozenset(categories.unique_aliases(name))


def _prototypes(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(map(_prototype, decomposed))


@functools.lru_cache(maxsize=4096)
def _prototype(character: str) -> str:
    """Return the form UTS 39 maps a character to.

    The package lists pairs without direction: a prototype has many look-alikes, and a look-alike has one
    prototype. Of two that have only each other, the smaller code point is the prototype.
    """
    if character.isascii():
        return _ASCII_PROTOTYPES.get(character, character)
    return _listed_prototype(character)


def _listed_prototype(character: str) -> str:
    alike = _alike(character)
    if len(alike) != 1:
        return character
    other = alike[0]
    return min(character, other) if len(_alike(other)) == 1 else other


def _alike(text: str) -> list[str]:
    from confusable_homoglyphs import confusables

    entries = confusables.confusables_data.get(text, [])
    return [entry["c"].replace("\u200e", "") for entry in entries]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _INVISIBLE_LETTERS
