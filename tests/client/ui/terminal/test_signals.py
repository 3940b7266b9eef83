"""Signals are handled for a while, as far as they are not ignored."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from clave_client.ui.terminal.signals import handle_signals


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


async def test_handlers_run_on_the_loop_and_the_former_ones_return() -> None:
    former: list[int] = []
    called = asyncio.Event()
    signal.signal(signal.SIGUSR2, lambda number, _: former.append(number))
    with handle_signals({signal.SIGUSR2: called.set}):
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.wait_for(called.wait(), 10)
        assert former == []
    os.kill(os.getpid(), signal.SIGUSR2)
    assert former == [signal.SIGUSR2]


async def test_an_ignored_signal_stays_ignored() -> None:
    called = asyncio.Event()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with handle_signals({signal.SIGUSR2: called.set}):
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
