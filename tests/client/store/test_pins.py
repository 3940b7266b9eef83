from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from clave_client.errors import KeyMismatch, UsageError
from clave_client.events import Person
from clave_client.people.key_watch import KeyWatch
from clave_client.rooms.room_names import resolve_room, similar_room
from clave_client.rooms.roster import Roster
from clave_client.store.database import Phase, RoomRecord, Store
from clave_client.store.pins import Pins, SeenKey, are_confusable, check_inviter
from clave_client.store.schema import MIGRATIONS
from clave_crypto.identity import AccountKey, fingerprint
from clave_crypto.keys import Secret
from client.memory_relay import in_one_room

KEY = Secret(b"k" * 32)
TRUE, OTHER, THIRD = (AccountKey.generate().public for _ in range(3))
RELAY = "the relay's word only"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db", KEY)
    yield store
    store.close()


@pytest.fixture
def pins(store: Store) -> Pins:
    return Pins(store)


def test_another_key_under_a_bound_name_stops_and_shows_both(pins: Pins) -> None:
    pins.pin("blue", SeenKey(TRUE, RELAY))
    pins.pin("blue", SeenKey(TRUE, RELAY))
    with pytest.raises(KeyMismatch) as caught:
        pins.pin("blue", SeenKey(OTHER, RELAY))
    assert str(caught.value) == (
        f"two keys go by blue, nothing was done: {fingerprint(TRUE)} (the blue you know) and"
        f" {fingerprint(OTHER)} (the relay's word only); ask blue over another channel which is right,"
        " then /trust blue"
    )
    assert (caught.value.known, caught.value.found) == (TRUE, OTHER)
    assert pins.known("blue") == SeenKey(TRUE, "the blue you know", bound=True)


@pytest.mark.parametrize(
    ("bound", "typed"),
    [("blue", "b1ue"), ("blue", "bIue"), ("blue", "Blue"), ("Ivan", "ivan"), ("Ivan", "lvan")],
)
def test_another_spelling_that_looks_alike_is_the_same_name(pins: Pins, bound: str, typed: str) -> None:
    pins.pin(bound, SeenKey(TRUE, RELAY))
    for one, other in ((bound, typed), (typed, bound)):
        assert are_confusable(one, other)
    with pytest.raises(KeyMismatch, match=f"the {bound} you know"):
        pins.check(typed, SeenKey(OTHER, RELAY))
    pins.check(typed, SeenKey(TRUE, RELAY))
    pins.check("green", SeenKey(OTHER, RELAY))


def test_verified_means_that_key_under_that_name(pins: Pins) -> None:
    pins.verify("blue", TRUE)
    assert pins.is_verified("blue", TRUE)
    assert not pins.is_verified("green", TRUE), "the owner of a verified key may claim any name"
    with pytest.raises(KeyMismatch, match="the blue you verified"):
        pins.verify("blue", OTHER)
    assert not pins.is_verified("blue", OTHER)


def test_a_decision_moves_the_name_and_not_the_mark(pins: Pins) -> None:
    pins.verify("blue", TRUE)
    pins.repin("b1ue", OTHER)
    assert not pins.is_verified("blue", OTHER)
    assert not pins.is_verified("blue", TRUE)
    with pytest.raises(KeyMismatch):
        pins.check("blue", SeenKey(TRUE, RELAY))
    pins.repin("blue", TRUE)
    assert pins.is_verified("blue", TRUE), "the mark lives with the account"


def test_whom_a_name_means_is_chosen_in_order_or_not_at_all(pins: Pins) -> None:
    here, there, elsewhere = SeenKey(TRUE, "here"), SeenKey(TRUE, "there"), SeenKey(OTHER, "elsewhere")
    assert pins.choose("blue", []) is None
    assert pins.choose("blue", [here, there]) == here
    with pytest.raises(KeyMismatch, match=r"\(here\) and .* \(elsewhere\)"):
        pins.choose("blue", [here, elsewhere])
    assert pins.known("blue") is None, "what was seen binds nothing"
    pins.pin("blue", here)
    assert pins.choose("blue", []) == SeenKey(TRUE, "an earlier contact", bound=True)
    with pytest.raises(KeyMismatch, match=r"\(the blue you know\) and .* \(elsewhere\)"):
        pins.choose("blue", [elsewhere])
    pins.repin("blue", TRUE)
    assert pins.choose("blue", [elsewhere, there]) == there, "a decision is asked for once"


def test_who_was_not_bound_is_compared_with_what_was_seen(pins: Pins) -> None:
    seen = [SeenKey(TRUE, "the group friends")]
    with pytest.raises(KeyMismatch, match="the group friends"):
        pins.check("blue", SeenKey(OTHER, RELAY), seen)
    pins.pin("blue", SeenKey(OTHER, RELAY))
    pins.check("blue", SeenKey(OTHER, RELAY), seen)


def test_an_inviter_is_compared_and_not_bound(pins: Pins) -> None:
    red = Person("red", TRUE, "laptop", b"d" * 32, verified=False)
    assert check_inviter(pins, red).account == TRUE
    assert pins.known("red") is None
    pins.pin("red", SeenKey(OTHER, RELAY))
    with pytest.raises(KeyMismatch, match="who sent this invitation"):
        check_inviter(pins, red)


# Rosters


def test_a_roster_shows_another_key_and_binds_nothing(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    pins, true = Pins(red.store), blue.account.verified.account
    assert pins.known("blue") is None

    def seen() -> Person:
        return red.room.roster.people()[blue.room.group.own_leaf]

    assert (seen().known, seen().verified) == (b"", False)
    pins.verify("blue", true)
    assert (seen().known, seen().verified) == (b"", True)
    pins.repin("blue", OTHER)
    assert (seen().known, seen().verified) == (OTHER, False)
    pins.repin("blue", true)
    assert (seen().known, seen().verified) == (b"", True)


def test_who_has_another_key_is_told_once(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    pins, own = Pins(red.store), red.account.verified.account
    watch = KeyWatch(pins, own)
    assert watch.fresh(red.room) == []
    pins.pin("b1ue", SeenKey(OTHER, RELAY))
    (notice,) = watch.fresh(red.room)
    assert notice.text == (
        f"blue in friends has another key than the b1ue you know: known {fingerprint(OTHER)},"
        f" here {fingerprint(blue.account.verified.account)}; ask blue over another channel,"
        " then /trust blue or /remove blue"
    )
    assert watch.fresh(red.room) == []
    pins.pin("green", SeenKey(THIRD, RELAY))
    assert watch.fresh(red.room) == []
    assert watch.mismatches(red.room) == [notice]
    pins.repin("blue", THIRD)
    assert len(watch.fresh(red.room)) == 1
    assert len(KeyWatch(pins, own).fresh(red.room)) == 1, "and again in the next session"


def test_somebody_of_ones_own_name_is_told(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    pins = Pins(red.store)
    pins.pin("blue", SeenKey(OTHER, "as if it were one's own"))
    (notice,) = KeyWatch(pins, OTHER).fresh(red.room)
    here = fingerprint(blue.account.verified.account)
    assert notice.text == (
        f"somebody in friends goes by your name, blue, with the key {here}; do not trust this room"
    )


def test_who_invited_is_known_after_a_restart_until_the_group_is_left(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    blue.restarts()
    inviter = Roster(blue.room.group, blue.store).inviter()
    assert inviter is not None
    assert inviter.account == red.account.verified.account
    assert red.room.roster.inviter() is None
    blue.store.forget_group(blue.room.id)
    assert Roster(blue.room.group, blue.store).inviter() is None


# The stored form


def test_verified_accounts_of_an_older_profile_become_pins_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    old = apsw.Connection(str(path))
    old.pragma("key", "raw:" + KEY.hex())
    for migration in MIGRATIONS[:1]:
        old.execute(str(migration))
    old.pragma("user_version", 1)
    accounts = [(TRUE, "blue", 1), (OTHER, "green", 0), (THIRD, "b1ue", 0)]
    old.executemany("INSERT INTO accounts VALUES (?, ?, ?)", accounts)
    old.close()
    store = Store(path, KEY)
    pins = Pins(store)
    assert pins.is_verified("blue", TRUE)
    assert pins.known("green") is None
    assert store.pins("blue") == [("blue", TRUE)]
    assert store.account(OTHER) == ("green", False)
    store.close()
    Store(path, KEY).close()


def test_a_pin_outlives_the_session(store: Store, tmp_path: Path) -> None:
    Pins(store).pin("blue", SeenKey(TRUE, RELAY))
    assert "blue" in store.names()
    store.close()
    reopened = Store(tmp_path / "store.db", KEY)
    with pytest.raises(KeyMismatch):
        Pins(reopened).check("blue", SeenKey(OTHER, RELAY))
    reopened.close()


# Which room somebody means

A, B, C = (bytes.fromhex(start + "0" * 24) for start in ("aaaaaaaa", "bbbbbbbb", "aaaaaaaa"[:7] + "c"))


def record(room: bytes, title: str, phase: Phase = Phase.JOINED) -> RoomRecord:
    return RoomRecord(room, phase, title, 1, 1, 1)


def test_a_room_is_meant_by_its_title_or_the_start_of_its_id() -> None:
    rooms = [record(A, "friends"), record(B, "Work")]
    assert resolve_room("friends", rooms) == A
    assert resolve_room("Friends", rooms) == A
    assert resolve_room("work", rooms) == B
    assert resolve_room("aaaaaaaa", rooms) == A
    assert resolve_room(A.hex().upper(), rooms) == A
    assert resolve_room("aaaaaaa", rooms) is None, "seven digits are no id"
    assert resolve_room("strangers", rooms) is None


def test_a_title_is_never_taken_for_the_id_of_another_room() -> None:
    rooms = [record(A, "friends"), record(B, A.hex()[:8])]
    with pytest.raises(UsageError) as caught:
        resolve_room("aaaaaaaa", rooms)
    told = f"several rooms fit aaaaaaaa; use the id: bbbbbbbb (aaaaaaaa), {A.hex()} (friends)"
    assert str(caught.value) == told
    assert resolve_room(A.hex(), rooms) == A
    assert resolve_room(A.hex(), [record(A, "friends"), record(B, A.hex())]) == A
    assert resolve_room("bbbbbbbb", rooms) == B


def test_rooms_of_one_title_are_told_apart_by_id() -> None:
    with pytest.raises(UsageError, match=r"use the id: aaaaaaaa \(friends\), bbbbbbbb \(friends\)"):
        resolve_room("friends", [record(A, "friends"), record(B, "friends")])
    assert resolve_room("friends", [record(A, "friends"), record(B, "Friends")]) == A
    alike = [record(A, "one"), record(A[:-1] + b"\1", "two")]
    with pytest.raises(UsageError, match=A.hex()):
        resolve_room("aaaaaaaa", alike)


def test_rooms_one_is_in_come_before_invitations() -> None:
    own, routing_suspect = record(A, "Friends"), record(B, "friends", Phase.INVITED)
    assert resolve_room("friends", [routing_suspect, own]) == A
    assert resolve_room("friends", [routing_suspect, own], invited=True) == B
    assert resolve_room("friends", [routing_suspect]) == B
    assert resolve_room("Friends", [own], invited=True) is None
    posing = record(A[:-1] + b"\1", A.hex()[:8], Phase.INVITED)
    assert resolve_room("aaaaaaaa", [own, posing]) == A


def test_an_invitation_of_a_title_one_has_is_noticed() -> None:
    own, routing_suspect = record(A, "friends"), record(B, "fri\u0435nds", Phase.INVITED)
    assert similar_room(routing_suspect, [own, routing_suspect]) == own
    assert similar_room(own, [own, routing_suspect]) is None
    assert similar_room(record(B, "work", Phase.INVITED), [own]) is None
