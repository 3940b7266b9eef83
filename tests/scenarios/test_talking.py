"""Stories of people who talk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_client import events
from clave_wire.messages import Invitation
from scenarios.stage import agree, gather_in, people_at, relay_at


async def test_three_people_talk_through_a_real_relay(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue, green)
        for person, text in ((red, "hello"), (blue, "hi"), (green, "good day"), (red, "two\nlines")):
            await person.client.send(room, text)
            for other in (red, blue, green):
                if other is not person:
                    message = await other.reads(text)
                    assert message.sender.name == person.name
        said = ["hello", "hi", "good day", "two\nlines"]
        assert red.texts(room) == blue.texts(room) == green.texts(room) == said
        assert red.shown() == ["hi", "good day"], "nobody is shown what they said themselves"


async def test_many_messages_at_once_come_in_one_order_for_all(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay", "--mirror", "off") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        texts = {person: [f"{person.name} {number}" for number in range(100)] for person in (red, blue)}
        await asyncio.gather(*(p.client.send(room, text) for p in (red, blue) for text in texts[p]))
        await red.reads("blue 99")
        await blue.reads("red 99")
        assert red.texts(room) == blue.texts(room)
        for person in (red, blue):
            assert [t for t in red.texts(room) if t.startswith(person.name)] == texts[person]


async def test_somebody_offline_catches_up_in_order(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await blue.go()
        away = await red.sees(events.PresenceChanged, lambda presence: not presence.online)
        assert (away.name, away.reason) == ("blue", "left")
        texts = [f"while you were away {number}" for number in range(50)]
        for text in texts:
            await red.client.send(room, text)
        await blue.come()
        await blue.reads(texts[-1])
        assert blue.shown() == texts
        await blue.client.send(room, "back")
        await red.reads("back")


async def test_an_invitation_waits_and_can_be_declined(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        await blue.go()
        await red.client.invite(room, "blue")
        await blue.come()
        invited = await blue.sees(events.Invited)
        assert (invited.title, invited.inviter.name, invited.room) == ("friends", "red", room)
        await blue.client.decline(room)
        await red.sees(events.MemberLeft)
        session = red.client.sync
        await session.wait_for(lambda: len(session.rooms[room].group.members()) == 1)
        assert room not in blue.client.rooms
        await red.client.send(room, "alone again")


async def test_leaving_rekeys_and_the_others_talk_on(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue, green)
        before = red.authenticator(room)[0]
        await blue.client.leave(room)
        await blue.sees(events.RoomClosed)
        for other in (red, green):
            left = await other.sees(events.MemberLeft)
            assert left.person.name == "blue"
        await red.client.send(room, "blue is gone")
        await green.reads("blue is gone")
        await agree(room, red, green)
        assert red.authenticator(room)[0] == before + 1, "exactly one of the others committed the removal"
        assert "blue is gone" not in blue.texts(room)


@pytest.mark.parametrize("rounds", [3])
async def test_two_people_change_the_room_at_once(tmp_path: Path, rounds: int) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green", "black") as (red, blue, green, black),
    ):
        room = await gather_in("friends", red, blue)
        for number in range(rounds):
            before = red.authenticator(room)[0]
            await asyncio.gather(
                red.client.set_title(room, f"title {number}"),
                blue.client.invite(room, ("green", "black")[number % 2]),
                red.client.send(room, f"meanwhile {number}"),
            )
            await agree(room, red, blue)
            assert red.authenticator(room)[0] == before + 2
            await blue.reads(f"meanwhile {number}")
            assert blue.client.rooms[room].title == f"title {number}"
            await red.client.remove(room, ("green", "black")[number % 2])
            await agree(room, red, blue)
        assert not any(isinstance(event, events.Notice) for event in red.happened + blue.happened)
        assert (green.name, black.name) == ("green", "black")


async def test_a_welcome_of_the_relays_own_making_leaves_a_room_as_it_is(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        before = blue.authenticator(room)
        for claimed in (room, b"x" * 16):
            forged = Invitation(99, claimed, 7, b"s" * 32, b"no welcome at all")
            blue.client.sync.connection.receive([forged])
        assert blue.authenticator(room) == before
        await red.client.send(room, "still here")
        await blue.reads("still here")
        await red.client.remove(room, "blue")
        await blue.sees(events.RoomClosed)
        await red.client.invite(room, "blue")
        invited = await blue.sees(events.Invited)
        assert invited.room == room
        await blue.client.accept(room)
        await blue.client.send(room, "here again")
        await red.reads("here again")
