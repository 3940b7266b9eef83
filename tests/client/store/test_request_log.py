from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clave_client.errors import UsageError
from clave_client.store import request_log
from clave_client.store.database import Store
from clave_client.store.request_log import RequestLog
from clave_crypto.keys import Secret


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db", Secret(bytes(32)))
    yield store
    store.close()


def begin(log: RequestLog, key: str, content: bytes) -> bool:
    again, room = log.begin(key, content, lambda: b"room")
    assert room == b"room"
    return again


def test_the_room_is_the_one_that_was_named_first(store: Store) -> None:
    log = RequestLog(store)
    log.begin("k", b"to friends", lambda: b"first")
    assert log.begin("k", b"to friends", lambda: b"second") == (True, b"first")


def test_a_key_is_noted_once_and_keeps_its_outcome(store: Store) -> None:
    log = RequestLog(store)
    assert not begin(log, "k", b"send hello")
    assert log.outcome("k") is None
    log.finish("k", {"done": [1, "two"]})
    assert begin(log, "k", b"send hello")
    assert RequestLog(store).outcome("k") == {"done": [1, "two"]}


def test_a_key_of_another_request_is_refused(store: Store) -> None:
    log = RequestLog(store)
    begin(log, "k", b"send hello")
    with pytest.raises(UsageError, match="'k' was used for another request"):
        begin(log, "k", b"send goodbye")


@pytest.mark.parametrize("key", ["", "x" * 101])
def test_a_key_has_a_length(store: Store, key: str) -> None:
    with pytest.raises(UsageError, match="1 to 100 characters"):
        begin(RequestLog(store), key, b"")


def test_the_oldest_keys_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "KEPT_REQUESTS", 3)
    log = RequestLog(store)
    for number in range(5):
        begin(log, str(number), b"")
    assert [begin(log, str(number), b"") for number in (4, 3, 2)] == [True, True, True]
    assert not begin(log, "0", b"")
