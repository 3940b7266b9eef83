"""Stories of a relay that does not take what a client has to send: that is no end, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.errors import ClientError, RelayFault, StoreDamaged
from clave_wire.connection import ClientConnection
from scenarios.stage import TIMEOUT, Somebody, gather_in, people_at, relay_at


@contextmanager
def frames_up_to(size: int, person: Somebody) -> Iterator[None]:
    """Have the relay take no frame of more than `size` bytes from a client that is connected."""
    connection = person.client.sync.transport.connection
    limit, connection._send_limit = connection._send_limit, size
    yield
    connection._send_limit = limit


async def test_a_message_on_its_way_outlasts_a_change_that_cannot_be_sent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        with frames_up_to(3000, red):
            said = red.client.post(room, "on its way")
            with pytest.raises(ClientError, match="the relay would not take this change"):
                await red.client.set_title(room, "team")
        await red.sees(events.Sent, lambda sent: sent.id == said)
        await blue.reads("on its way")
        await red.client.send(room, "and the next")
        await blue.reads("and the next")
        assert not [event for event in red.happened if isinstance(event, events.Disconnected)]


@pytest.mark.parametrize("what", ["rejoin info", "rejoin request"])
async def test_what_cannot_be_sent_keeps_nobody_from_talking(tmp_path: Path, what: str) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        session = red.client.sync
        here = session.rooms[room]
        rejoin, other = session.rejoin, blue.client.sync.own_device
        saying = (
            rejoin.send_rejoin_info(here, other) if what == "rejoin info" else rejoin.repeat_requests(here)
        )
        with frames_up_to(100, red), pytest.raises(RelayFault, match="does not take"):
            await saying
        assert not here.in_flight
        assert here.may_send
        await red.client.send(room, "still here")
        await blue.reads("still here")


async def test_a_relay_that_takes_too_little_is_told_and_tried_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        here = red.client.sync.rooms[room]
        for text in ("waits", "waits too"):
            here.enqueue_text(text)
        with frames_up_to(100, red):
            await blue.client.send(room, "have red go on")
            fault = await red.sees(events.Disconnected)
        assert "the relay does not take what is to be sent" in fault.reason
        await red.sees(events.Connected)
        await blue.reads("waits")
        await blue.reads("waits too")
        assert red.ended_by is None


async def test_a_relay_that_takes_no_request_at_all_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        opened = ClientConnection._opened

        def open_narrowly(connection: ClientConnection) -> None:
            opened(connection)
            connection._send_limit = 10

        with monkeypatch.context() as patch:
            patch.setattr(ClientConnection, "_opened", open_narrowly)
            red.client.sync.transport.abort()
            for _ in range(3):
                fault = await red.sees(events.Disconnected)
            assert "the relay does not take what is to be sent" in fault.reason
        await red.sees(events.Connected)
        await red.client.send(room, "through")
        await blue.reads("through")


async def test_what_fails_later_ends_no_more_than_the_connection(tmp_path: Path) -> None:
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, tmp_path / "home", "red") as (red,):
        session = red.client.sync

        def fail() -> None:
            raise RelayFault("it did not go")

        session.later(0.0, fail)
        assert (await red.sees(events.Disconnected)).reason == "it did not go"
        await red.sees(events.Connected)
        assert escaped == []


async def test_a_damaged_store_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red", "blue") as (red, blue):
        room = await gather_in("friends", red, blue)
        session = red.client.sync

        def fail(*_: object) -> None:
            raise StoreDamaged("the disk is full")

        monkeypatch.setattr(session, "received", fail)
        await blue.client.send(room, "hello")
        assert session.connection.task is not None
        await asyncio.wait_for(session.connection.task, TIMEOUT)
        with pytest.raises(StoreDamaged):
            session.check()
        assert not session.is_online
        assert isinstance(red.ended_by, StoreDamaged)
        assert session.events.waiting == 0, "it is not tried again"
