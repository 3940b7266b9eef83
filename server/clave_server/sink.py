"""Text on its way to a terminal, pipe or file, on a thread of its own: a blocked reader blocks nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Sink"]

_T = TypeVar("_T")

_PAUSE_SECONDS: Final = 0.05
"""Between two writes: at most `bound` items are rendered in this time, however much happens."""


class Sink(Generic[_T]):
    """A bounded queue of items that the thread renders and writes. What does not fit is counted and told."""

    def __init__(
        self,
        descriptor: int,
        render: Callable[[_T], str],
        summarise: Callable[[int], str],
        broken: Callable[[], None],
        *,
        bound: int = 2048,
    ) -> None:
        self._descriptor = descriptor
        self._render = render
        self._summarise = summarise
        self._broken = broken
        self._bound = bound
        self._items: list[_T] = []
        self._summed = 0
        self._closed = False
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def put(self, items: Sequence[_T]) -> None:
        """Queue items in order. Never blocks on the reader."""
        with self._lock:
            if self._closed:
                return
            room = self._bound - len(self._items)
            self._items += items[:room]
            self._summed += max(0, len(items) - room)
        self._ready.set()

    def stop(self, timeout: float) -> None:
        """Write what is queued, for at most `timeout` seconds, and end."""
        self._stopping.set()
        self._ready.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._ready.wait()
            stopping = self._stopping.is_set()
            self._ready.clear()
            with self._lock:
                items, self._items = self._items, []
                summed, self._summed = self._summed, 0
            text = "".join(map(self._render, items))
            if summed:
                text += self._summarise(summed)
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
            rest = rest[os.write(self._descriptor, rest) :]
