"""Stories of a device that was away for longer than its relay keeps a room's entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import RoomBehind, UsageError
from clave_client.events import Notice
from clave_client.values import Phase
from clave_server.rooms.entry_store import drop_segments
from clave_server.storage.db_thread import in_transaction
from clave_server.storage.schema import connect_writer
from scenarios.stage import Relay, Somebody, agree, gather_in, people_at, relay_at
from scenarios.terminal import terminal


async def prune(relay: Relay, room: bytes, kept_from: int) -> None:
    """Stop the relay, forget the entries of a room below `kept_from`, and start it again."""
    await relay.stop()
    database = connect_writer(relay.data / "relay.db")
    in_transaction(database, lambda writing: drop_segments(writing, room, kept_from - 1))
    database.close()
    await relay.start()


async def say(somebody: Somebody, room: bytes, *texts: str) -> int:
    """Say each and return the seq of the last."""
    seq = 0
    for text in texts:
        seq = await somebody.client.send(room, text)
    return seq


def notices(somebody: Somebody, words: str) -> list[str]:
    return [event.text for event in somebody.happened if isinstance(event, Notice) and words in event.text]


async def left_behind(relay: Relay, red: Somebody, blue: Somebody) -> bytes:
    """Have blue fall behind in a room with red; blue has not come back yet."""
    room = await gather_in("friends", red, blue)
    await say(red, room, "before")
    await blue.reads("before")
    await blue.go()
    last = await say(red, room, *(f"while blue is away {number}" for number in range(5)))
    await prune(relay, room, last)
    await red.sees(events.Connected)
    return room


async def test_who_fell_behind_is_told_once_and_comes_back_by_invitation(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await left_behind(relay, red, blue)
        await blue.come()
        notice = await blue.sees(events.Notice)
        cursor = blue.client.history(room)[-1].seq
        assert f"of friends, from entry {cursor + 1} on" in notice.text
        assert "ask an admin to remove you from the room and to invite you again" in notice.text
        assert room not in blue.client.rooms
        assert blue.texts(room) == ["before"], "what was read stays"
        with pytest.raises(RoomBehind):
            blue.client.post(room, "hello?")
        with pytest.raises(RoomBehind):
            blue.client.find_room("friends")

        await blue.go()
        await blue.come()
        assert blue.client.unusable == [notice.text], "a restart knows it still"
        assert not blue.client.sync.resumes.is_waiting, "and does not try again"

        await red.client.remove(room, "blue")
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        assert blue.client.unusable == []
        await agree(room, red, blue)
        await say(blue, room, "back again")
        await red.reads("back again")
        await say(red, room, "welcome")
        await blue.reads("welcome")
        assert blue.texts(room) == ["before", "back again", "welcome"]
        await blue.go()
        await blue.come()
        await say(red, room, "and it lasts")
        await blue.reads("and it lasts")


async def test_an_invitation_that_came_meanwhile_is_taken_at_once(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await left_behind(relay, red, blue)
        await red.client.remove(room, "blue")
        await red.client.invite(room, "blue")
        await blue.come()
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        await say(red, room, "welcome")
        await blue.reads("welcome")


async def test_what_waited_to_be_sent_is_said_to_be_lost(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await relay.kill()
        await blue.sees(events.Disconnected)
        message = blue.client.post(room, "into the void")
        await blue.crash()
        await relay.start()
        last = await say(red, room, *"abcde")
        await prune(relay, room, last)
        await blue.come()
        failed = await blue.sees(events.SendFailed)
        assert (failed.id, failed.reason) == (message, "this device fell behind in friends")


async def test_who_is_within_what_is_kept_notices_nothing(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        seq = await say(red, room, "before")
        await blue.reads("before")
        await blue.go()
        await say(red, room, "missed")
        await prune(relay, room, seq + 1)
        await blue.come()
        await blue.reads("missed")
        assert notices(blue, "no longer keeps") == []


async def test_an_invitation_that_lay_too_long_is_no_way_in(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        last = await say(red, room, *"abcde")
        await prune(relay, room, last)
        await blue.sees(events.Connected)
        with pytest.raises(RoomBehind, match="ask an admin"):
            await blue.client.accept(room)


async def test_a_room_one_fell_behind_in_can_be_left(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        last = await say(red, room, *"abcde")
        await prune(relay, room, last)
        await blue.sees(events.Connected)
        await blue.client.decline(room)
        record = blue.client.sync.store.room(room)
        assert record is not None
        assert record.phase is Phase.CLOSED
        with pytest.raises(UsageError):
            blue.client.find_room("friends")


async def test_a_person_reads_it_on_one_screen(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        await left_behind(relay, red, blue)
        words = ("-m", "clave_client", "chat", "--name", "blue")
        async with terminal(*words, CLAVE_HOME=str(tmp_path / "home")) as screen:
            await screen.shows("no longer keeps what this device has not read of friends")
