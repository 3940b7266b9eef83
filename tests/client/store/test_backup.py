"""A backup is one file that only its passphrase opens, and any damage of it is noticed."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clave_client.errors import ProfileError, StoreDamaged, UsageError, WrongPassphrase
from clave_client.store import backup, profile_key
from clave_client.store.backup import extract_backup, read_wrapping, write_backup
from clave_client.store.database import Store
from clave_client.store.database_copy import copy_database
from clave_crypto.keys import Secret

KEY = Secret(b"k" * 32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys in little time."""
    monkeypatch.setattr(profile_key, "_ARGON2", {"iterations": 1, "lanes": 1, "memory_cost": 64})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    store = Store(tmp_path / "store.db", KEY)
    store.put("word", b"kept and secret")
    write_backup(tmp_path / "store.db", KEY, tmp_path / "backup", "correct horse")  # while it is in use
    store.close()
    return tmp_path / "backup"


def test_what_is_restored_is_what_was_stored(file: Path, tmp_path: Path) -> None:
    key = extract_backup(file, "correct horse", tmp_path / "restored.db")
    assert key != KEY
    store = Store(tmp_path / "restored.db", key)
    assert store.get("word") == b"kept and secret"
    store.close()
    assert b"kept and secret" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir() if "db" not in path.name} == {"backup"}


def test_another_passphrase_does_not_open_it(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongPassphrase):
        extract_backup(file, "wrong horse", tmp_path / "restored.db")
    assert not (tmp_path / "restored.db").exists()


def test_a_file_that_exists_is_not_replaced(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        write_backup(tmp_path / "store.db", KEY, file, "x")
    assert file.read_bytes() == before


def test_every_changed_byte_is_noticed(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    begin, end = 15, whole.index(b"\n", 15)
    places = [*range(begin, end, 17), *range(end + 1, len(whole), 7919), len(whole) - 1]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((ProfileError, WrongPassphrase)):
            extract_backup(file, "correct horse", tmp_path / "restored.db")
        assert not (tmp_path / "restored.db").exists()


@pytest.mark.parametrize("length", [0, 5, 15, 40, -1, -33, -5000])
def test_a_file_cut_off_is_refused(file: Path, tmp_path: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises((ProfileError, UsageError)):
        extract_backup(file, "correct horse", tmp_path / "restored.db")
    assert not (tmp_path / "restored.db").exists()


def test_more_at_the_end_is_noticed(file: Path, tmp_path: Path) -> None:
    with file.open("ab") as appended:
        appended.write(b"x")
    with pytest.raises(StoreDamaged, match="damaged or cut off"):
        extract_backup(file, "correct horse", tmp_path / "restored.db")


def test_other_files_are_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"something else\n")
    with pytest.raises(UsageError, match="is no backup made by"):
        read_wrapping(other)
    other.write_bytes(b"clave backup 2\n{}\n")
    with pytest.raises(UsageError, match="newer clave"):
        read_wrapping(other)
    with pytest.raises(UsageError, match="is no file"):
        read_wrapping(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        read_wrapping(tmp_path / "missing")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "store.db", KEY).close()

    def refuse(path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(backup, "sync_file", refuse)
    with pytest.raises(ProfileError, match="No space left on device; no backup was made"):
        write_backup(tmp_path / "store.db", KEY, tmp_path / "backup", "x")
    assert {path.name for path in tmp_path.iterdir() if "db" not in path.name} == set()


def test_backups_to_one_file_at_once_leave_one_whole_backup(tmp_path: Path) -> None:
    Store(tmp_path / "store.db", KEY).close()

    def back_up(number: int) -> bool:
        try:
            write_backup(tmp_path / "store.db", KEY, tmp_path / "backup", f"passphrase {number}")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(back_up, range(4)))
    assert made.count(True) == 1
    extract_backup(tmp_path / "backup", f"passphrase {made.index(True)}", tmp_path / "restored.db")
    assert {path.name for path in tmp_path.iterdir() if "db" not in path.name} == {"backup"}


def test_a_file_system_without_links_takes_a_backup_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "store.db", KEY).close()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_backup(tmp_path / "store.db", KEY, tmp_path / "backup", "x")
    extract_backup(tmp_path / "backup", "x", tmp_path / "restored.db")


def test_a_name_that_no_disk_takes_is_one_line(tmp_path: Path) -> None:
    Store(tmp_path / "store.db", KEY).close()
    for file in (tmp_path / ("x" * 300), tmp_path / "store.db" / "backup", tmp_path / "missing" / "backup"):
        with pytest.raises(ProfileError, match="no backup was made"):
            write_backup(tmp_path / "store.db", KEY, file, "x")
    for file in (Path(), Path("-")):
        with pytest.raises(UsageError, match="name the file"):
            write_backup(tmp_path / "store.db", KEY, file, "x")


def test_no_error_shows_the_key_of_a_copy(tmp_path: Path) -> None:
    Store(tmp_path / "store.db", KEY).close()
    deep = tmp_path
    while len(str(deep)) < 600:
        deep /= "x" * 100
    deep.mkdir(parents=True)
    target = Secret(b"t" * 32)
    with pytest.raises(ProfileError) as raised:
        copy_database(tmp_path / "store.db", KEY, deep / "copy.db", target)
    assert target.hex() not in str(raised.value)
    assert "cannot be copied" in str(raised.value)
