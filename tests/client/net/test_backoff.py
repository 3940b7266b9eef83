from __future__ import annotations

import pytest

from clave_client.errors import RelayFault, RelayRefused, RelayUnreachable
from clave_client.net.backoff import FIRST, LONGEST, LONGEST_ASKED, Backoff, jitter
from clave_wire.messages import Code

LOST = RelayUnreachable("gone")


def longest() -> Backoff:
    """Return one that always draws the longest pause."""
    return Backoff(lambda longest: longest)


def test_pauses_grow_to_a_bound() -> None:
    patience = longest()
    pauses = [patience.failed(LOST) for _ in range(12)]
    assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert pauses[-1] == LONGEST


def test_a_connection_that_held_begins_anew() -> None:
    patience = longest()
    for _ in range(8):
        patience.failed(LOST)
    assert patience.lost(LOST, lasted=1.0, spread=0.0) == LONGEST, "one that broke at once is no success"
    assert patience.lost(LOST, lasted=LONGEST + 1, spread=0.0) == FIRST


def test_who_loses_the_relay_without_a_word_takes_the_spread_it_asked_for() -> None:
    assert longest().lost(LOST, lasted=100.0, spread=40.0) == 40.0
    assert Backoff(lambda longest: longest / 4).lost(LOST, lasted=100.0, spread=40.0) == 10.0
    patience = longest()
    patience.lost(LOST, lasted=100.0, spread=40.0)
    assert patience.failed(LOST) == 2 * FIRST, "afterwards as usual"


def test_a_small_spread_does_not_shorten_the_usual_pause() -> None:
    patience = longest()
    for _ in range(5):
        patience.failed(LOST)
    assert patience.lost(LOST, lasted=0.0, spread=0.01) == FIRST * 2**5


@pytest.mark.parametrize("error", [RelayFault("broken"), RelayRefused(Code.SLOW, "too slow")])
def test_the_spread_is_for_who_heard_nothing(error: RelayFault | RelayRefused) -> None:
    assert longest().lost(error, lasted=100.0, spread=40.0) == FIRST


def test_nobody_comes_back_before_it_was_asked_to() -> None:
    refused = RelayRefused(Code.FULL, "full", 12.0)
    assert Backoff(lambda _: 0.0).lost(refused, lasted=100.0, spread=40.0) == 12.0
    patience = longest()
    assert patience.failed(refused) == 12.0 + FIRST
    assert patience.failed(refused) == 12.0 + 2 * FIRST


@pytest.mark.parametrize("asked", [LONGEST_ASKED + 1.0, 2**53 / 1000])
def test_no_relay_keeps_anybody_away_for_long(asked: float) -> None:
    assert longest().lost(LOST, lasted=100.0, spread=asked) == LONGEST_ASKED
    refused = RelayRefused(Code.SHUTDOWN, "gone", asked)
    assert longest().lost(refused, lasted=100.0, spread=asked) == LONGEST_ASKED + FIRST
    assert longest().failed(refused) == LONGEST_ASKED + FIRST
    assert longest().lost(LOST, lasted=100.0, spread=LONGEST_ASKED) == LONGEST_ASKED
    assert 0 < LONGEST_ASKED <= 600.0


def test_what_is_drawn_stays_within() -> None:
    drawn = [jitter(2.0) for _ in range(200)]
    assert all(0.0 <= pause <= 2.0 for pause in drawn)
    assert len(set(drawn)) > 100


def test_a_refusal_says_when_to_come_back() -> None:
    assert str(RelayRefused(Code.FULL, "full", 12.0)) == "full; come back in 12 s"
    assert str(RelayRefused(Code.FULL, "full", 0.5)) == "full"
