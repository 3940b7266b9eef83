"""A client does nothing before it is entered, deletes nothing, and tells what became of its profile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import platformdirs
import pytest

from clave_client import (
    Client,
    Event,
    EventStream,
    Invited,
    Message,
    Notice,
    NotInRoom,
    PresenceChanged,
    Profile,
    ProfileError,
    ProfileNotFound,
    RelayUnreachable,
    Room,
    RoomUnreadable,
    UsageError,
    default_home,
)
from clave_client.rooms import stored_group
from clave_client.rooms.policy import restore_group
from clave_client.testing import MemoryRelay
from clave_crypto.mls import Group, GroupState

E = TypeVar("E", bound=Event)
SECONDS = 30.0


async def test_making_a_profile_and_a_client_touches_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    profile = Profile(home, "red")
    client = Client(profile, "chat.example.org")
    assert not home.exists()
    assert client.never_registered
    with pytest.raises(UsageError, match="enter the client first"):
        _ = client.rooms
    with pytest.raises(ProfileError, match="open the profile first"):
        client.open()
    await client.close()
    assert not home.exists()


async def test_a_new_profile_needs_a_relay_and_stays_for_its_owner_to_delete(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        client = Client(profile)
        with pytest.raises(ProfileNotFound, match="no profile red yet"):
            await client.connect()
        await client.close()
        assert client.never_registered
        assert profile.folder.exists()
        profile.discard()
        assert not profile.folder.exists()


async def test_a_registered_profile_is_of_use_whatever_fails_later(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        with Profile(tmp_path / "home", "red") as profile:
            async with Client(profile, relay.address, connect=relay.connect) as client:
                assert not client.never_registered
            assert not client.never_registered
        relay.is_reachable = False
        with Profile(tmp_path / "home", "red") as profile:
            client = Client(profile, connect=relay.connect)
            with pytest.raises(RelayUnreachable):
                await client.connect()
            await client.close()
            assert not client.never_registered


async def test_an_opened_client_reads_without_a_relay(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        with Profile(tmp_path / "home", "red") as profile:
            async with Client(profile, relay.address, connect=relay.connect) as client:
                room = await client.create_room("friends")
                await room.send("hello")
        with Profile(tmp_path / "home", "red") as profile:
            client = Client(profile)
            client.open()
            assert [line.text for line in client.room(room.id).history()] == ["hello"]
            assert client.relay.address == relay.address
            await client.close()
            with pytest.raises(UsageError, match="make another one"):
                await client.connect()


async def test_two_consumers_of_one_client_both_read_everything() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        first, second = blue.events(), blue.events()
        room = await red.create_room("friends")
        await room.invite("blue")
        invited = await _next(first, Invited)
        theirs = blue.room(invited.room)
        messages = theirs.messages()
        await theirs.accept()
        await room.send("hello")
        async with asyncio.timeout(SECONDS):
            assert (await anext(messages)).text == "hello"
        assert (await _next(first, Message)).text == "hello"
        assert await _next(second, Invited) == invited
        assert (await _next(second, Message)).text == "hello"
        await theirs.leave()
        assert [message async for message in messages] == []


async def test_leaving_the_client_ends_its_streams() -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            stream = red.events()
            reading = asyncio.create_task(_read_all(stream))
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS):
            await reading


async def test_handles_of_one_room_are_equal_and_an_unknown_room_is_an_error() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await red.create_room("friends")
        assert {room, red.room(room.id), red.room(room.id)} == {room}
        assert repr(room) == f"Room('friends', {room.id.hex()[:8]})"
        assert room.inviter is None
        with pytest.raises(NotInRoom):
            red.room(bytes(16))
        await room.set_title("old friends")
        await room.leave()
        assert room.title == "old friends"
        with pytest.raises(NotInRoom):
            Room(red, room.id, room.title).post("anybody?")


async def _next(stream: EventStream[Event], kind: type[E]) -> E:
    async with asyncio.timeout(SECONDS):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError("the stream ended")


async def _read_all(stream: EventStream[Event]) -> None:
    async for _ in stream:
        pass


async def test_a_room_whose_keys_are_damaged_is_dropped_at_its_first_entry(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        with Profile(tmp_path / "home", "blue") as profile:
            rooms = [await red.create_room(title) for title in ("friends", "family")]
            async with Client(profile, relay.address, connect=relay.connect) as blue:
                for room in rooms:
                    invited = blue.events()
                    await room.invite("blue")
                    await blue.accept((await _next(invited, Invited)).room)
        with Profile(tmp_path / "home", "blue") as profile:
            client = Client(profile, connect=relay.connect)
            client.open()
            store = client.sync.store
            epoch = store.part(rooms[0].id, "epoch")
            assert epoch is not None
            with store.transaction():
                store.put_part(rooms[0].id, "epoch", epoch[:-1])
            await client.close()
        with Profile(tmp_path / "home", "blue") as profile:
            for room in rooms:
                await room.send("hello")
            async with Client(profile, connect=relay.connect) as blue:
                notices, messages = blue.events(), blue.events()
                notice = await _next(notices, Notice)
                assert notice.text.startswith("friends cannot be opened")
                assert (await _next(messages, Message)).room == rooms[1].id
                assert blue.unusable == [notice.text]
                with pytest.raises(RoomUnreadable):
                    blue.room(rooms[0].id)


async def test_quiet_rooms_are_shown_and_resumed_without_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a member that comes and goes, and with events read, which compares everybody's keys."""
    async with MemoryRelay() as relay, relay.client("red") as red:
        with Profile(tmp_path / "home", "blue") as profile:
            async with Client(profile, relay.address, connect=relay.connect) as blue:
                for number in range(3):
                    room, invited = await blue.create_room(f"room {number}"), red.events()
                    await room.invite("red")
                    await red.accept((await _next(invited, Invited)).room)
        restored: list[GroupState] = []

        def restore(state: GroupState) -> Group:
            restored.append(state)
            return restore_group(state)

        monkeypatch.setattr(stored_group, "restore_group", restore)
        with Profile(tmp_path / "home", "blue") as profile:
            async with Client(profile, connect=relay.connect) as blue:
                events = blue.events()
                for room_id in blue.rooms:
                    await blue.wait_synced(room_id)
                await _next(events, PresenceChanged)
                assert restored == []
                await blue.send(room_id, "hello")
                assert len(restored) == 1


async def test_joiners_reach_who_reads_a_message_and_get_into_no_title() -> None:
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f468\u200d\U0001f469\u200d\U0001f467"
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        for title in text.split():
            with pytest.raises(UsageError, match="invisible characters"):
                await red.create_room(title)
        invitations, room = blue.events(), await red.create_room("friends")
        await room.invite("blue")
        theirs = blue.room((await _next(invitations, Invited)).room)
        messages = theirs.messages()
        await theirs.accept()
        await room.send(text + "a\u200db")
        async with asyncio.timeout(SECONDS):
            assert (await anext(messages)).text == text + "a<U+200D>b"
        with pytest.raises(UsageError, match="invisible characters"):
            await room.set_title(text)


async def test_who_is_invited_may_have_left_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay:
        with Profile(tmp_path, "red") as first, Profile(tmp_path, "blue") as second:
            red, blue = (Client(each, "chat.example.org", connect=relay.connect) for each in (first, second))
            async with red, blue:
                room = await red.create_room("friends")
                commit, invitations = red._commit, blue.stream(Invited)

                async def commit_and_wait(*words: object) -> bool:
                    done = await commit(*words)  # type: ignore[arg-type]  # passed on as they come
                    await anext(invitations)
                    await blue.accept(room.id)
                    await blue.leave(room.id)
                    await red.sync.wait_for(lambda: len(red.members(room.id)) == 1)
                    return done

                monkeypatch.setattr(red, "_commit", commit_and_wait)
                person = await red.invite(room.id, "blue")
                assert (person.name, person.account) == ("blue", blue.sync.account.verified.account)
                invitations.close()


def test_a_user_without_a_home_folder_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAVE_HOME", raising=False)

    def refuse(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_data_dir", refuse)
    with pytest.raises(UsageError, match="no home folder; say where profiles are with --home DIR"):
        default_home()
