from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from clave_client.errors import KeyMismatch
from clave_client.events import Person
from clave_client.rooms.roster import Roster
from clave_client.store.database import Store
from clave_client.store.pins import Pins, are_confusable, check_inviter
from clave_client.store.schema import MIGRATIONS
from clave_client.ui.hints import error_text
from clave_client.values import SeenKey
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


def test_another_key_under_a_pinned_name_is_refused_and_shows_both(pins: Pins) -> None:
    pins.pin("blue", SeenKey(TRUE, RELAY))
    pins.pin("blue", SeenKey(TRUE, RELAY))
    with pytest.raises(KeyMismatch) as caught:
        pins.pin("blue", SeenKey(OTHER, RELAY))
    assert str(caught.value) == (
        f"two keys go by blue, nothing was done: {fingerprint(TRUE)} (the blue you know) and"
        f" {fingerprint(OTHER)} (the relay's word only);"
        " the name may have a new owner: ask blue over another channel which is right"
    )
    assert error_text(caught.value) == f"{caught.value}, then /trust blue"
    assert (caught.value.known, caught.value.found) == (TRUE, OTHER)
    assert pins.known("blue") == SeenKey(TRUE, "the blue you know", bound=True)


@pytest.mark.parametrize(
    ("bound", "typed"),
    [("blue", "b1ue"), ("blue", "bIue"), ("blue", "Blue"), ("Ivan", "ivan"), ("Ivan", "lvan")],
)
def test_a_confusable_spelling_is_the_same_name(pins: Pins, bound: str, typed: str) -> None:
    pins.pin(bound, SeenKey(TRUE, RELAY))
    for one, other in ((bound, typed), (typed, bound)):
        assert are_confusable(one, other)
    with pytest.raises(KeyMismatch, match=f"the {bound} you know"):
        pins.check(typed, SeenKey(OTHER, RELAY))
    pins.check(typed, SeenKey(TRUE, RELAY))
    pins.check("green", SeenKey(OTHER, RELAY))


def test_verified_is_per_key_and_name(pins: Pins) -> None:
    pins.verify("blue", TRUE)
    assert pins.is_verified("blue", TRUE)
    assert not pins.is_verified("green", TRUE), "the owner of a verified key may claim any name"
    with pytest.raises(KeyMismatch, match="the blue you verified"):
        pins.verify("blue", OTHER)
    assert not pins.is_verified("blue", OTHER)


def test_a_repin_moves_the_name_and_not_the_verified_mark(pins: Pins) -> None:
    pins.verify("blue", TRUE)
    pins.repin("b1ue", OTHER)
    assert not pins.is_verified("blue", OTHER)
    assert not pins.is_verified("blue", TRUE)
    with pytest.raises(KeyMismatch):
        pins.check("blue", SeenKey(TRUE, RELAY))
    pins.repin("blue", TRUE)
    assert pins.is_verified("blue", TRUE), "the mark lives with the account"


def test_a_names_key_is_chosen_in_order_or_refused(pins: Pins) -> None:
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


def test_an_unpinned_name_is_compared_with_the_keys_seen(pins: Pins) -> None:
    seen = [SeenKey(TRUE, "the group friends")]
    with pytest.raises(KeyMismatch, match="the group friends"):
        pins.check("blue", SeenKey(OTHER, RELAY), seen)
    pins.pin("blue", SeenKey(OTHER, RELAY))
    pins.check("blue", SeenKey(OTHER, RELAY), seen)


def test_an_inviter_is_compared_and_not_pinned(pins: Pins) -> None:
    red = Person("red", TRUE, "laptop", b"d" * 32, verified=False)
    assert check_inviter(pins, red).account == TRUE
    assert pins.known("red") is None
    pins.pin("red", SeenKey(OTHER, RELAY))
    with pytest.raises(KeyMismatch, match="who sent this invitation"):
        check_inviter(pins, red)


# Rosters


def test_a_roster_shows_another_key_and_pins_nothing(tmp_path: Path) -> None:
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


def test_who_invited_is_known_after_a_restart_until_the_group_is_left(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    blue.restarts()
    inviter = Roster.of(blue.room.group, blue.store).inviter()
    assert inviter is not None
    assert inviter.account == red.account.verified.account
    assert red.room.roster.inviter() is None
    blue.store.forget_group(blue.room.id)
    assert Roster.of(blue.room.group, blue.store).inviter() is None


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


def test_a_pin_is_stored(store: Store, tmp_path: Path) -> None:
    Pins(store).pin("blue", SeenKey(TRUE, RELAY))
    assert "blue" in store.names()
    store.close()
    reopened = Store(tmp_path / "store.db", KEY)
    with pytest.raises(KeyMismatch):
        Pins(reopened).check("blue", SeenKey(OTHER, RELAY))
    reopened.close()


# Which room somebody means
