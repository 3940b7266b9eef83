"""The relay in memory treats a client as the real one does, and does what a test of a bot asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from clave_client import (
    Client,
    ClientError,
    Connected,
    Disconnected,
    Event,
    EventStream,
    InvitationAccepted,
    Invited,
    MemberLeft,
    MemberRemoved,
    Message,
    Profile,
    RelayInfo,
    RelayRefused,
    RelayUnreachable,
    RoomChanged,
    RoomClosed,
    SendFailed,
)
from clave_client.testing import MemoryRelay
from clave_wire.messages import Code
from scenarios.stage import relay_at

E = TypeVar("E", bound=Event)
MakeClient = Callable[[str], AbstractAsyncContextManager[Client]]
SECONDS = 30.0


async def sees(stream: EventStream[Event], kind: type[E]) -> E:
    """Return the next event of a kind."""
    async with asyncio.timeout(SECONDS):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError("the stream ended")


@asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[MakeClient]:
    async with MemoryRelay() as relay:
        yield relay.client


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[MakeClient]:
    async with relay_at(folder / "relay") as relay:

        @asynccontextmanager
        async def client(name: str) -> AsyncIterator[Client]:
            with Profile(folder / "home", name) as profile:
                async with Client(profile, relay.address) as client:
                    yield client

        yield client


@pytest.mark.parametrize("relay", [in_memory, real])
async def test_one_story_at_both_relays(
    tmp_path: Path, relay: Callable[[Path], AbstractAsyncContextManager[MakeClient]]
) -> None:
    async with (
        relay(tmp_path) as client,
        client("red") as red,
        client("blue") as blue,
        client("green") as green,
    ):
        seen = {each: each.events() for each in (red, blue, green)}
        room = await red.create_room("friends")
        assert room.title == "friends"
        for guest in (blue, green):
            assert (await room.invite(guest.name)).name == guest.name
            invited = await sees(seen[guest], Invited)
            (invitation,) = guest.invitations()
            assert invitation == guest.room(invited.room)
            assert invitation.inviter is not None
            await invitation.accept()
            assert (await sees(seen[red], InvitationAccepted)).person.name == guest.name
        at_blue, at_green = blue.room(room.id), green.room(room.id)

        assert await room.send("hello") < await room.send("again")
        for guest in (blue, green):
            assert [(await sees(seen[guest], Message)).text for _ in range(2)] == ["hello", "again"]
        await at_blue.send("hello yourself")
        assert (await sees(seen[red], Message)).sender.name == "blue"
        async with asyncio.timeout(SECONDS):
            while not all(member.is_online for member in room.members()):
                await anext(seen[red])
        assert {member.person.name for member in room.members() if member.is_admin} == {"red"}

        await room.set_title("old friends")
        assert (await sees(seen[blue], RoomChanged)).title == at_blue.title == "old friends"

        blue.sync.transport.abort()
        await sees(seen[blue], Disconnected)
        await room.send("while you were away")
        await sees(seen[blue], Connected)
        assert (await sees(seen[blue], Message)).text == "while you were away"

        await room.remove("green")
        closed = await sees(seen[green], RoomClosed)
        assert closed.by is not None
        assert closed.by.name == "red"
        assert (await sees(seen[blue], MemberRemoved)).person.name == "green"
        with pytest.raises(ClientError, match="not in that room"):
            at_green.members()
        await room.send("without green")
        assert (await sees(seen[blue], Message)).text == "without green"

        await at_blue.leave()
        assert (await sees(seen[red], MemberLeft)).person.name == "blue"
        await room.send("alone")
        assert [line.text for line in room.history()] == [
            *("hello", "again", "hello yourself", "while you were away", "without green", "alone")
        ]


async def test_an_invitation_waits_until_its_device_comes_and_can_be_declined() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        async with relay.client("blue"):
            pass
        room = await red.create_room("friends")
        await room.invite("blue")
        async with relay.client("blue") as blue:
            stream = blue.events()
            await sees(stream, Invited)
            (invitation,) = blue.invitations()
            await invitation.decline()
            assert blue.invitations() == []
        async with asyncio.timeout(SECONDS):
            await red.sync.wait_for(lambda: len(room.members()) == 1)


async def test_a_profile_comes_back_with_its_rooms_and_reads_what_it_missed() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await red.create_room("friends")
        async with relay.client("blue") as blue:
            await room.invite("blue")
            await sees(blue.events(), Invited)
            await blue.room(room.id).accept()
        await room.send("you there?")
        async with relay.client("blue") as blue:
            assert not blue.connected.registered
            messages = blue.room(room.id).messages()
            async with asyncio.timeout(SECONDS):
                assert (await anext(messages)).text == "you there?"


async def test_connections_can_be_broken_and_made_again() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        stream = red.events()
        await sees(stream, Connected)
        relay.disconnect_all()
        await sees(stream, Disconnected)
        await sees(stream, Connected)
        await red.create_room("friends")


async def test_a_relay_out_of_reach_is_an_error_of_the_first_connection() -> None:
    async with MemoryRelay() as relay:
        relay.is_reachable = False
        with pytest.raises(RelayUnreachable):
            async with relay.client("red"):
                pass


async def test_logins_and_requests_can_be_refused() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await red.create_room("friends")
        relay.refuse(Code.LIMIT)
        with pytest.raises(RelayRefused) as refused:
            await red.create_room("more friends")
        assert refused.value.code is Code.LIMIT
        stream = room.events()
        message = room.post("too much")
        assert (await sees(stream, SendFailed)).id == message
        relay.refuse(Code.BANNED)
        with pytest.raises(RelayRefused, match="refused by a test"):
            async with relay.client("blue"):
                pass
        relay.refuse(None)
        await room.send("hello")


async def test_a_name_that_is_taken_or_looks_like_another_is_refused(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue"):
        for name, code in (("BLUE", Code.NAME_TAKEN), ("b1ue", Code.NAME_CONFUSABLE)):
            with Profile(tmp_path / "home", name) as profile:
                client = Client(profile, relay.address, connect=relay.connect)
                with pytest.raises(RelayRefused) as refused:
                    await client.connect()
                assert refused.value.code is code
                assert client.never_registered
                await client.close()
                assert client.never_registered
                assert profile.has_store, "the library deletes nothing"


async def test_a_client_says_where_its_relay_is() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        assert red.relay == RelayInfo(relay.address, red.connected.fingerprint)
