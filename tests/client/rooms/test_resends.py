"""What a device says again is found without reading all that was ever said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from clave_client.rooms.resends import Resends
from clave_client.store.database import HistoryLine, Store
from clave_crypto.keys import Secret

ROOM, OWN, TWIN, OTHER, ACCOUNT = b"r" * 16, b"o" * 32, b"t" * 32, b"b" * 32, b"a" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db", Secret(b"k" * 32))
    yield store
    store.close()


def put(store: Store, seq: int, sender: bytes) -> bytes:
    """Keep a message and return its id."""
    message = seq.to_bytes(16, "big")
    account = OTHER if sender == OTHER else ACCOUNT
    assert store.add_message(ROOM, HistoryLine(seq, sender, account, "red", message, f"said {seq}", 0))
    return message


def said(resends: Resends, place: int, waiting: list[bytes]) -> list[int]:
    return [line.seq for line in resends.due_after(place, OWN, ACCOUNT, waiting)]


def test_messages_after_an_entry_are_due_again_also_earlier_resends(store: Store) -> None:
    resends = Resends(store, ROOM)
    ids = {seq: put(store, seq, sender) for seq, sender in enumerate([OWN, OTHER, OWN, TWIN, OWN, OWN], 1)}
    assert said(resends, 0, []) == [1, 3, 5, 6]
    assert said(resends, 3, []) == [5, 6]
    assert said(resends, 3, [ids[5]]) == [6]
    resends.note_logged(ids[1], 8)
    resends.note_logged(ids[6], 9)
    assert said(resends, 3, []) == [1, 5, 6]
    assert said(resends, 7, []) == [1, 6]
    assert said(resends, 7, [ids[1]]) == [6]
    assert said(resends, 8, []) == [6]
    assert said(resends, 9, []) == []
    resends.note_logged(ids[4], 10)
    assert said(resends, 9, []) == [], "another device says that again"


def test_only_messages_due_again_are_read_from_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    resends = Resends(store, ROOM)
    with store.transaction():
        ids = [put(store, seq, OWN if seq % 2 else OTHER) for seq in range(1, 1001)]
        resends.note_logged(ids[0], 1001)
        resends.note_logged(ids[2], 500)
    rows = store.rows
    read: list[int] = []

    def count(sql: str, *values: apsw.SQLiteValue) -> list[tuple[apsw.SQLiteValue, ...]]:
        found = rows(sql, *values)
        read.append(len(found))
        if "FROM messages" in sql:
            plan = str(rows(f"EXPLAIN QUERY PLAN {sql}", *values))
            assert "SEARCH messages" in plan
            assert "seq>?" in plan or "account=? AND id=?" in plan
        return found

    monkeypatch.setattr(store, "rows", count)
    assert said(resends, 990, []) == [1, 991, 993, 995, 997, 999]
    assert sum(read) <= 7
