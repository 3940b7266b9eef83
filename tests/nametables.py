"""The module wire/clave_wire/name_tables.py: characters of names by Unicode 14.0. Run this to write it.

Needs a Python whose `unicodedata` has that version, which is 3.11.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from pathlib import Path

MODULE = Path(__file__).parents[1] / "wire" / "clave_wire" / "name_tables.py"

UNICODE_VERSION = "14.0.0"

_HEAD = '''\
"""Letters, marks and decimal digits assigned in Unicode 14.0, which every Python here knows. Data only.

Written by `make name-tables`; do not edit: who has another table judges other names valid. Code points are
hexadecimal, alone or as first-last.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DIGITS", "LETTERS", "MARKS"]
'''

_TABLE = '''
{name}: Final = """
{ranges}
"""
"""{words}."""
'''


def name_tables() -> str:
    """Return the module's text."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        raise RuntimeError(f"Unicode {UNICODE_VERSION} is needed, not {unicodedata.unidata_version}")
    tables = (
        ("LETTERS", "L", "General categories Lu, Ll, Lt, Lm and Lo"),
        ("MARKS", "M", "General categories Mn, Mc and Me"),
        ("DIGITS", "Nd", "General category Nd"),
    )
    text = _HEAD
    for name, category, words in tables:
        ranges = textwrap.fill(" ".join(_ranges(category)), 110, break_on_hyphens=False)
        text += _TABLE.format(name=name, ranges=ranges, words=words)
    return text


def _ranges(category: str) -> Iterator[str]:
    """Yield the ranges of code points whose general category begins so."""
    points = (
        point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)).startswith(category)
    )
    for _, run in itertools.groupby(enumerate(points), lambda item: item[1] - item[0]):
        (_, first), *rest = run
        yield f"{first:x}-{rest[-1][1]:x}" if rest else f"{first:x}"


if __name__ == "__main__":
    MODULE.write_text(name_tables(), encoding="utf-8")
