"""The story of a relay process that is stopped: its clients notice, and come back when it goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from clave_client import events
from clave_client.net import transport
from scenarios.stage import gather_in, people_at, relay_at


async def test_a_stopped_relay_is_noticed_and_come_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 2.0)
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        os.kill(relay.pid, signal.SIGSTOP)
        try:
            for person in (red, blue):
                await person.sees(
                    events.Disconnected, lambda event: event.reason == "the relay does not answer"
                )
            await red.sees(
                events.Disconnected, lambda event: "takes the connection but does not answer" in event.reason
            )
            red.client.post(room, "meanwhile")
        finally:
            os.kill(relay.pid, signal.SIGCONT)
        await blue.reads("meanwhile")
