"""Makes a failing story short: leaves operations out as long as it still fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from simulation.story import Operation, Outcome, Story, play

__all__ = ["kind_of", "shrink"]


def kind_of(outcome: Outcome) -> str:
    """Return which invariant failed first ("" for none)."""
    return outcome.violations[0].partition(":")[0] if outcome.violations else ""


def shrink(story: Story, *, seconds: float = 60.0) -> tuple[Story, Outcome]:
    """Return the shortest story found in that time that fails as `story` does, and how it ends."""
    outcome = play(story)
    kind, until = kind_of(outcome), time.monotonic() + seconds
    size = max(1, len(story.operations) // 2)
    while size and time.monotonic() < until:
        place, shorter = 0, False
        while place < len(story.operations) and time.monotonic() < until:
            tried = replace(story, operations=_without(story.operations, place, size))
            ended = play(tried)
            if kind_of(ended) == kind:
                story, outcome, shorter = tried, ended, True
            else:
                place += size
        if not shorter or size > 1:
            size //= 2
    return story, outcome


def _without(operations: Sequence[Operation], place: int, size: int) -> list[Operation]:
    """Leave some out; what follows keeps its time."""
    rest = [dict(operation) for operation in operations[place + size :]]
    if rest:
        left_out = sum(operation["after"] for operation in operations[place : place + size])
        rest[0]["after"] = round(rest[0]["after"] + left_out, 4)
    return [*operations[:place], *rest]
