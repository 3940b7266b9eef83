"""What a running relay holds at one moment: connections, rooms, queues. Knows nobody who asks."""

from __future__ import annotations

import msgspec

from clave_server.relay.relay import Relay

__all__ = ["Gauges", "read_gauges"]


class Gauges(msgspec.Struct, frozen=True):
    """One moment of a relay. What was taken and is not done waits; `outbox_bytes` is what is unsent."""

    people: int
    devices: int
    connections: int
    logging_in: int
    rooms_open: int
    waiting_requests: int
    waiting_writes: int
    waiting_reads: int
    outbox_bytes: int
    storage_works: bool


def read_gauges(relay: Relay) -> Gauges:
    """Look at a relay, on its loop, without waiting for anything."""
    context = relay.context
    return Gauges(
        people=len({session.name for session in context.sessions.values()}),
        devices=len(context.sessions),
        connections=len(relay.transports),
        logging_in=relay.listener.waiting,
        rooms_open=context.sequencer.rooms_open,
        waiting_requests=context.sequencer.waiting,
        waiting_writes=relay.writer.waiting,
        waiting_reads=relay.reader.waiting,
        outbox_bytes=sum(transport.send_queue.waiting_bytes for transport in relay.transports),
        storage_works=not context.sequencer.failing,
    )
