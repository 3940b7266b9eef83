"""Writes lines to a terminal, pipe or file on a thread of its own. Overflow is dropped and summarised.

A blocked reader blocks nothing else. While writing fails, as on a full disk, it is tried again; lines that do
not fit into memory meanwhile are lost, and counted in a line that follows.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from clave_server.observe.line_output import LineOutput

__all__ = ["RETRY_SECONDS", "Gap", "LineWriter", "Listener"]

_T = TypeVar("_T")

_PAUSE_SECONDS: Final = 0.05
"""Between two writes."""

RETRY_SECONDS: Final = 1.0
"""Between two tries while writing fails."""

_WRITE_ITEMS: Final = 128
"""Items of one write; together with the pause this bounds the time spent on rendering."""

_MAX_ITEMS: Final = 2048
"""Items that wait to be written; those above are dropped and counted."""

_ENDED: Final = frozenset({errno.EPIPE, errno.EBADF})
"""Errors of an output that nobody reads any more."""


class Gap(NamedTuple):
    """A number of items that were dropped: too many at a time, or lost as writing failed for a `reason`."""

    lines: int
    reason: str = ""


class Listener(Protocol):
    """Is told, on the writer's thread, how writing goes."""

    def failed(self, reason: str) -> None:
        """Hear that writing fails; it is tried again."""

    def recovered(self, lost: int) -> None:
        """Hear that writing works again; `lost` lines are lost."""

    def ended(self) -> None:
        """Hear that nobody reads the output any more; nothing is written from now on."""

    def not_reopened(self, reason: str) -> None:
        """Hear that the file could not be opened anew; the former one is written to."""


class LineWriter(Generic[_T]):
    """A bounded queue of items that its thread renders and writes; dropped items are summarised.

    `render` makes an item's line and `summarise` that of dropped items, both on the thread; `listener` is
    told of failures there.
    """

    def __init__(
        self,
        output: LineOutput,
        render: Callable[[_T], str],
        summarise: Callable[[Gap], str],
        listener: Listener,
    ) -> None:
        self._output = output
        self._render = render
        self._summarise = summarise
        self._listener = listener
        self._items: list[_T | Gap] = []
        self._failure = ""
        self._lost = 0
        self._closed = False
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._reopening = threading.Event()
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
            fitting = max(0, _MAX_ITEMS - len(self._items))
            self._items += items[:fitting]
            self._drop(more + max(0, len(items) - fitting))
        self._ready.set()

    def reopen(self) -> None:
        """Have the thread open the output's file anew before it writes again."""
        self._reopening.set()
        self._ready.set()

    def stop(self, timeout: float) -> None:
        """Write what is queued, for at most `timeout` seconds, and end the thread."""
        self._stopping.set()
        self._ready.set()
        self._thread.join(timeout)

    def _drop(self, count: int) -> None:
        """Count dropped items at the end of the queue; the lock is held."""
        if not count:
            return
        if self._failure:
            self._lost += count
        last = self._items[-1] if self._items else None
        if isinstance(last, Gap) and last.reason == self._failure:
            self._items[-1] = Gap(last.lines + count, self._failure)
        else:
            self._items.append(Gap(count, self._failure))

    def _run(self) -> None:
        while True:
            self._ready.wait()
            stopping = self._stopping.is_set()
            with self._lock:
                count = len(self._items) if stopping else _WRITE_ITEMS
                items, self._items = self._items[:count], self._items[count:]
                if not self._items:
                    self._ready.clear()
            self._reopen_if_asked()
            text = "".join(
                self._summarise(item) if isinstance(item, Gap) else self._render(item) for item in items
            )
            if not self._deliver(text.encode(errors="backslashreplace")) or stopping:
                return
            self._stopping.wait(_PAUSE_SECONDS)

    def _deliver(self, data: bytes) -> bool:
        """Write `data`, again and again while that fails; return whether the thread is to go on."""
        sent = 0
        while sent < len(data):
            try:
                sent += self._output.write(memoryview(data)[sent:])
            except OSError as error:
                if error.errno in _ENDED:
                    with self._lock:
                        self._closed = True
                    self._listener.ended()
                    return False
                self._note_failure(error.strerror or str(error))
                if self._stopping.wait(RETRY_SECONDS):
                    return False
                if self._reopen_if_asked() or self._output.was_truncated():
                    sent = self._skip_rest_of_line(data, sent)
        if data and self._failure:
            self._note_recovery()
        return True

    def _reopen_if_asked(self) -> bool:
        if not self._reopening.is_set():
            return False
        self._reopening.clear()
        try:
            return self._output.reopen()
        except OSError as error:
            self._listener.not_reopened(error.strerror or str(error))
            return False

    def _skip_rest_of_line(self, data: bytes, sent: int) -> int:
        """Return where the first line begins that is not written in part: its beginning is gone."""
        if not sent or data[sent - 1 : sent] == b"\n":
            return sent
        with self._lock:
            self._lost += 1
            self._items.insert(0, Gap(1, self._failure))
        return data.index(b"\n", sent) + 1

    def _note_failure(self, reason: str) -> None:
        self._output.note_size()
        if not self._failure:
            with self._lock:
                self._failure = reason
            self._listener.failed(reason)

    def _note_recovery(self) -> None:
        with self._lock:
            lost, self._lost, self._failure = self._lost, 0, ""
        self._ready.set()
        self._listener.recovered(lost)
