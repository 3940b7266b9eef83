"""The process that is measured while it catches up: a client on a profile, which reads a room up to an entry.

Run as `python -m bench.client.receiver HOME NAME ROOM LAST LIVE [plain]`; "plain" is without the index.
It prints a line of JSON once entry LAST is read. If LIVE is not 0, it then waits for a line of standard
input, prints one, and another once entry LIVE is read. The last line says how many messages are stored.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from clave_client import Client, Profile
from clave_client.store.search_index import SearchIndex

_TICK_SECONDS = 0.005


class _Ticker:
    """Measures by how much the event loop is late for a timer that is due every 5 ms."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.delays.append(loop.time() - due)

    def stop(self) -> None:
        self._task.cancel()


async def _drain(client: Client) -> None:
    async for _ in client.events():
        pass


async def main(home: Path, name: str, room_id: bytes, last: int, live: int) -> None:
    """Catch up, then receive live; print what it took."""
    with Profile(home, name) as profile:
        client = Client(profile)
        client.open()
        room = client.sync.rooms[room_id]
        reading = asyncio.create_task(_drain(client))
        ticker = _Ticker()
        await client.connect()
        begin, used = time.perf_counter(), time.process_time()
        first = room.record.cursor
        await client.sync.wait_for(lambda: room.record.cursor >= last)
        seconds = time.perf_counter() - begin
        ticker.stop()
        used = time.process_time() - used
        report(count=last - first, seconds=seconds, processor=used, delays=ticker.delays)
        if live:
            await asyncio.to_thread(sys.stdin.readline)
            used = time.process_time()
            print("ready", flush=True)
            await client.sync.wait_for(lambda: room.record.cursor >= live)
            report(count=live - last, processor=time.process_time() - used)
        report(stored=len(client.history(room_id)))
        reading.cancel()
        await client.close()


def report(**values: object) -> None:
    """Print values as one line of JSON."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    if sys.argv[6:] == ["plain"]:
        SearchIndex.add = lambda *_: None  # type: ignore[method-assign]
    asyncio.run(
        main(Path(sys.argv[1]), sys.argv[2], bytes.fromhex(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    )
