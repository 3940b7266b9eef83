"""Asks the relay to resume rooms, and knows which it streams or refuses on the present connection.

Knows no answer's meaning.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from clave_client.errors import ClientError
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.net.transport import RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_client.values import Phase
from clave_wire.messages import Code, Resume

__all__ = ["NOTHING_TO_LEAVE", "RESUME_RETRY_SECONDS", "Resumes"]

RESUME_RETRY_SECONDS = {Code.NOT_MEMBER: 10.0, Code.STORAGE: 60.0}
"""Delay before a refused resume is tried again: others may correct the routing, or the disk may recover."""

NOTHING_TO_LEAVE = {Code.NOT_MEMBER, Code.NO_SUCH_ROOM, Code.PRUNED}
"""Refusals to resume a room after which a leave cannot, or need not, be announced to its members."""

_AT_ONCE: Final = 32
"""Most rooms that are resumed in one turn of the event loop."""


class Resumes:
    """The resumes of one connection; `refused` are the errors of those that the relay refused, by room."""

    def __init__(self, connection: ReconnectingTransport) -> None:
        self._connection = connection
        self._asked: dict[int, bytes] = {}
        self._waiting: Counter[bytes] = Counter()
        self._streams: dict[bytes, int] = {}
        self.refused: dict[bytes, ClientError] = {}

    def clear(self) -> None:
        """Forget all, as the connection is lost."""
        self._asked.clear()
        self._waiting.clear()
        self._streams.clear()
        self.refused.clear()

    @property
    def is_waiting(self) -> bool:
        """Whether any resume is not answered."""
        return bool(self._asked)

    # --- asking ---

    def ask_all(self, rooms: Sequence[LocalRoom]) -> None:
        """Resume rooms on a new connection, some in each turn of the loop: windows are served meanwhile."""
        self.clear()
        self._ask_some(self._connection.transport, rooms)

    def _ask_some(self, transport: RelayTransport | None, rooms: Sequence[LocalRoom]) -> None:
        if self._connection.transport is not transport or not self._connection.is_up:
            return
        for room in rooms[:_AT_ONCE]:
            if room.record.phase in (Phase.JOINED, Phase.LEAVING) and not room.resumed:
                self.ask_once(room)
        if len(rooms) > _AT_ONCE:
            rest = partial(self._ask_some, transport, rooms[_AT_ONCE:])
            asyncio.get_running_loop().call_soon(self._connection.guard, rest)

    def ask_once(self, room: LocalRoom) -> None:
        """Resume a room, if there is a connection and it was not asked for yet."""
        if not self._waiting[room.id]:
            self.ask(room)

    def ask(self, room: LocalRoom) -> None:
        """Ask for a room's entries after its cursor, if there is a connection."""
        if not self._connection.is_up:
            return
        transport = self._connection.current
        request = transport.next_id()
        self._asked[request] = room.id
        self._waiting[room.id] += 1
        transport.send(Resume(request, room.id, room.record.cursor))

    # --- answers ---

    def start_stream(self, request: int, room: bytes) -> None:
        """Note that the relay streams a room, in answer to a request."""
        self.take_refused(request)
        self._streams[room] = request

    def take_refused(self, request: int) -> bytes | None:
        """Return the room whose resume this request was, if it was not answered, and forget it."""
        room = self._asked.pop(request, None)
        if room is not None:
            self._waiting[room] -= 1
        return room

    def take_ended(self, request: int) -> bytes | None:
        """Return the room whose stream this request began, and forget the stream."""
        room = next((room for room, began in self._streams.items() if began == request), None)
        if room is not None:
            del self._streams[room]
        return room
