"""Distributing work that is the same for many members over threads of the caller's. Starts none itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

__all__ = ["Spread", "apply_spread"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_BATCH: Final = 32
"""Items that one thread takes at once."""


class Spread(Protocol):
    """Applies a function to items, in order: `map`, or a `ThreadPoolExecutor`'s `map` to use all cores."""

    def __call__(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        """Return the results."""


def apply_spread(spread: Spread, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """Return the result of `function` for each item; raises what it raises."""
    if len(items) <= _BATCH:
        return [function(item) for item in items]

    def apply(batch: Sequence[_T]) -> list[_R]:
        return [function(item) for item in batch]

    batches = (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
    return [result for results in spread(apply, batches) for result in results]
