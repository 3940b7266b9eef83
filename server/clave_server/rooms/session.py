"""A session: one logged-in device and its open rooms. Knows no received bytes and no disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from clave_server.limits.quotas import Usage
from clave_server.net.send_queue import SendQueue
from clave_wire.framing import pack
from clave_wire.messages import Accepted, AcceptedAt, Code, Offer, ToClient

__all__ = ["MAX_PENDING", "MAX_PENDING_BYTES", "MAX_STREAMS", "Session", "Stream"]

MAX_PENDING: Final = 1024
"""Unanswered requests of one client at which the relay pauses reading from it."""

MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
"""The same, in bytes of these requests."""

MAX_STREAMS: Final = 1024
"""Rooms that one client may have open."""


@dataclass(slots=True, eq=False)
class Stream:
    """How far one session has been sent one room's entries.

    Opened when `Resume` (with the id `request`) arrives, `started` when that is answered. `cursor` is the
    last seq sent, until the stream has caught up with the log and is `live`: fan-out then sends new entries.
    A stream with an `end` stops there; `mended` says that a `Mend` ended it, which no entry shows.
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

    `wake_invitations` is called when an invitation is on disk; `close` ends the connection, with a code and a
    text for the client, and how it ended for others. `has_times` says that its client takes `AcceptedAt`,
    `has_links` that it may use links, and `has_devices` that it takes what other devices of the account pass
    on. `pairing` is the key by which a device can log in to be paired by this one, and `host` the device that
    pairs this one; empty for none. `offer` is the last one received whose submission has not come yet.
    """

    device: bytes
    usage: Usage
    name: str
    address: str
    send_queue: SendQueue
    hold_reading: Callable[[bool], None]
    wake_invitations: Callable[[], None]
    close: Callable[[Code, str, str], None]
    has_times: bool
    has_links: bool
    has_devices: bool = False
    host: bytes = b""
    pairing: bytes = b""
    streams: dict[bytes, Stream] = field(default_factory=dict)
    reading_log: bool = False
    over: bool = False
    offer: Offer | None = None
    _pending: int = 0
    _pending_bytes: int = 0
    _held: bool = False

    def send(self, message: ToClient) -> None:
        """Queue one message."""
        self.send_queue.push(pack(message))

    def acknowledge(self, room: bytes, at: int, *accepted: tuple[int, int]) -> None:
        """Queue acknowledgements, of (seq, submission), of what was accepted at `at`: ms since 1970, or 0."""
        if self.has_times:
            self.send(AcceptedAt(room, at))
        for seq, submission in accepted:
            self.send(Accepted(room, submission, seq))

    def begin(self, count: int, weight: int) -> None:
        """Count requests of `weight` bytes as unanswered; pause reading if there are too many."""
        self._pending += count
        self._pending_bytes += weight
        full = self._pending >= MAX_PENDING or self._pending_bytes >= MAX_PENDING_BYTES
        if full and not self._held:
            self._held = True
            self.hold_reading(True)

    def finish(self, count: int, weight: int) -> None:
        """Count requests as answered; resume reading when half of the limit is free."""
        self._pending -= count
        self._pending_bytes -= weight
        has_capacity = self._pending <= MAX_PENDING // 2 and self._pending_bytes <= MAX_PENDING_BYTES // 2
        if self._held and has_capacity:
            self._held = False
            self.hold_reading(False)
