"""`kill -9` while a relay migrates or prunes: each step is done completely or not at all."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import signal
from pathlib import Path
from random import Random

import apsw

from clave_server.rooms.entry_store import load_room, read_entries
from clave_server.rooms.retention import RetentionPolicy, prune_all
from clave_server.storage import schema
from clave_wire import messages as m
from clave_wire.framing import HEADER_BYTES, pack, unpack_to_client
from relaykit import ROOM, RelayProcess, running_relay

STORED = Path(__file__).parent / "stored" / "version-2.db.gz"
PEOPLE = 40_000
LATER = 10**15
"""A time (ms since 1970) at which everything is old."""


def place_old_database(data: Path) -> Path:
    """Write a large database of schema version 2 there."""
    data.mkdir(mode=0o700)
    database = data / "relay.db"
    database.touch(0o600)
    database.write_bytes(gzip.decompress(STORED.read_bytes()))
    connection = apsw.Connection(str(database))
    with connection:
        numbers = range(1000, 1000 + PEOPLE)
        connection.executemany(
            "INSERT INTO accounts VALUES (?1, randomblob(32), 'n' || ?1, 'n' || ?1, 'n' || ?1)",
            [(number,) for number in numbers],
        )
        connection.executemany(
            "INSERT INTO devices VALUES (randomblob(32), ?, randomblob(150))", [(each,) for each in numbers]
        )
    connection.close()
    return database


async def test_a_killed_migration_starts_again(tmp_path: Path) -> None:
    database = place_old_database(tmp_path / "data")
    log_ahead = database.with_name("relay.db-wal")
    dice = Random(3)  # noqa: S311  (dice, not keys)
    for _ in range(3):
        async with RelayProcess(tmp_path / "data", "--new-identity", ready=False) as process:
            size = dice.randrange(1, 6_000_000)  # the log ahead grows while the transaction lasts
            while not log_ahead.exists() or log_ahead.stat().st_size < size:
                assert process.process.returncode is None
                await asyncio.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            await process.process.wait()
        assert schema.versions_behind(database) > 0
    connection = schema.connect_writer(database)
    assert connection.execute("SELECT count(*) FROM accounts").get == PEOPLE + 3
    assert connection.execute(
        "SELECT count(*) FROM devices WHERE seal = seal('device', device, account, identity)"
    ).get == (PEOPLE + 3)
    room = load_room(connection, ROOM)
    assert room is not None
    assert room.seq == 7
    connection.close()


def check_kept_entries(database: Path, last: int) -> int:
    """Check that only the oldest entries are deleted and the count agrees; return how many are."""
    connection = schema.connect_writer(database)
    room = load_room(connection, ROOM)
    assert room is not None
    assert room.seq == last
    size, after = 0, room.kept_from - 1
    while after < last:
        chunk = read_entries(connection, ROOM, after, last)
        rest = chunk.frames
        while rest:
            length = HEADER_BYTES + int.from_bytes(rest[:HEADER_BYTES])
            entry = unpack_to_client(rest[HEADER_BYTES:length])
            assert isinstance(entry, m.Entry)
            assert entry.seq == after + 1
            size, after, rest = size + length, entry.seq, rest[length:]
    assert connection.execute("SELECT stored FROM accounts").get == size
    connection.close()
    return room.kept_from - 1


async def test_a_killed_pruning_leaves_every_kept_entry_intact(tmp_path: Path) -> None:
    count = 6000
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        for _ in range(count // 100):
            await red.write(b"".join(pack(red.entry(os.urandom(4000))) for _ in range(100)))
            for _ in range(100):
                await red.expect(m.Accepted)
    assert check_kept_entries(relay.database, count + 1) == 0
    dice = Random(4)  # noqa: S311  (dice, not keys)
    lengths = set()
    for number in range(4):
        data = tmp_path / str(number)
        shutil.copytree(tmp_path / "data", data)
        async with RelayProcess(data, "--retain-bytes", "100000") as process:
            await asyncio.sleep(dice.random() * 0.15)  # any moment will do
            os.kill(process.pid, signal.SIGKILL)
            await process.process.wait()
        gone = check_kept_entries(data / "relay.db", count + 1)
        connection = schema.connect_writer(data / "relay.db")
        prune_all(connection, RetentionPolicy(room_bytes=100_000), LATER)
        connection.close()
        pruned = check_kept_entries(data / "relay.db", count + 1)
        assert gone <= pruned
        assert pruned > count * 0.9
        lengths.add(gone)
    print(f"entries gone when killed: {sorted(lengths)}")  # noqa: T201  (shown when it fails)
