"""Event streams: every consumer reads all events, at its own pace. Knows no rooms and no pins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar
from weakref import WeakSet

from clave_client.errors import ClientError
from clave_client.events import Event, Notice, RoomClosed
from clave_client.sync.event_queue import EventQueue

__all__ = ["EventSource", "EventStream"]

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)
KeyNotices = Callable[[bytes], Sequence[Notice]]
"""Returns a notice, once each, of members of a room (b"" for all) whose name is pinned to another key."""


class EventStream(Generic[E_co]):
    """The events of one consumer, from the call that opened the stream on: an asynchronous iterator.

    Only one task may read a stream; each consumer opens its own. At most 10,000 events wait to be read;
    beyond that the least important are dropped, and a `Notice` says how many. The stream ends with the
    `ClientError` that ended the client, or without an error when it or the client is closed; the stream of
    one room ends after its `RoomClosed`, too.
    """

    def __init__(
        self,
        source: EventSource,
        queue: EventQueue,
        kind: type[E_co],
        room: bytes | None,
        key_notices: KeyNotices,
    ) -> None:
        self._source = source
        self._queue = queue
        self._kind = kind
        self._room = room
        self._key_notices = key_notices
        self._ready: deque[E_co] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        self._source.start_reading()
        while not self._ready:
            event = await self._queue.get()
            if event is None:
                raise StopAsyncIteration
            self._accept(event)
        return self._ready.popleft()

    def pending(self) -> list[E_co]:
        """Return the events that are there, without waiting.

        Raises the `ClientError` that ended the client once there are no more events.
        """
        self._source.start_reading()
        if not self._ready:
            for event in self._queue.drain():
                self._accept(event)
        waiting = list(self._ready)
        self._ready.clear()
        return waiting

    def key_notices(self, room: bytes) -> Sequence[Notice]:
        """Return a notice of each member of a room whose name is pinned to another key.

        Only those that this stream has not returned before; the stream itself yields them before any other
        event of the room.
        """
        return self._key_notices(room)

    def close(self) -> None:
        """End the stream and drop what was not read. Closing twice does nothing."""
        self._source.discard(self)
        self._ready.clear()
        self._queue.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many events wait to be read."""
        return len(self._queue) + len(self._ready)

    # --- called by the source ---

    def put(self, event: Event) -> None:
        """Queue an event, if this stream is about it."""
        if _is_wanted(event, self._kind, self._room):
            self._queue.put(event)

    def end(self, error: ClientError | None) -> None:
        """End the stream after the events that wait."""
        self._queue.end(error)

    def _accept(self, event: Event) -> None:
        """Make an event ready to be read, after the notices of its room."""
        for each in (*self._key_notices(event.room), event):
            if isinstance(each, self._kind):
                self._ready.append(each)
        if self._room is not None and isinstance(event, RoomClosed):
            self._source.discard(self)
            self._queue.close()


def _is_wanted(event: Event, kind: type[Event], room: bytes | None) -> bool:
    """Return whether a stream of this kind of events, of this room unless None, has to queue an event."""
    if room is None:
        return True  # any event can be preceded by notices
    return event.room == room and isinstance(event, (kind, RoomClosed))


class EventSource:
    """Passes a profile's events to all open streams.

    Until a stream is read for the first time events are kept, at most 10,000, and every stream that is opened
    begins with them; a stream opened later begins with what happens from then on.
    """

    def __init__(self) -> None:
        self._backlog: EventQueue | None = EventQueue()
        self._streams: WeakSet[EventStream[Event]] = WeakSet()
        self._ended = False
        self._error: ClientError | None = None

    @property
    def waiting(self) -> int:
        """The most events that wait in any stream, or to be read by the first one."""
        waiting = [stream.waiting for stream in self._streams]
        return max(waiting, default=0 if self._backlog is None else len(self._backlog))

    def open(
        self, kind: type[E], *, room: bytes | None = None, key_notices: KeyNotices = lambda _: ()
    ) -> EventStream[E]:
        """Open a stream of the events of a kind, with `room` only of that room."""
        backlog = EventQueue() if self._backlog is None else self._backlog
        queue = backlog.copy(lambda event: _is_wanted(event, kind, room))
        stream = EventStream(self, queue, kind, room, key_notices)
        if self._ended:
            queue.end(self._error)
        else:
            self._streams.add(stream)
        return stream

    def put(self, event: Event) -> None:
        """Pass on an event."""
        if self._backlog is not None:
            self._backlog.put(event)
        for stream in tuple(self._streams):
            stream.put(event)

    def end(self, error: ClientError | None = None) -> None:
        """End all streams, also those opened later: with `error`, if given."""
        if not self._ended:
            self._ended, self._error = True, error
            for stream in tuple(self._streams):
                stream.end(error)
            self._streams.clear()

    def start_reading(self) -> None:
        """Keep nothing for later streams from now on."""
        self._backlog = None

    def discard(self, stream: EventStream[Event]) -> None:
        """Pass nothing on to a stream any more."""
        self._streams.discard(stream)
