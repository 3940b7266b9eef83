"""`kill -9` under load: no acknowledged entry is lost or doubled, and all clients agree."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from random import Random

import pytest

from crowdkit import Ledger, Talker
from relaykit import RelayProcess

ROUNDS = 20
ROUNDS_A_MINUTE = 100
"""How many a soak has for each minute it is given: ten minutes make a thousand."""

NAMES = ("red", "blue", "green", "grey", "pink", "teal")
OPTIONS = ("--mirror", "off", "--account-rate", "0", "--address-rate", "0", "--log-level", "warning")


async def kill_round(data: Path, talkers: list[Talker], ledger: Ledger, dice: Random) -> None:
    """Let all clients talk to a relay that is stopped at a random moment, mostly by SIGKILL."""
    reader = dice.choice(talkers)
    async with RelayProcess(data, *OPTIONS) as process, asyncio.TaskGroup() as visits:
        for talker in talkers:
            visits.create_task(talker.visit(process.port, reread=talker is reader))
        await ledger.more(dice.choice([0, 1, 10, 50, 100]))
        await asyncio.sleep(dice.random() * 0.03)  # any moment will do
        os.kill(process.pid, signal.SIGTERM if dice.random() < 0.1 else signal.SIGKILL)
        await process.process.wait()
    ledger.settle()


async def final_round(data: Path, talkers: list[Talker], ledger: Ledger) -> None:
    """Let all clients read everything and repeat their last acknowledged submissions."""
    async with RelayProcess(data, *OPTIONS) as process, asyncio.TaskGroup() as visits:
        for talker in talkers:
            visits.create_task(talker.visit(process.port, reread=True, quiet=True))
        for talker in talkers:
            await talker.settled.wait()
        os.kill(process.pid, signal.SIGTERM)
    ledger.settle()
    assert all(room.is_whole for room in ledger.rooms.values())


async def keep_killing(data: Path, rounds: int) -> Ledger:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")  # noqa: T201  (shown when it fails)
    dice, ledger = Random(seed), Ledger()  # noqa: S311  (dice, not keys)
    talkers = [Talker(name, ledger, dice) for name in NAMES]
    for number, talker in enumerate(talkers):
        talker.meet(talkers)
        if number < 3:
            talker.found(bytes([number]) * 16)
    for _ in range(rounds):
        await kill_round(data, talkers, ledger, dice)
    await final_round(data, talkers, ledger)
    return ledger


async def test_acknowledged_entries_survive_repeated_kills(tmp_path: Path) -> None:
    ledger = await keep_killing(tmp_path / "data", ROUNDS)
    assert ledger.accepted > 10 * ROUNDS
    assert sum(room.states[-1].changes for room in ledger.rooms.values()) > ROUNDS
    assert ledger.claimed


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_acknowledged_entries_survive_a_thousand_kills(tmp_path: Path) -> None:
    rounds = int(float(os.environ.get("CLAVE_SOAK_MINUTES", "10")) * ROUNDS_A_MINUTE)
    ledger = await keep_killing(tmp_path / "data", rounds)
    print(f"{rounds} rounds, {ledger.accepted} acknowledgements")  # noqa: T201  (the soak's result)
    assert ledger.accepted > 10 * rounds
