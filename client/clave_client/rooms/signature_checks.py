"""Checks of signatures that are made on a second thread, while the messages they are of are handled.

Knows neither messages nor keys.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from clave_crypto.mls import MLSError

__all__ = ["BadSignatures", "SignatureChecks"]

_WORTHWHILE: Final = 32
"""Checks that wait when a thread is woken for them."""


class BadSignatures(Exception):
    """Not all signatures hold. Raised and caught in `rooms`."""


class SignatureChecks:
    """The checks of one batch. `finish` has to be called before anything of it counts."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._work: Future[None] | None = None

    def add(self, check: Callable[[], None]) -> None:
        """Have a check made by `finish`; it raises `MLSError` unless a signature holds."""
        self._waiting.append(check)

    def finish(self) -> None:
        """Make all checks. Raises `BadSignatures`."""
        if len(self._waiting) >= _WORTHWHILE and (threads := _threads()) is not None:
            self._work = threads.submit(self._make)
        try:
            self._make()
            if self._work is not None:
                self._work.result()
        except MLSError:
            raise BadSignatures from None
        finally:
            self.drop()

    def drop(self) -> None:
        """Make no more checks, as what they are of does not count."""
        self._waiting.clear()
        if self._work is not None:
            self._work.exception()  # wait for the one being made

    def _make(self) -> None:
        """Make checks until none is left, or one fails."""
        while True:
            try:
                check = self._waiting.popleft()
            except IndexError:
                return
            check()


@functools.cache
def _threads() -> ThreadPoolExecutor | None:
    """Return the thread for checks; None if there is one processor only."""
    return ThreadPoolExecutor(1, "clave-signatures") if (os.cpu_count() or 1) > 1 else None
