"""How the database is opened: durable, private, and only if it is ours."""

from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest

from clave_server import schema
from clave_server.errors import StartError


def test_a_commit_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL
    assert connection.pragma("foreign_keys") == 1
    connection.close()


def test_every_file_is_private(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    files = list(tmp_path.iterdir())
    assert {file.suffix for file in files} == {".db", ".db-wal", ".db-shm"}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    connection.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    writer = schema.connect_writer(tmp_path / "relay.db")
    reader = schema.connect_reader(tmp_path / "relay.db")
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM rooms")
    reader.close()
    writer.close()


def test_what_is_migrated_is_opened_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        connection = schema.connect_writer(tmp_path / "relay.db")
        assert connection.execute("SELECT count(*) FROM accounts").get == 0
        connection.close()


def test_a_database_behind_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "relay.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StartError):
        schema.connect_writer(tmp_path / "relay.db")
