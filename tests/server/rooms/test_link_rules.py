"""Which links of a room are live, how many are remembered, and which offers are kept on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from clave_server.accounts.directory import Applicant, enrol
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError, Refusal
from clave_server.rooms.entry_store import RowChanges, load_room
from clave_server.rooms.links import (
    MAX_KNOWN_LINKS,
    Link,
    Links,
    add_links,
    check_link,
    replace_links,
    use_link,
)
from clave_server.rooms.offers import MAX_OFFERS, OfferRow, read_offer
from clave_server.rooms.room_state import RoomState
from clave_server.storage import schema
from clave_wire.messages import Code, Offer, OfferedLink

ROOM = bytes(16)


def key(number: int) -> bytes:
    return bytes([number]) * 32


def listed(*numbers: int, uses: int = 5) -> list[OfferedLink]:
    return [OfferedLink(key(number), 9, uses, b"sealed") for number in numbers]


# --- links ---------------------------------------------------------------------------------------------


def test_a_settling_offer_lists_the_live_links() -> None:
    links = replace_links({}, listed(1, 2))
    links = replace_links(links, listed(2, 3, uses=7))
    assert links == {key(1): Link(9, 5, True), key(2): Link(9, 7), key(3): Link(9, 7)}
    assert replace_links(links, listed(1))[key(1)] == Link(9, 5)


def test_another_offer_only_adds_links() -> None:
    links = replace_links(replace_links({}, listed(1, 2)), listed(2))
    added = add_links(links, listed(1, 2, 3, uses=7))
    assert added == {**links, key(3): Link(9, 7)}
    assert add_links(links, listed(1, uses=7)) is links


def test_the_oldest_revoked_link_is_forgotten_first_and_no_live_one_for_an_unsettled_offer() -> None:
    links: Links = {}
    for number in range(0, MAX_KNOWN_LINKS + 8, 4):
        links = replace_links(links, listed(*range(number, number + 4)))
    assert list(links) == [key(number) for number in range(8, MAX_KNOWN_LINKS + 8)]
    live = [key(number) for number in range(MAX_KNOWN_LINKS + 4, MAX_KNOWN_LINKS + 8)]
    for number in range(100, 100 + MAX_KNOWN_LINKS):
        links = add_links(links, listed(number))
    assert list(links) == [*live, *(key(number) for number in range(100, 96 + MAX_KNOWN_LINKS))]


def test_each_check_of_a_link_has_its_code() -> None:
    for link, now, is_member, code in (
        (None, 0, True, Code.NO_SUCH_LINK),
        (Link(5, 0, True), 9, True, Code.LINK_REVOKED),
        (Link(5, 0), 5, True, Code.LINK_EXPIRED),
        (Link(5, 0), 4, False, Code.LINK_USED_UP),
    ):
        with pytest.raises(Refusal) as caught:
            check_link(link, now, is_member=is_member)
        assert caught.value.code is code
        assert "\n" not in str(caught.value)
    check_link(Link(5, 1), 4, is_member=False)
    check_link(Link(0, 1), 10**9, is_member=False)
    check_link(Link(5, 0), 4, is_member=True)


def test_a_use_is_counted_in_a_new_mapping() -> None:
    links = replace_links({}, listed(1))
    assert use_link(links, key(1)) == {key(1): Link(9, 4)}
    assert links == {key(1): Link(9, 5)}


# --- on disk -------------------------------------------------------------------------------------------


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    """Yield a database with ten accounts and a room of the first."""
    connection = schema.connect_writer(tmp_path / "relay.db")
    for number in range(10):
        name = f"n{number}"
        enrol(
            connection, Applicant(key(number), b"identity", key(number), name, name, name), lambda _: None, 0
        )
    room, changes = RoomState(ROOM), RowChanges()
    room.stage_creation(key(0), "n0")
    changes.save_room(room)
    changes.apply(connection)
    yield connection
    connection.close()


def store(
    connection: apsw.Connection, account: int, seq: int, *, settled: bool, size: int = 3
) -> Counter[bytes]:
    """Store an offer with the links 1 and, without a key for it, 2; return the bytes released."""
    links = [*listed(1), OfferedLink(key(2), 9, 5, b"")]
    changes = RowChanges()
    offer = Offer(ROOM, 0, links, bytes([account]) * size)
    changes.offers.append(OfferRow.of(offer, key(account), seq, settled=settled))
    changes.apply(connection)
    return changes.released


def served(connection: apsw.Connection) -> list[int]:
    """Return the accounts whose offers are served, in order."""
    offers = [read_offer(connection, ROOM, key(1), 0)]
    offers += [read_offer(connection, ROOM, key(1), place) for place in range(1, offers[0].offers)]
    return [offer.group_info[0] for offer in offers]


def test_eight_offers_are_kept_and_the_last_in_order_goes(connection: apsw.Connection) -> None:
    for account in range(MAX_OFFERS):
        assert not store(connection, account, account + 1, settled=account in (0, 3))
    assert served(connection) == [3, 0, 7, 6, 5, 4, 2, 1]
    assert store(connection, 8, 20, settled=False) == {key(1): 3}
    assert store(connection, 9, 1, settled=True) == {key(2): 3}
    assert served(connection) == [3, 9, 0, 8, 7, 6, 5, 4]
    assert store(connection, 1, 0, settled=False) == {key(1): 3}, "the new one is the last"
    assert served(connection) == [3, 9, 0, 8, 7, 6, 5, 4]
    check_rows(connection)
    kept = connection.execute("SELECT stored FROM accounts ORDER BY id").fetchall()
    assert kept == [(0 if number in (1, 2) else 3,) for number in range(10)]


def test_an_account_has_one_offer_to_a_room(connection: apsw.Connection) -> None:
    store(connection, 1, 5, settled=True, size=10)
    assert store(connection, 1, 6, settled=False, size=4) == {key(1): 10}
    assert served(connection) == [1]
    assert connection.execute("SELECT sum(stored) FROM accounts").get == 4


def test_only_links_with_a_sealed_key_are_served(connection: apsw.Connection) -> None:
    store(connection, 1, 5, settled=True)
    for link, place in ((key(2), 0), (key(3), 0), (key(1), 1)):
        with pytest.raises(Refusal) as caught:
            read_offer(connection, ROOM, link, place)
        assert caught.value.code is Code.NO_SUCH_LINK


def test_a_damaged_offer_is_left_out_and_logged(connection: apsw.Connection) -> None:
    store(connection, 1, 5, settled=True)
    store(connection, 2, 6, settled=True)
    connection.execute("UPDATE offers SET group_info = x'00' WHERE seq = 6")
    with capture_logs() as logs:
        assert served(connection) == [1]
    assert logs
    with pytest.raises(DamageError, match=r"an offer to room (00){16} is"):
        check_rows(connection)


def test_links_are_loaded_as_they_were_saved_and_in_order(connection: apsw.Connection) -> None:
    room = load_room(connection, ROOM)
    assert room is not None
    for numbers in ((7, 3), (3, 9), (9, 1)):
        changes = RowChanges()
        room.stage_links(listed(*numbers), settles=True)
        changes.save_room(room)
        changes.apply(connection)
        room.keep_staged(saved=True)
        loaded = load_room(connection, ROOM)
        assert loaded is not None
        assert list(loaded.links.items()) == list(room.links.items())
    before = room.links
    room.stage_links(listed(2), settles=True)
    room.roll_back()
    assert room.links is before
    check_rows(connection)


def test_forgotten_links_are_deleted(connection: apsw.Connection) -> None:
    room = load_room(connection, ROOM)
    assert room is not None
    for number in range(MAX_KNOWN_LINKS + 2):
        changes = RowChanges()
        room.stage_links(listed(number), settles=True)
        changes.save_room(room)
        changes.apply(connection)
        room.keep_staged(saved=True)
    assert connection.execute("SELECT count(*) FROM links").get == MAX_KNOWN_LINKS
    loaded = load_room(connection, ROOM)
    assert loaded is not None
    assert loaded.links == room.links


@pytest.mark.parametrize(
    "change", ["link = zeroblob(32)", "not_after = 8", "uses = 9", "revoked = 1", "seal = x''"]
)
def test_a_damaged_link_is_noticed(connection: apsw.Connection, change: str) -> None:
    room, changes = load_room(connection, ROOM), RowChanges()
    assert room is not None
    room.stage_links(listed(1), settles=True)
    changes.save_room(room)
    changes.apply(connection)
    connection.execute(f"UPDATE links SET {change}")  # noqa: S608  (a test's own words)
    with pytest.raises(DamageError, match=r"a link of room (00){16} is damaged"):
        load_room(connection, ROOM)
    with pytest.raises(DamageError, match=r"a link of room (00){16} is damaged"):
        check_rows(connection)


def test_a_database_of_before_gets_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "before.db"
    with monkeypatch.context() as former_version:
        former_version.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:8])
        schema.connect_writer(path).close()
    connection = schema.connect_writer(path)
    assert {connection.execute(f"SELECT count(*) FROM {each}").get for each in ("links", "offers")} == {0}  # noqa: S608
    connection.close()
