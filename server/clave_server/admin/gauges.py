"""A running relay's gauges: connections, rooms, queues. Knows no reader."""

from __future__ import annotations

import msgspec

from clave_server.relay.relay import Relay

__all__ = ["Gauges", "read_gauges"]


class Gauges(msgspec.Struct, frozen=True):
    """A relay's gauges. `waiting_*` is accepted and not done; `outbox_bytes` is queued and not sent."""

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
    """Return a relay's gauges; to be called on its loop."""
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
