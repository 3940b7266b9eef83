from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from clave_client.errors import ProfileOfOther, StoreDamaged, StoreFull, WrongPassphrase
from clave_client.formats.composing import Outgoing
from clave_client.formats.content import ContentKind
from clave_client.store import schema
from clave_client.store.database import MOST_BUNDLES, MOST_LAST_RESORTS, RoomRecord, Store
from clave_client.store.message_tables import HistoryLine
from clave_client.store.schema import MIGRATIONS
from clave_client.values import Phase
from clave_crypto.keys import Secret

ROOM = b"r" * 16
KEY = Secret(b"k" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path, KEY)
    yield store
    store.close()


def line(seq: int, message_id: bytes = b"", text: str = "hello") -> HistoryLine:
    return HistoryLine(seq, b"d" * 32, b"a" * 32, "red", message_id or os.urandom(32), text, 1_000)


def test_nothing_on_disk_is_readable(store: Store, path: Path) -> None:
    with store.transaction():
        store.put("note", b"canary-in-meta")
        store.add_message(ROOM, line(1, text="canary-in-message"))
    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"canary" not in on_disk
    assert len(on_disk) > 8192
    store.close()
    assert b"SQLite format" not in path.read_bytes()


def test_another_key_does_not_open_it(store: Store, path: Path) -> None:
    store.put("a", b"1")
    store.close()
    with pytest.raises(StoreDamaged, match="its key does not open it"):
        Store(path, Secret(b"x" * 32))
    reopened = Store(path, KEY)
    assert reopened.get("a") == b"1"
    reopened.close()


def test_an_empty_file_is_no_new_database(store: Store, path: Path) -> None:
    store.close()
    os.truncate(path, 0)
    with pytest.raises(StoreDamaged, match=r"is empty.*restore a backup"):
        Store(path, KEY)
    assert not path.stat().st_size


def test_a_newer_schema_is_refused(store: Store, path: Path) -> None:
    store.connection.pragma("user_version", 99)
    store.close()
    with pytest.raises(StoreDamaged, match="newer"):
        Store(path, KEY)


def test_a_changed_page_is_noticed(store: Store, path: Path) -> None:
    with store.transaction():
        for seq in range(1, 2000):
            store.add_message(ROOM, line(seq))
    store.close()
    data = bytearray(path.read_bytes())
    for middle in range(2048, len(data), 4096):
        data[middle] ^= 1
    path.write_bytes(data)
    with pytest.raises((StoreDamaged, WrongPassphrase)):
        _read_all(path)


def _read_all(path: Path) -> None:
    store = Store(path, KEY)
    try:
        assert len(store.history(ROOM)) == 1999
    finally:
        store.close()


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    def fail_halfway() -> None:
        with store.transaction():
            store.put("a", b"1")
            with store.transaction():
                store.enqueue(ROOM, Outgoing(b"i" * 32, ContentKind.TEXT, b"hello", "hello"), 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert store.get("a") is None
    assert store.outbox(ROOM, 10) == []


def test_a_full_disk_is_one_line_and_nothing_is_lost(store: Store) -> None:
    with store.transaction():
        store.put("kept", b"1")
    store.connection.pragma("max_page_count", store.connection.pragma("page_count"))
    with pytest.raises(StoreDamaged, match="disk is full"), store.transaction():
        store.put("big", bytes(1_000_000))
    store.connection.pragma("max_page_count", 1_000_000)
    assert store.get("kept") == b"1"
    assert store.get("big") is None


def test_the_outbox_keeps_order_and_ciphertext(store: Store) -> None:
    for number in range(5):
        store.enqueue(ROOM, Outgoing(bytes([number]) * 32, ContentKind.TEXT, b"", str(number)), number)
    first, second = store.outbox(ROOM, 2)
    assert (first.body, second.body) == ("0", "1")
    store.put_ciphertext(first.position, b"sealed", b"h" * 32)
    item = store.outbox(ROOM, 1)[0]
    assert (item.payload, item.head, item.placed) == (b"sealed", b"h" * 32, None)
    store.put_placed(first.position, 9)
    assert store.outbox(ROOM, 1)[0].placed == 9
    store.put_ciphertext(first.position, None, None)
    item = store.outbox(ROOM, 1)[0]
    assert (item.payload, item.head, item.placed) == (None, None, None), "sealed anew it is nowhere yet"
    store.drop_outbox(first.position)
    assert [item.body for item in store.outbox(ROOM, 10)] == ["1", "2", "3", "4"]


def test_a_message_of_the_same_sender_and_id_is_kept_once(store: Store) -> None:
    assert store.add_message(ROOM, line(1, b"i" * 32))
    assert not store.add_message(ROOM, line(2, b"i" * 32))
    assert store.add_message(b"s" * 16, line(1, b"i" * 32))
    assert [found.seq for found in store.history(ROOM)] == [1]


def test_history_gives_the_newest_oldest_first(store: Store) -> None:
    for seq in range(1, 10):
        store.add_message(ROOM, line(seq))
    assert [found.seq for found in store.history(ROOM, last=3)] == [7, 8, 9]
    assert [found.seq for found in store.history(ROOM, after=7)] == [8, 9]


def test_deleting_a_group_keeps_the_history(store: Store) -> None:
    store.put_part(ROOM, "epoch", b"e")
    store.put_chain_hashes(ROOM, {1: b"l" * 32})
    store.enqueue(ROOM, Outgoing(b"i" * 32, ContentKind.TEXT, b"hello", "hello"), 5)
    store.add_waiting(ROOM, 1, b"entry")
    store.put_counts(ROOM, {b"d" * 32: 4})
    store.add_message(ROOM, line(1))
    store.forget_group(ROOM)
    assert store.waiting(ROOM) == []
    assert store.last_count(ROOM, b"d" * 32) == 0
    assert store.part(ROOM, "epoch") is None
    assert store.chain_hash(ROOM, 1) is None
    assert store.outbox(ROOM, 10) == []
    assert len(store.history(ROOM)) == 1


def test_a_room_record_is_loaded_as_stored(store: Store) -> None:
    record = RoomRecord(ROOM, Phase.JOINED, "friends", 5, 2, 4, 3, 7, 1, 6, -1, 2, b"i" * 32)
    store.put_room(record)
    assert store.rooms() == [record]
    assert store.room(ROOM) == record
    assert store.room(b"o" * 16) is None


def test_epochs_entered_are_remembered(store: Store, path: Path) -> None:
    store.note_joined_epoch(b"here")
    store.close()
    reopened = Store(path, KEY)
    assert (reopened.has_joined_epoch(b"here"), reopened.has_joined_epoch(b"there")) == (True, False)
    reopened.close()


def test_waiting_entries_are_listed_in_order_and_deleted_by_seq(store: Store) -> None:
    for seq in (7, 5, 6):
        store.add_waiting(ROOM, seq, b"entry %d" % seq)
    assert store.waiting(ROOM) == [5, 6, 7]
    store.drop_waiting(ROOM, [5, 7])
    assert store.waiting(ROOM) == [6]
    assert store.waiting_entry(ROOM, 6) == b"entry 6"
    with pytest.raises(StoreDamaged, match=r"entry 5 .* missing"):
        store.waiting_entry(ROOM, 5)


def test_the_chain_is_cut_after_and_trimmed_before(store: Store) -> None:
    for seq in range(1, 8):
        store.put_chain_hashes(ROOM, {seq: bytes([seq]) * 32})
    store.cut_chain(ROOM, 5)
    store.trim_chain(ROOM, 3)
    assert [seq for seq in range(1, 8) if store.chain_hash(ROOM, seq)] == [3, 4, 5]


def test_counts_are_per_device_and_room(store: Store) -> None:
    store.put_counts(ROOM, {b"d" * 32: 4})
    assert store.last_count(ROOM, b"d" * 32) == 4
    assert store.last_count(ROOM, b"e" * 32) == 0
    assert store.last_count(b"s" * 16, b"d" * 32) == 0


def test_used_one_time_bundles_are_deleted_and_last_resort_ones_stay(store: Store) -> None:
    store.add_bundle(b"1", b"one", 1, last_resort=False)
    store.add_bundle(b"2", b"last", 1, last_resort=True)
    assert store.bundle_references() == {b"1", b"2"}
    store.drop_bundle(b"1")
    store.drop_bundle(b"2")
    assert store.bundle(b"1") is None
    assert store.bundle(b"2") == b"last"
    assert store.bundle_references() == {b"2"}


def test_the_newest_bundles_of_each_kind_are_kept(store: Store) -> None:
    suites = (1, 0xF47A)
    with store.transaction():
        for number in range(MOST_BUNDLES + 3):
            for suite in suites:
                for last in (False, True):
                    store.add_bundle(f"{number} {suite} {last}".encode(), b"private", suite, last_resort=last)
    kept = {
        f"{number} {suite} {last}".encode()
        for suite in suites
        for last, most in ((False, MOST_BUNDLES), (True, MOST_LAST_RESORTS))
        for number in range(MOST_BUNDLES + 3 - most, MOST_BUNDLES + 3)
    }
    assert store.bundle_references() == kept


def test_key_packages_of_an_older_profile_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as former:
        former.setattr(schema, "MIGRATIONS", MIGRATIONS[:5])
        older = Store(path, KEY)
        for number in range(9):
            older.run("INSERT INTO bundles VALUES (?, ?, 1, ?)", bytes([number]), b"private", number)
        older.close()
    store = Store(path, KEY)
    for number in range(9, 13):
        store.add_bundle(bytes([number]), b"private", 1, last_resort=True)
    assert store.bundle_references() == {bytes([number]) for number in (*range(9), 11, 12)}
    store.close()


def test_every_commit_is_synced_to_disk(store: Store) -> None:
    assert store.connection.pragma("synchronous") == 2
    assert store.connection.pragma("journal_mode") == "wal"
    assert isinstance(store.connection, apsw.Connection)


def test_a_query_leaves_no_open_cursor(store: Store) -> None:
    store.add_account(b"a", "red")
    store.account(b"a")
    gc.collect()
    before = sum(isinstance(each, apsw.Cursor) for each in gc.get_objects())
    for _ in range(10):
        assert store.account(b"a") == ("red", False)
    gc.collect()
    assert sum(isinstance(each, apsw.Cursor) for each in gc.get_objects()) <= before


@pytest.mark.parametrize("result", ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC"])
def test_a_disk_that_takes_no_more_is_full_and_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    class Failing:
        def execute(self, *_: object) -> None:
            error = apsw.IOError("disk I/O error")
            vars(error)["extendedresult"] = getattr(apsw, result)
            raise error

    monkeypatch.setattr(store, "connection", Failing())
    with pytest.raises(StoreFull, match="full or fails; nothing is lost"):
        store.rows("SELECT 1")


def test_traces_that_a_full_disk_keeps_are_removed_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(*_: object) -> None:
        raise StoreFull("the profile's disk is full")

    store.erased = True
    with monkeypatch.context() as patch:
        patch.setattr(store, "rows", rows)
        store.remove_traces()
    assert store.erased
    store.remove_traces()
    assert not store.erased


def test_a_file_of_another_user_or_on_a_read_only_disk_is_named(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ProfileOfOther, match="another user's, or its disk is read-only"):
        Store(path, KEY)
