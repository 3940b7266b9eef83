"""Writes lines to a terminal, pipe or file on a thread of its own. Overflow is dropped and summarised.

A blocked reader blocks nothing else.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["LineWriter"]

_T = TypeVar("_T")

_PAUSE_SECONDS: Final = 0.05
"""Between two writes."""

_WRITE_ITEMS: Final = 128
"""Items of one write; together with the pause this bounds the time spent on rendering."""

_MAX_ITEMS: Final = 2048
"""Items that wait to be written; those above are dropped and counted."""


class LineWriter(Generic[_T]):
    """A bounded queue of items that its thread renders and writes; dropped items are summarised.

    `render` makes an item's line and `summarise` that of a number of dropped items, both on the thread;
    `broken` is called there once writing fails.
    """

    def __init__(
        self,
        descriptor: int,
        render: Callable[[_T], str],
        summarise: Callable[[int], str],
        broken: Callable[[], None],
    ) -> None:
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._render = render
        self._summarise = summarise
        self._broken = broken
        self._items: list[_T | int] = []  # an int stands for that many dropped items
        self._closed = False
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="line writer", daemon=True)
        self._thread.start()

    @property
    def capacity(self) -> int:
        """How many more items fit now."""
        return 0 if self._closed else max(0, _MAX_ITEMS - len(self._items))

    def put(self, items: Sequence[_T], more: int = 0) -> None:
        """Queue items, followed by `more` that are dropped and counted. Never blocks on the reader."""
        with self._lock:
            if self._closed:
                return
            fitting = _MAX_ITEMS - len(self._items)
            self._items += items[:fitting]
            more += max(0, len(items) - fitting)
            if more and self._items and isinstance(last := self._items[-1], int):
                self._items[-1] = last + more
            elif more:
                self._items.append(more)
        self._ready.set()

    def stop(self, timeout: float) -> None:
        """Write what is queued, for at most `timeout` seconds, and end the thread."""
        self._stopping.set()
        self._ready.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._ready.wait()
            stopping = self._stopping.is_set()
            with self._lock:
                count = len(self._items) if stopping else _WRITE_ITEMS
                items, self._items = self._items[:count], self._items[count:]
                if not self._items:
                    self._ready.clear()
            text = "".join(
                self._summarise(item) if isinstance(item, int) else self._render(item) for item in items
            )
            try:
                self._write(text.encode(errors="backslashreplace"))
            except OSError:
                with self._lock:
                    self._closed = True
                self._broken()
                return
            if stopping:
                return
            self._stopping.wait(_PAUSE_SECONDS)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that shares the pipe made it non-blocking
                self._writable.poll()
