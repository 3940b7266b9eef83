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
    backoff = longest()
    pauses = [backoff.after_failure(LOST) for _ in range(12)]
    assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert pauses[-1] == LONGEST


def test_a_connection_that_lasted_resets_the_backoff() -> None:
    backoff = longest()
    for _ in range(8):
        backoff.after_failure(LOST)
    assert backoff.after_loss(LOST, lasted=1.0, spread=0.0) == LONGEST, "one that broke at once is no success"
    assert backoff.after_loss(LOST, lasted=LONGEST + 1, spread=0.0) == FIRST


def test_an_unannounced_loss_waits_within_the_spread_the_relay_asked_for() -> None:
    assert longest().after_loss(LOST, lasted=100.0, spread=40.0) == 40.0
    assert Backoff(lambda longest: longest / 4).after_loss(LOST, lasted=100.0, spread=40.0) == 10.0
    backoff = longest()
    backoff.after_loss(LOST, lasted=100.0, spread=40.0)
    assert backoff.after_failure(LOST) == 2 * FIRST, "afterwards as usual"


def test_a_small_spread_does_not_shorten_the_usual_pause() -> None:
    backoff = longest()
    for _ in range(5):
        backoff.after_failure(LOST)
    assert backoff.after_loss(LOST, lasted=0.0, spread=0.01) == FIRST * 2**5


@pytest.mark.parametrize("error", [RelayFault("broken"), RelayRefused(Code.SLOW, "too slow")])
def test_the_spread_applies_to_unannounced_losses_only(error: RelayFault | RelayRefused) -> None:
    assert longest().after_loss(error, lasted=100.0, spread=40.0) == FIRST


def test_no_reconnect_before_the_time_the_relay_asked_for() -> None:
    refused = RelayRefused(Code.FULL, "full", 12.0)
    assert Backoff(lambda _: 0.0).after_loss(refused, lasted=100.0, spread=40.0) == 12.0
    backoff = longest()
    assert backoff.after_failure(refused) == 12.0 + FIRST
    assert backoff.after_failure(refused) == 12.0 + 2 * FIRST


@pytest.mark.parametrize("asked", [LONGEST_ASKED + 1.0, 2**53 / 1000])
def test_the_pause_a_relay_can_ask_for_is_bounded(asked: float) -> None:
    assert longest().after_loss(LOST, lasted=100.0, spread=asked) == LONGEST_ASKED
    refused = RelayRefused(Code.SHUTDOWN, "gone", asked)
    assert longest().after_loss(refused, lasted=100.0, spread=asked) == LONGEST_ASKED + FIRST
    assert longest().after_failure(refused) == LONGEST_ASKED + FIRST
    assert longest().after_loss(LOST, lasted=100.0, spread=LONGEST_ASKED) == LONGEST_ASKED
    assert 0 < LONGEST_ASKED <= 600.0


def test_jitter_stays_within_its_bound() -> None:
    drawn = [jitter(2.0) for _ in range(200)]
    assert all(0.0 <= pause <= 2.0 for pause in drawn)
    assert len(set(drawn)) > 100


def test_a_refusal_says_when_to_try_again() -> None:
    assert str(RelayRefused(Code.FULL, "full", 12.0)) == "full; come back in 12 s"
    assert str(RelayRefused(Code.FULL, "full", 0.5)) == "full"
