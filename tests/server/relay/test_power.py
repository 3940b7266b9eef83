"""Power cuts: acknowledged entries were synced, so they are there afterwards."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import pytest

from crowdkit import Ledger, Talker
from diskkit import Disk
from relaykit import running_relay

CUTS = 15
CUTS_A_MINUTE = 20
NAMES = ("red", "blue", "green", "grey")


async def talk_until_power_cut(
    folder: Path, after: Path, talkers: list[Talker], ledger: Ledger, dice: Random
) -> None:
    with Disk() as disk:
        async with running_relay(folder, new_identity=True) as relay, asyncio.TaskGroup() as visits:
            dark, loop = asyncio.Event(), asyncio.get_running_loop()
            disk.cut_power_after(dice.randrange(1, 400), lambda: loop.call_soon_threadsafe(dark.set))
            for talker in talkers:
                visits.create_task(talker.visit(relay.port))
            await dark.wait()
            await relay.relay.stop()
        disk.leave(after / "data", dice)
    ledger.settle()


async def read_all_again(folder: Path, talkers: list[Talker], ledger: Ledger) -> None:
    async with running_relay(folder, new_identity=True) as relay, asyncio.TaskGroup() as visits:
        for talker in talkers:
            visits.create_task(talker.visit(relay.port, reread=True, quiet=True))
        for talker in talkers:
            await talker.settled.wait()
        await relay.relay.stop()
    ledger.settle()


async def keep_cutting(folder: Path, cuts: int) -> Ledger:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")  # noqa: T201  (shown when it fails)
    dice, ledger = Random(seed), Ledger()  # noqa: S311  (dice, not keys)
    talkers = [Talker(name, ledger, dice) for name in NAMES]
    for number, talker in enumerate(talkers):
        talker.meet(talkers)
        talker.found(bytes([number]) * 16)
    before = folder / "0"
    before.mkdir()
    for number in range(1, cuts + 1):
        after = folder / str(number)
        (after / "data").mkdir(mode=0o700, parents=True)
        await talk_until_power_cut(before, after, talkers, ledger, dice)
        await read_all_again(after, talkers, ledger)
        before = after
    return ledger


async def test_acknowledged_entries_survive_power_cuts(tmp_path: Path) -> None:
    ledger = await keep_cutting(tmp_path, CUTS)
    assert ledger.accepted > CUTS


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_acknowledged_entries_survive_many_power_cuts(tmp_path: Path) -> None:
    cuts = int(float(os.environ.get("CLAVE_SOAK_MINUTES", "10")) * CUTS_A_MINUTE)
    ledger = await keep_cutting(tmp_path, cuts)
    print(f"{cuts} cuts, {ledger.accepted} acknowledgements")  # noqa: T201  (the soak's result)
    assert ledger.accepted > cuts
