"""A client that has missed many messages, also one that crashes while it reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from clave_client import Client, Event, Invited, Message, Profile
from clave_client.rooms.log_reader import LogReader
from clave_client.store.connection import StoreConnection
from clave_client.store.database import Store
from clave_client.sync.inbox import BATCH_MESSAGES, Inbox
from clave_client.testing import MemoryRelay
from clave_crypto.keys import Secret
from clave_wire.messages import Entry, ToClient

COUNT = 5 * BATCH_MESSAGES


Missed = tuple[bytes, Callable[[], Client]]


class Crash(BaseException):
    """The process ends here."""


@asynccontextmanager
async def missed(relay: MemoryRelay, home: Path, count: int) -> AsyncIterator[Missed]:
    """Have blue miss messages; return the room and what makes blue's client."""
    profile = Profile(home, "blue")

    def blue() -> Client:
        return Client(profile, relay.address, connect=relay.connect)

    async with relay.client("red") as red:
        with profile:
            async with blue() as client:
                room = await red.create_room("friends")
                events = client.stream(Invited)
                for task in client.sync.tasks:
                    await task
                await room.invite("blue")
                await anext(events)
                await client.accept(room.id)
                await client.wait_flushed()
        for number in range(count):
            room.post(f"message {number}")
        await red.wait_flushed()
        yield room.id, blue


def come_at_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have so many entries come in one piece, as over TCP; the relay in memory sends each by itself.

    With an entry comes its time, if that is another than that of the entry before.
    """
    put, held = Inbox.put, list[ToClient]()

    def holding(inbox: Inbox, messages: list[ToClient]) -> None:
        if not isinstance(messages[-1], Entry):
            put(inbox, messages)
            return
        held.extend(messages)
        if sum(isinstance(message, Entry) for message in held) == count:
            put(inbox, held)

    monkeypatch.setattr(Inbox, "put", holding)


def texts(client: Client, room: bytes) -> list[str]:
    return [line.text for line in client.history(room)]


def stored_events(client: Client) -> list[bytes]:
    found = client.sync.store.rows("SELECT event FROM events ORDER BY number")
    return [bytes(event) for (event,) in found if b'"message"' in bytes(event)]  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [2, 3, 5])
async def test_a_crash_in_the_middle_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: int, when: str
) -> None:
    async with MemoryRelay() as relay, missed(relay, tmp_path / "home", COUNT) as (room, blue):
        profile = blue()._profile
        shown: list[str] = []
        with profile:
            client = blue()
            client.open()
            monkeypatch.setattr(client.sync.events, "put", _noting(shown, client.sync.events.put))
            seen_before = len(texts(client, room))
            with monkeypatch.context() as crash:
                come_at_once(crash, COUNT)
                _sizes.clear()
                crash.setattr(StoreConnection, "run", _crashing(StoreConnection.run, commit, when))
                crash.setattr(type(client.sync.connection), "guard", _ending(client))
                await client.connect()
                await client.sync.wait_for(lambda: client.sync.store.is_closed)
            await client.sync.connection.close(goodbye=False)
        with profile:
            client = blue()
            client.open()
            kept = texts(client, room)
            assert len(kept) == sum(_sizes[: commit - (when == "before")])
            assert set(shown) <= set(kept), "what is shown is on disk"
            await client.connect()
            await client.wait_synced(room)
            assert texts(client, room) == [f"message {number}" for number in range(COUNT)]
            assert len(stored_events(client)) == COUNT
            assert seen_before == 0
            await client.close()


def _noting(shown: list[str], put: Callable[[Event], None]) -> Callable[[Event], None]:
    def noting(event: Event) -> None:
        if isinstance(event, Message):
            shown.append(event.text)
        put(event)

    return noting


def _crashing(run: Callable[..., None], commit: int, when: str) -> Callable[..., None]:
    """Return a `run` that ends at the given COMMIT of a batch, before or after it is made."""
    commits = 0

    def crashing(store: StoreConnection, sql: str, *values: apsw.SQLiteValue) -> None:
        nonlocal commits
        if sql == "COMMIT" and store.connection.total_changes() and _reading:
            commits += 1
            if commits == commit:
                if when == "after":
                    run(store, sql, *values)
                raise Crash
        run(store, sql, *values)

    return crashing


_reading: list[int] = []
_sizes: list[int] = []


def _ending(client: Client) -> Callable[..., None]:
    """Return a `guard` by which a crash ends the client as the end of its process would."""

    def guard(_: object, work: Callable[[], None]) -> None:
        try:
            work()
        except Crash:
            client.sync._inbox.clear()
            client.sync.store.close()
            client.sync.waiters.recheck()

    return guard


@pytest.fixture(autouse=True)
def note_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count commits of batches only, and note the sizes of batches."""
    _sizes.clear()
    read = LogReader.read

    def reading(reader: LogReader, batch: list[object]) -> object:
        _reading.append(len(batch))
        _sizes.append(sum(isinstance(message, Entry) for message in batch))
        try:
            return read(reader, batch)  # type: ignore[arg-type]
        finally:
            _reading.pop()

    monkeypatch.setattr(LogReader, "read", reading)


async def test_only_the_last_batch_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, missed(relay, tmp_path / "home", COUNT) as (room, blue):
        settings: list[int] = []
        run = StoreConnection.run
        come_at_once(monkeypatch, COUNT)

        def running(store: StoreConnection, sql: str, *values: apsw.SQLiteValue) -> None:
            if sql == "COMMIT" and _reading:
                settings.append(int(str(store.connection.pragma("synchronous"))))
            run(store, sql, *values)

        with blue()._profile:
            client = blue()
            client.open()
            monkeypatch.setattr(StoreConnection, "run", running)
            await client.connect()
            await client.wait_synced(room)
            assert len(texts(client, room)) == COUNT
            assert settings.count(1) >= 3
            assert settings[-1] == 2, "FULL: what was committed before is on disk too"
            assert client.sync.store.connection.pragma("synchronous") == 2, "sending waits for the disk"
            await client.close()


def test_a_failing_batch_has_later_commits_wait_for_the_disk_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", Secret(bytes(32)))
    with pytest.raises(ZeroDivisionError), store.unsynced():
        raise ZeroDivisionError
    assert store.connection.pragma("synchronous") == 2
    store.close()
