"""Pairings that meet: two codes at once, lost answers, and a new device that gives up; no ghost is left."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest

from clave_client.errors import UsageError
from clave_client.testing import MemoryRelay
from clave_client.ui import device_work
from devicekit import SECONDS, Newcomer


async def test_a_yes_for_one_pairing_certifies_no_other(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        first = await red.open_pairing()
        laptop = Newcomer(relay, tmp_path / "1", first.code, "laptop")
        offer = await red.pairing_offer(first.pairing)
        assert (offer.pairing, offer.words) == (first.pairing, await laptop.shown())
        second = await red.open_pairing()
        spy = Newcomer(relay, tmp_path / "2", second.code, "spy")
        await red.pairing_offer(second.pairing)
        for same in (True, False):
            with pytest.raises(UsageError, match="that pairing is over: another code was made"):
                await red.finish_pairing(first.pairing, same=same)
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.pairing_offer(first.pairing)
        assert not red.sync.devices.known.others()
        await red.stop_pairing(first.pairing)  # as Ctrl-C in the first window does
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.stop_pairing("0" * 32)
        added = await red.finish_pairing(second.pairing, same=True)
        assert added is not None
        assert added.name == "spy"
        await spy.task
        await red.stop_pairing(second.pairing)
        assert red.sync.devices.known.named("spy") is not None
        with pytest.raises(UsageError, match="another code was made"):
            await laptop.task


async def test_two_codes_at_the_same_time_leave_one_that_works(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await red.open_pairing()
        first, second = await asyncio.gather(red.open_pairing(), red.open_pairing())
        assert len(relay.devices.pairings) == 1
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.pairing_offer(first.pairing)
        newcomer = Newcomer(relay, tmp_path, second.code, "laptop")
        await red.pairing_offer(second.pairing)
        assert await red.finish_pairing(second.pairing, same=True) is not None
        await newcomer.task


async def test_what_was_typed_before_the_question_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = pty.openpty()
    try:
        with os.fdopen(terminal, closefd=False) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            os.write(keyboard, b"yes\n")
            asking = asyncio.create_task(device_work._confirmed("same?"))
            await asyncio.sleep(0)  # it asks now
            os.write(keyboard, b"no\n")
            async with asyncio.timeout(SECONDS):
                assert not await asking
    finally:
        os.close(keyboard)
        os.close(terminal)
