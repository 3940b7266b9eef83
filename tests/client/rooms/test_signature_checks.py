"""Checks of signatures that are made together, on two threads."""

from __future__ import annotations

import os
import threading
from functools import partial

import pytest

from clave_client.rooms import signature_checks
from clave_client.rooms.signature_checks import BadSignatures, SignatureChecks
from clave_crypto.mls import MLSError


def good() -> None:
    """A signature that holds."""


def bad() -> None:
    raise MLSError("the signature does not verify")


@pytest.mark.parametrize("count", [1, 31, 32, 64])
def test_one_bad_signature_in_any_place_is_enough(count: int) -> None:
    for place in range(count):
        checks = SignatureChecks()
        for number in range(count):
            checks.add(bad if number == place else good)
        with pytest.raises(BadSignatures):
            checks.finish()


@pytest.mark.parametrize("count", [0, 1, 32, 64])
def test_every_check_is_made_once(count: int) -> None:
    checks = SignatureChecks()
    made: list[int] = []
    for number in range(count):
        checks.add(partial(made.append, number))
    assert not made, "a check that fails must not end the batch before its others are known"
    checks.finish()
    assert sorted(made) == list(range(count))
    checks.finish()
    assert len(made) == count


def test_checks_are_made_on_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    signature_checks._threads.cache_clear()
    both = threading.Barrier(2, timeout=10)
    checks = SignatureChecks()
    met: list[int] = []

    def meet() -> None:
        if len(met) < 2:
            met.append(threading.get_ident())
            both.wait()

    for _ in range(32):
        checks.add(meet)
    checks.finish()
    assert len(set(met)) == 2


def test_on_one_processor_no_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    signature_checks._threads.cache_clear()
    used: set[int] = set()
    checks = SignatureChecks()
    for _ in range(64):
        checks.add(lambda: used.add(threading.get_ident()))
    checks.finish()
    assert used == {threading.get_ident()}
    signature_checks._threads.cache_clear()


def test_a_defect_in_the_other_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    signature_checks._threads.cache_clear()
    both = threading.Barrier(2, timeout=10)
    waited = threading.local()

    def fails_elsewhere() -> None:
        if not hasattr(waited, "done"):
            waited.done = True
            both.wait()
        if threading.get_ident() != here:
            raise ZeroDivisionError

    checks = SignatureChecks()
    for _ in range(32):
        checks.add(fails_elsewhere)
    with pytest.raises(ZeroDivisionError):
        checks.finish()
