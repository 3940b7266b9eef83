from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import UsageError
from clave_client.formats.json_values import dump, load_event
from clave_client.store import journal as journal_module
from clave_client.store.database import Store
from clave_client.store.journal import MAX_CONSUMERS, Journal
from clave_crypto.keys import Secret

ROOM = b"r" * 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db", Secret(bytes(32)))
    yield store
    store.close()


def sent(number: int) -> events.Sent:
    return events.Sent(ROOM, number, b"i" * 16, f"text {number}", 1.0)


def test_events_are_numbered_and_read_after_a_number(store: Store) -> None:
    journal = Journal(store)
    assert (journal.head, journal.read(0, 10)) == (0, ([], 0))
    for number in range(1, 6):
        journal.append(sent(number))
    assert journal.head == 5
    page = journal.read(2, 2)
    assert ([each.number for each in page.events], page.gap) == ([3, 4], 0)
    assert load_event(msgspec.json.decode(page.events[0].event)) == sent(3)


def test_what_is_reported_only_live_is_not_stored(store: Store) -> None:
    journal = Journal(store)
    journal.append(events.Disconnected(reason="gone", retry_in=1.0))
    journal.append(events.PresenceChanged(ROOM, "blue", online=True, reason=""))
    journal.append(events.Notice(ROOM, "text"))
    journal.append(events.OutboxChanged(ROOM))
    assert journal.head == 0


def test_an_event_goes_with_the_transaction_of_what_it_reports(store: Store) -> None:
    journal = Journal(store)
    with contextlib.suppress(RuntimeError), store.transaction():
        journal.append(sent(1))
        raise RuntimeError
    assert journal.read(0, 10).events == []


def test_old_events_are_deleted_and_whoever_has_not_read_them_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_EVENTS", 50)
    journal = Journal(store)
    for number in range(1, 301):
        journal.append(sent(number))
    page = journal.read(10, 1000)
    assert page.gap == 11
    assert [each.number for each in page.events] == list(range(251, 301))
    assert journal.read(250, 1000).gap == 0, "nothing is missing after 250"
    assert journal.read(249, 1000).gap == 250


def test_a_consumer_begins_with_what_happens_next_and_goes_on_where_it_was(store: Store) -> None:
    journal = Journal(store)
    journal.append(sent(1))
    assert journal.consumer("bot") == 1
    journal.append(sent(2))
    assert journal.consumer("bot") == 1, "only the consumer moves its place"
    journal.set_consumer("bot", 2)
    assert Journal(store).consumer("bot") == 2
    journal.set_consumer("bot", 99)
    assert journal.consumer("bot") == 2, "nobody has read what has not happened"
    journal.forget_consumer("bot")
    journal.append(sent(3))
    assert journal.consumer("bot") == 3


def test_consumers_are_named_and_not_too_many(store: Store) -> None:
    journal = Journal(store)
    for name in ("", "x" * 101):
        with pytest.raises(UsageError, match="1 to 100 characters"):
            journal.consumer(name)
    for number in range(MAX_CONSUMERS):
        journal.consumer(str(number))
    with pytest.raises(UsageError, match="forget some"):
        journal.consumer("one more")
    assert journal.consumer("7") == 0


def test_events_of_a_batch_are_stored_in_order_and_as_json_says(store: Store) -> None:
    person = events.Person("red", b"a" * 32, "main", b"d" * 32, verified=True)
    batch: list[events.Event] = [
        events.Message(ROOM, 1, person, b"i" * 16, "hello", 1.5),
        events.Notice(ROOM, "not stored"),
        events.MemberAdded(ROOM, person, person),
        events.Diverged(ROOM, None, events.Inconsistency.ORDER),
        events.RoomClosed(ROOM, "friends", person),
        sent(2),
    ]
    journal = Journal(store)
    journal.append_all(batch)
    journal.append_all([])
    kept = [event for event in batch if not isinstance(event, events.Notice)]
    read = journal.read(0, 10).events
    assert [msgspec.json.decode(each.event) for each in read] == [dump(event) for event in kept]
    assert [load_event(msgspec.json.decode(each.event)) for each in read] == kept


@pytest.mark.parametrize("size", [1, 7, 100, 250])
def test_old_events_are_deleted_whatever_the_size_of_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_EVENTS", 300)
    journal = Journal(store)
    for start in range(0, 1000, size):
        journal.append_all([sent(number) for number in range(start, min(start + size, 1000))])
    ((left,),) = store.rows("SELECT count(*) FROM events")
    assert 300 <= int(str(left)) <= 300 + max(size, 100)
