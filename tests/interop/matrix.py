"""The table of which operations passed with a library, by who created the group and by cipher suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Cell", "lay_out"]

WIDTH = 5


class Cell(NamedTuple):
    """Where the outcome of a test stands: in the table of `library`."""

    library: str
    operation: str
    creator: str
    suite: str


def lay_out(outcomes: Mapping[Cell, Sequence[str]]) -> Iterator[str]:
    """Return the lines of the table of one library, from what pytest calls the outcomes of its tests."""
    (library,) = {cell.library for cell in outcomes}
    creators = sorted({cell.creator for cell in outcomes})
    suites = sorted({cell.suite for cell in outcomes})
    operations = dict.fromkeys(cell.operation for cell in outcomes)
    width = max(map(len, operations))
    titles = [f"   {creator} creates" for creator in creators]
    across = max(len(suites) * WIDTH, *map(len, titles))
    numbers = "".join(suite.rjust(WIDTH) for suite in suites)
    yield " " * width + "".join(title.rjust(across) for title in titles)
    yield "cipher suite".ljust(width) + numbers.rjust(across) * len(creators)
    for operation in operations:
        row = operation.ljust(width)
        for creator in creators:
            cells = (Cell(library, operation, creator, suite) for suite in suites)
            row += "".join(_count(outcomes.get(cell, ())) for cell in cells).rjust(across)
        yield row


def _count(outcomes: Sequence[str]) -> str:
    """Return how many passed, of how many if some did not; `-` if there are none."""
    passed = outcomes.count("passed")
    if not outcomes:
        text = "-"
    elif set(outcomes) == {"skipped"}:
        text = "skip"
    elif set(outcomes) == {"xfailed"}:
        text = "no"
    elif passed == len(outcomes):
        text = str(passed)
    else:
        text = f"{passed}/{len(outcomes)}"
    return text.rjust(WIDTH)
