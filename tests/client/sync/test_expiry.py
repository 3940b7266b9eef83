"""Messages are deleted on time, also when the disk takes no more for a while."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clave_client import events
from clave_client.rooms.expiring import expire_messages
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.sync import expiry
from clave_client.sync.expiry import ExpiryTimer
from clave_crypto.keys import Secret

ROOM = b"r" * 16
SOON = 1_000


async def test_what_a_full_disk_keeps_is_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store.db", Secret(b"k" * 32))
    line = HistoryLine(1, b"d", b"a", "red", os.urandom(32), "canary", 1, expires_at=SOON)
    store.add_message(ROOM, line)
    found: asyncio.Queue[events.Event] = asyncio.Queue()
    failures = 0

    def expire(store: Store, now: int) -> list[events.MessagesExpired]:
        nonlocal failures
        if failures:
            return expire_messages(store, now)
        failures += 1
        store.connection.pragma("query_only", True)
        try:
            return expire_messages(store, now)
        finally:
            store.connection.pragma("query_only", False)

    monkeypatch.setattr(expiry, "expire_messages", expire)
    monkeypatch.setattr(expiry, "_RETRY_SECONDS", 0.01)
    now = SOON / 1000 - 0.001
    timer = ExpiryTimer(store, lambda: now, found.put_nowait)
    timer.check()
    now = SOON / 1000
    assert await asyncio.wait_for(found.get(), 20) == events.MessagesExpired(ROOM, (1,))
    assert failures == 1
    assert store.history(ROOM) == []
    timer.stop()
    store.close()
