"""What the relay sent and is not handled yet: handled in order, in turns between which the loop is free.

Knows no rooms' rules: entries of a room are passed on as batches, other messages one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.net.transport import RelayTransport
from clave_client.rooms.log_reader import LogMessage
from clave_wire.messages import AcceptedAt, Entry, Kind, ToClient

__all__ = ["BATCH_BYTES", "BATCH_MESSAGES", "Inbox"]

BATCH_MESSAGES: Final = 128
BATCH_BYTES: Final = 128 * 1024
"""Messages of rooms, and bytes of their payloads, at which a batch ends: one transaction per room in it."""

_LEAST_MESSAGES: Final = 16
_BATCH_SECONDS: Final = 0.012
"""Batches are made smaller, down to so many messages, where they take longer than this."""

_TURN_SECONDS: Final = 0.005
"""How long a turn goes on with further batches and messages."""

_ROUNDS: Final = 4
"""Rounds of the event loop between two turns: a key that is typed takes some until it is echoed."""

_STREAK: Final = 4
_PACE_SECONDS: Final = 0.05
"""After so many turns in a row with nothing but messages of others turns have at least this distance, so that
several messages are one transaction. Anything else ends that, as a sender waits for its acknowledgement."""

_HIGH, _LOW = 512, 128
"""Messages that wait when reading from the relay is paused, and when it goes on."""


class Inbox:
    """The messages of one connection. `read` takes a room's batch, `handle` any other message.

    Both may raise `ClientError`, which ends the connection: what waits is dropped, as the relay sends it
    again. `turn_done` is called after each turn but the first one, after which the caller does the same.
    """

    def __init__(
        self,
        connection: ReconnectingTransport,
        *,
        read: Callable[[bytes, list[LogMessage]], None],
        handle: Callable[[ToClient], None],
        turn_done: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._read = read
        self._handle = handle
        self._turn_done = turn_done
        self._waiting: deque[ToClient] = deque()
        self._paused: RelayTransport | None = None
        self._next_turn: asyncio.Handle | None = None
        self._most = BATCH_MESSAGES
        self._streak = 0
        self._is_pacing = False
        self._last_turn = 0.0

    def put(self, messages: list[ToClient]) -> None:
        """Handle messages that just came: now as many as fit in a turn, unless earlier ones wait."""
        self._waiting.extend(messages)
        if self._is_pacing and self._next_turn is not None and not self._may_wait(messages):
            self._next_turn.cancel()
            self._next_turn = None
        if self._next_turn is None:
            loop = asyncio.get_running_loop()
            due = self._last_turn + _PACE_SECONDS
            if loop.time() >= due:
                self._streak = 0
            self._is_pacing = self._streak >= _STREAK and self._may_wait(messages)
            if self._is_pacing:
                self._next_turn = loop.call_at(due, self._go_on, 1)
            else:
                self._take_turn()
        transport = self._connection.transport
        if len(self._waiting) > _HIGH and self._paused is None and transport is not None:
            self._paused = transport
            transport.pause_reading()

    def _may_wait(self, messages: list[ToClient]) -> bool:
        """Return whether what just came may wait for more: a few messages of others and nothing else."""
        return len(self._waiting) < BATCH_MESSAGES and all(
            isinstance(message, AcceptedAt) or _is_message(message) for message in messages
        )

    @property
    def is_behind(self) -> bool:
        """Whether messages wait behind those that are being handled."""
        return bool(self._waiting)

    def clear(self) -> None:
        """Drop what waits, as the connection has ended."""
        self._waiting.clear()
        self._streak = 0
        self._resume_reading()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + _TURN_SECONDS
        try:
            while self._waiting and loop.time() < end:
                self._handle_next()
        except BaseException:
            self.clear()
            raise
        self._last_turn, self._is_pacing = loop.time(), False
        if self._waiting:
            self._next_turn = loop.call_soon(self._go_on, _ROUNDS)
        if len(self._waiting) <= _LOW:
            self._resume_reading()

    def _resume_reading(self) -> None:
        """Have the connection read again, if it is paused; one that has ended does not."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.resume_reading()

    def _go_on(self, rounds: int) -> None:
        if rounds > 1:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on, rounds - 1)
            return
        self._next_turn = None
        self._connection.guard(self._take_turn)
        self._turn_done()

    def _handle_next(self) -> None:
        """Handle the next message, or the next batch of each room whose entries are next."""
        batches: dict[bytes, list[LogMessage]] = {}
        count = size = 0
        self._streak += 1
        while self._waiting and count < self._most and size < BATCH_BYTES:
            message = self._waiting[0]
            if not isinstance(message, LogMessage):
                break
            batches.setdefault(message.room, []).append(message)
            self._waiting.popleft()
            if isinstance(message, AcceptedAt):
                continue
            if not _is_message(message):
                self._streak = 0
            size += len(message.payload) if isinstance(message, Entry) else 0
            count += 1
        if not batches:
            self._streak = 0
            self._handle(self._waiting.popleft())
        begin = asyncio.get_running_loop().time()
        for room, batch in batches.items():
            self._read(room, batch)
        if count >= _LEAST_MESSAGES:
            seconds = max(asyncio.get_running_loop().time() - begin, 1e-6)
            fits = int(count * _BATCH_SECONDS / seconds)
            self._most = max(_LEAST_MESSAGES, min(fits, 2 * self._most, BATCH_MESSAGES))


def _is_message(message: ToClient) -> bool:
    """Return whether this is a message of a room, not an acknowledgement."""
    return isinstance(message, Entry) and message.kind is Kind.APPLICATION
