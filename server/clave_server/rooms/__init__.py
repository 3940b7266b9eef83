"""Rooms: order of entries, membership, durable log, fan-out, catch-up, retention."""
