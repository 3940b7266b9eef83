"""A logged-in device and what it has open. Knows no bytes received and no disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from clave_server.limits.quotas import Usage
from clave_server.net.send_queue import SendQueue
from clave_wire.framing import pack
from clave_wire.messages import ToClient

__all__ = ["MAX_PENDING", "MAX_PENDING_BYTES", "MAX_STREAMS", "Session", "Stream"]

MAX_PENDING: Final = 1024
"""Requests of one client in work at which the relay stops reading from it for a while."""

MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
"""The same for the bytes these requests carry."""

MAX_STREAMS: Final = 1024
"""Rooms one client may have open."""


@dataclass(slots=True, eq=False)
class Stream:
    """One room's entries on their way to one session.

    Opened when `Resume` (numbered `request`) arrives, started when it is answered. Then `cursor` is the last
    seq pushed, until the stream has caught up with the log and is `live`. One with an `end` is over
    there; `mended` says that a `Mend` of others had it end, which no entry tells.
    """

    room: bytes
    session: Session
    request: int
    cursor: int = 0
    end: int | None = None
    started: bool = False
    live: bool = False
    over: bool = False
    mended: bool = False


@dataclass(slots=True, eq=False)
class Session:
    """One device's connection, from login to its end.

    `notice_invitation` is called when one is on disk, `give_way` when the device connects anew.
    """

    device: bytes
    usage: Usage
    name: str
    address: str
    send_queue: SendQueue
    hold_reading: Callable[[bool], None]
    notice_invitation: Callable[[], None]
    give_way: Callable[[], None]
    streams: dict[bytes, Stream] = field(default_factory=dict)
    reading_log: bool = False
    over: bool = False
    _pending: int = 0
    _pending_bytes: int = 0
    _held: bool = False

    def send(self, message: ToClient) -> None:
        """Push one message."""
        self.send_queue.push(pack(message))

    def begin(self, count: int, weight: int) -> None:
        """Count requests that weigh so many bytes as in work; with too many, reading pauses."""
        self._pending += count
        self._pending_bytes += weight
        full = self._pending >= MAX_PENDING or self._pending_bytes >= MAX_PENDING_BYTES
        if full and not self._held:
            self._held = True
            self.hold_reading(True)

    def finish(self, count: int, weight: int) -> None:
        """Count requests as answered."""
        self._pending -= count
        self._pending_bytes -= weight
        room = self._pending <= MAX_PENDING // 2 and self._pending_bytes <= MAX_PENDING_BYTES // 2
        if self._held and room:
            self._held = False
            self.hold_reading(False)
