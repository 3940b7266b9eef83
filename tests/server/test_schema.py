"""How the database is opened: durable, private, and only if it is ours."""

from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest

from clave_server import directory, schema
from clave_server.directory import Applicant, Enrolment
from clave_server.errors import Refusal, StartError


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


def test_key_packages_of_an_older_relay_count_as_suite_1(tmp_path: Path) -> None:
    older = apsw.Connection(str(tmp_path / "relay.db"))
    older.execute(schema._MIGRATIONS[0])
    older.pragma("application_id", schema._APPLICATION_ID)
    older.pragma("user_version", 1)
    older.execute("INSERT INTO accounts VALUES (1, x'aa', 'red', 'red', 'red')")
    older.execute("INSERT INTO devices VALUES (x'dd', 1, x'11')")
    older.execute("INSERT INTO key_packages(device, package) VALUES (x'dd', x'01'), (x'dd', x'02')")
    older.execute("INSERT INTO last_resorts VALUES (x'dd', x'99')")
    older.close()
    (tmp_path / "relay.db").chmod(0o600)
    connection = schema.connect_writer(tmp_path / "relay.db")
    found = directory.find_device(connection, Applicant(b"\xdd", b"\x11", b"\xaa", "red", "red", "red"))
    assert found == Enrolment(registered=False, key_packages=[(1, 2)], rooms=0, stored=0)
    claimed = [directory.claim_key_packages(connection, "red", 1)[0] for _ in range(3)]
    assert claimed == [b"\x01", b"\x02", b"\x99"]
    with pytest.raises(Refusal):
        directory.claim_key_packages(connection, "red", 2)
    directory.publish_key_packages(connection, b"\xdd", 1, [], b"\x98")
    directory.publish_key_packages(connection, b"\xdd", 2, [], b"\x97")
    assert directory.claim_key_packages(connection, "red", 1) == [b"\x98"]
    assert connection.pragma("foreign_key_check") is None
    connection.close()
    schema.connect_writer(tmp_path / "relay.db").close()
