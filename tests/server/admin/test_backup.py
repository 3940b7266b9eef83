"""Backups: of a running relay and of a stopped one, restored, and of a database that is damaged."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from clave_wire import messages as m
from commandkit import make_folder, names, refused, run, said
from relaykit import ROOM, Participant, RawClient, RelayProcess


def restore(file: Path, into: Path) -> None:
    """Restore a backup as docs/operations.md says."""
    into.mkdir(mode=0o700)
    subprocess.run(["tar", "-xpf", str(file), "-C", str(into)], check=True, timeout=30)  # noqa: S607  (the system's)


async def test_a_backup_taken_under_load_restores_a_relay_with_the_same_key(
    data: Path, tmp_path: Path
) -> None:
    red = Participant("red")
    backup = tmp_path / "backup.tar"
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        await client.create()
        certificate = client.certificate
        for _ in range(50):
            await client.say(b"before")
        making = asyncio.ensure_future(said(data, "backup", backup))
        during = 0
        while not making.done():
            await client.say(b"during")
            during += 1
        assert "checked" in await making
        await client.close()
    assert during
    assert stat.filemode(backup.stat().st_mode) == "-rw-------"
    restore(backup, tmp_path / "restored")
    assert names(tmp_path / "restored") == {"relay.db", "tls.pem"}
    async with RelayProcess(tmp_path / "restored") as process:
        client = await (await RawClient.connect(process.port)).log_in(red)
        assert client.certificate == certificate
        resumed = await client.resume(0)
        assert 50 <= resumed.seq <= 50 + during
        entries = [await client.expect(m.Entry) for _ in range(resumed.seq)]
        assert [entry.seq for entry in entries] == list(range(1, resumed.seq + 1))
        await client.close()


def test_a_backup_of_a_stopped_relay_never_overwrites(data: Path, tmp_path: Path) -> None:
    make_folder(data)
    backup = tmp_path / "backup.tar"
    assert "checked" in run(data, "backup", backup).stdout
    before = backup.read_bytes()
    refused(run(data, "backup", backup), "never overwrites", str(backup))
    assert backup.read_bytes() == before
    with tarfile.open(backup) as archive:
        members = archive.getmembers()
    assert [(member.name, member.mode, member.uid, member.uname) for member in members] == [
        ("tls.pem", 0o600, 0, ""),
        ("relay.db", 0o600, 0, ""),
    ]
    refused(run(data, "backup", tmp_path / "missing" / "backup.tar"), "cannot write")
    assert names(tmp_path) == {"data", "backup.tar"}


def test_a_backup_of_a_damaged_database_fails(data: Path, tmp_path: Path) -> None:
    make_folder(data)
    content = bytearray((data / "relay.db").read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (data / "relay.db").write_bytes(content)
    refused(run(data, "backup", tmp_path / "backup.tar"), "damaged")
    assert names(tmp_path) == {"data"}


def test_a_backup_of_a_database_with_an_impossible_row_fails(data: Path, tmp_path: Path) -> None:
    make_folder(data)
    allow = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'tokens'"
    for before, after, insert in (
        ("note TEXT NOT NULL", "note TEXT", "INSERT INTO tokens(digest, made_at) VALUES (x'00', 1)"),
        ("note TEXT,", "note TEXT NOT NULL,", "SELECT 1"),
    ):
        connection = sqlite3.connect(data / "relay.db")
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(allow, (before, after))
        connection.commit()
        connection.close()
        connection = sqlite3.connect(data / "relay.db")
        connection.execute(insert)
        connection.commit()
        connection.close()
    refused(run(data, "backup", tmp_path / "backup.tar"), "damaged")
    assert names(tmp_path) == {"data"}


async def fill_two_rooms(data: Path) -> None:
    """Run a relay until it has two rooms with entries, then stop it."""
    async with RelayProcess(data) as process:
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        for room in (ROOM, bytes(16)):
            await client.create(room)
            for _ in range(3):
                await client.say(b"hello", room=room)
        await client.submit(client.entry(b"", kind=m.Kind.REKEY, remove=(bytes(32),), room=bytes(16)))
        await client.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE accounts SET name = 'blue'", "account 1 is damaged"),
        ("UPDATE devices SET identity = x'00'", r"device [0-9a-f]{64} is damaged"),
        ("UPDATE rooms SET handshake = handshake + 1", r"state of room [0-9a-f]{32} is damaged"),
        ("UPDATE rooms SET kept_from = 2", r"state of room [0-9a-f]{32} is damaged"),
        ("UPDATE stays SET joined = joined + 1", f"who is in room {'0' * 32} is damaged"),
        ("UPDATE rekeys SET removed = x''", f"a rekey that waits in room {'0' * 32} is damaged"),
        ("DELETE FROM rekeys", f"state of room {'0' * 32} is damaged"),
        ("UPDATE submissions SET recent = x''", f"sent to room {'0' * 32} is damaged"),
        ("DELETE FROM stays", f"state of room {'0' * 32} is damaged"),
        ("DELETE FROM devices", "a row of devices that one of .* refers to is missing"),
        (
            "UPDATE segments SET frames = CAST(x'00' || frames AS BLOB)",
            r"entries 1 to 1 of room 0{32} are damaged",
        ),
        ("DELETE FROM segments WHERE last_seq = 1", f"entry 1 of room {'0' * 32} is missing"),
        ("DELETE FROM segments WHERE last_seq = 2", f"entry 2 of room {'0' * 32} is missing"),
        ("DELETE FROM segments WHERE last_seq = 3", r"entry 3 of room [0-9a-f]{32} is missing"),
        ("DELETE FROM segments", r"entry 1 of room [0-9a-f]{32} is missing"),
    ],
)
async def test_a_backup_names_changed_and_missing_rows_and_is_kept(
    data: Path, tmp_path: Path, damage: str, words: str
) -> None:
    await fill_two_rooms(data)
    backup = tmp_path / "backup.tar"
    assert "checked" in await said(data, "backup", tmp_path / "before.tar")
    connection = sqlite3.connect(data / "relay.db")
    connection.execute(damage)
    connection.commit()
    connection.close()
    result = await asyncio.to_thread(run, data, "backup", backup)
    refused(result, "keep older backups")
    assert re.search(words, result.stderr), result.stderr
    restore(backup, tmp_path / "restored")
    assert names(tmp_path / "restored") == {"relay.db", "tls.pem"}


async def test_a_backup_of_an_older_schema_checks_its_entries(data: Path, tmp_path: Path) -> None:
    await fill_two_rooms(data)
    connection = sqlite3.connect(data / "relay.db")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version - 1}")
    connection.execute("UPDATE rooms SET seal = x''")
    connection.commit()
    assert "checked" in await said(data, "backup", tmp_path / "backup.tar")
    connection.execute("UPDATE segments SET frames = CAST(x'00' || frames AS BLOB)")
    connection.commit()
    connection.close()
    refused(run(data, "backup", tmp_path / "damaged.tar"), "entries 1 to 1 of room", "keep older backups")
