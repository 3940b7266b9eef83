"""The transports in memory behave as asyncio's do."""

from __future__ import annotations

import asyncio

from clave_client.testing.memory_transport import connect_pair


class Noting(asyncio.Protocol):
    """Notes what it receives."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


async def test_a_paused_end_gets_everything_in_order_later() -> None:
    client, relay = Noting(), Noting()
    end = connect_pair(client, relay, b"certificate")
    end.other.write(b"one ")
    end.pause_reading()
    end.other.write(b"two ")
    await asyncio.sleep(0)
    assert client.received == b""
    end.resume_reading()
    end.other.write(b"three ")
    end.pause_reading()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert client.received == b""
    end.resume_reading()
    end.other.write(b"four")
    for _ in range(4):
        await asyncio.sleep(0)
    assert client.received == b"one two three four"


async def test_a_paused_end_that_closes_gets_nothing_more() -> None:
    client, relay = Noting(), Noting()
    end = connect_pair(client, relay, b"certificate")
    end.pause_reading()
    end.other.write(b"one")
    await asyncio.sleep(0)
    end.abort()
    end.resume_reading()
    for _ in range(4):
        await asyncio.sleep(0)
    assert client.received == b""
