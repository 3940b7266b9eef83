"""When the relay accepted something, in a client: right for each entry, and forgotten with the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from clave_client import Client, Connected, InvitationAccepted, Invited, Message, Room
from clave_client.rooms.log_reader import LogReader
from clave_client.testing import MemoryRelay, memory_relay
from clave_wire.connection import VERSIONS
from clave_wire.messages import Accepted, AcceptedAt, Entry

NOON = 1_800_000_000.0
SECONDS = 20.0


@pytest.fixture(autouse=True)
def handled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, int, int]]:
    """Note (device, seq, time) of each entry that is handled."""
    noted: list[tuple[bytes, int, int]] = []
    handle = LogReader._handle_entry

    def noting(reader: LogReader, entry: Entry) -> None:
        noted.append((reader._room.roster.own_device, entry.seq, reader.log.accepted_at))
        handle(reader, entry)

    monkeypatch.setattr(LogReader, "_handle_entry", noting)
    return noted


@asynccontextmanager
async def two_in_a_room(relay: MemoryRelay) -> AsyncIterator[tuple[Client, Client, Room, Room]]:
    """Enter two clients that are in one room."""
    async with asyncio.timeout(SECONDS), relay.client("red") as red, relay.client("blue") as blue:
        room = await red.create_room("friends")
        invited, accepted = blue.stream(Invited), red.stream(InvitationAccepted)
        await room.invite("blue")
        await anext(invited)
        await blue.accept(room.id)
        await anext(accepted)
        yield red, blue, room, blue.room(room.id)


def ticking() -> Iterator[float]:
    """Yield times a second apart."""
    now = NOON
    while True:
        now += 1
        yield now


@pytest.mark.parametrize("versions", [VERSIONS, (5, 4)], ids=["6", "5"])
async def test_every_entry_is_handled_with_the_time_that_the_relay_accepted_it(
    handled: list[tuple[bytes, int, int]], versions: tuple[int, ...]
) -> None:
    ticks = ticking()
    async with MemoryRelay(clock=lambda: next(ticks), versions=versions) as relay:
        async with two_in_a_room(relay) as (red, blue, room, joined):
            heard = {red: red.stream(Message), blue: blue.stream(Message)}
            for number in range(3):
                await room.send(f"{number} by red")
                await anext(heard[blue])
                await joined.send(f"{number} by blue")
                await anext(heard[red])
        (log,) = relay.rooms.values()
        told = log.times if versions == VERSIONS else [0] * len(log.times)
        assert len(set(log.times)) == len(log.times) == len(log.entries) >= 8
        assert [at for _, seq, at in handled] == [told[seq - 1] for _, seq, _ in handled]
        assert len(handled) > len(log.entries)


async def test_the_time_is_forgotten_when_the_room_is_resumed(
    handled: list[tuple[bytes, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay(clock=lambda: NOON) as relay, two_in_a_room(relay) as (_, blue, room, _joined):
        heard, connected = blue.stream(Message), blue.stream(Connected)
        monkeypatch.setattr(memory_relay._Session, "send_timed", _without_time)
        await room.send("the last time holds on")
        await anext(heard)
        assert handled[-1][2] == NOON * 1000
        relay.disconnect_all()
        await anext(connected)
        await room.send("and not for another stream")
        await anext(heard)
        assert handled[-1][2] == 0


def _without_time(session: memory_relay._Session, _: int, message: Entry | Accepted) -> None:
    session.send(message)


@pytest.mark.parametrize(
    "stray", [lambda _: AcceptedAt(b"?" * 16, 5), lambda room: AcceptedAt(room, 5)], ids=["unknown", "known"]
)
async def test_a_time_out_of_turn_is_ignored(stray: Callable[[bytes], AcceptedAt]) -> None:
    async with MemoryRelay() as relay, two_in_a_room(relay) as (_, blue, room, _joined):
        heard = blue.stream(Message)
        session = relay.sessions[blue.sync.own_device]
        for _ in range(3):
            session.send(stray(room.id))
        await room.send("hello")
        assert (await anext(heard)).text == "hello"
        assert relay.sessions[blue.sync.own_device] is session, "it stays connected"


async def test_a_time_of_a_room_that_was_left_is_ignored() -> None:
    async with MemoryRelay() as relay, two_in_a_room(relay) as (_, blue, room, joined):
        session = relay.sessions[blue.sync.own_device]
        await joined.leave()
        await blue.sync.wait_for(lambda: room.id not in blue.sync.rooms)
        session.send(AcceptedAt(room.id, 5))
        session.send(Accepted(room.id, 5, 5))
        await blue.create_room("another")
        assert relay.sessions[blue.sync.own_device] is session, "it stays connected"
