"""Which devices of an account its other devices add to rooms and remove there, also against each other."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import PeerError
from clave_client.formats.sibling_message import Status, open_message, sign_message
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.profile import Profile
from clave_client.sync import sibling_rooms
from clave_client.testing import MemoryRelay
from clave_client.testing.refusals import Refusal
from clave_client.ui.device_text import device_lines
from clave_client.values import Phase
from clave_crypto.identity import DeviceKey
from clave_crypto.mls import Proposal, Remove
from clave_wire.messages import Code
from devicekit import SECONDS, add_device, device_at, devices_in, is_here, room_of, sees

_Event = TypeVar("_Event")


def is_in(client: Client, room: bytes) -> Callable[[], bool]:
    return lambda: room in client.rooms and client.rooms[room].phase is Phase.JOINED


def is_synced(client: Client, room: bytes) -> Callable[[], bool]:
    return lambda: is_in(client, room)() and client.sync.rooms[room].synced


def removal_of(device: bytes) -> Callable[[LocalRoom], Sequence[Proposal]]:
    """Return what proposes to remove a device from a room."""

    def propose(room: LocalRoom) -> list[Remove]:
        members = room.roster.members().items()
        return [Remove(leaf) for leaf, member in members if member.signature_key == device]

    return propose


async def soon(told: AsyncIterator[_Event]) -> _Event:
    """Return the next event of a stream, which has to come."""
    async with asyncio.timeout(SECONDS):
        return await anext(told)


def key_of(client: Client, name: str) -> bytes:
    """Return the key of another device of a client's account."""
    found = client.sync.devices.known.named(name)
    assert found is not None
    return found.device


async def finish_checks(client: Client) -> None:
    """Have a client do now what is to be done in its rooms, and check that nothing is left."""
    rooms = client.sync.devices.rooms
    rooms._postponed.clear()
    for room in list(client.sync.rooms):
        assert await rooms._settle(room)
    assert client.rooms_to_settle == 0


# --- who is not added again ---


async def test_a_removal_read_in_the_log_is_not_undone_though_the_relay_hides_the_revocation(
    tmp_path: Path,
) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with relay.client("red") as red:
            room = await room_of(red, blue)
            await add_device(relay, red, tmp_path / "1", "laptop")
            await add_device(relay, red, tmp_path / "2", "phone")
            async with device_at(relay, tmp_path / "2", "red") as phone:
                await sees(phone, is_synced(phone, room))
                laptop = key_of(phone, "laptop")
            held = relay.directory.devices[laptop]
            packages = {suite: list(waiting) for suite, waiting in held.packages.items()}
            last_resorts = dict(held.last_resorts)
            await red.remove_device("laptop")
            await sees(blue, lambda: "red/laptop" not in devices_in(blue, room))
        relay.directory.revoked.clear()
        held.packages.update(packages)
        held.last_resorts.update(last_resorts)
        async with device_at(relay, tmp_path / "2", "red") as phone:
            await sees(phone, is_synced(phone, room))
            assert laptop in phone.sync.devices.known.others()
            await finish_checks(phone)
            assert devices_in(blue, room) == {"red/main", "red/phone", "blue/main"}


async def test_devices_that_remove_each_other_do_not_commit_without_end(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path / "1", "laptop")
        await add_device(relay, red, tmp_path / "2", "phone")
        phone = key_of(red, "phone")
        async with device_at(relay, tmp_path / "1", "red") as stolen:
            await sees(stolen, is_synced(stolen, room))
            await sees(stolen, lambda: "red/phone" in devices_in(stolen, room))
            await stolen.sync.commit(room, removal_of(phone))
            await sees(red, lambda: "red/phone" not in devices_in(red, room))
            await finish_checks(red)
            # Others can add it again; it is not added after another removal either.
            await blue.invite(room, "red")
            await sees(stolen, lambda: "red/phone" in devices_in(stolen, room))
            await stolen.sync.commit(room, removal_of(phone))
            await sees(red, lambda: "red/phone" not in devices_in(red, room))
            await finish_checks(red)
            assert devices_in(red, room) == {"red/main", "red/laptop", "blue/main"}


async def test_a_device_that_was_removed_is_added_to_the_room_that_others_invite_to_anew(
    tmp_path: Path,
) -> None:
    """What is noted of a room ends with the membership."""
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(blue, red)
        await add_device(relay, red, tmp_path, "laptop")
        await sees(blue, lambda: "red/laptop" in devices_in(blue, room))
        await blue.remove(room, "red")
        await sees(red, lambda: room not in red.rooms or red.rooms[room].phase is Phase.CLOSED)
        held = relay.directory.devices[key_of(red, "laptop")]
        kept = dict(held.packages), dict(held.last_resorts)
        held.packages.clear()
        held.last_resorts.clear()
        await blue.invite(room, "red")
        await sees(red, lambda: room in {each.id for each in red.invitations()})
        held.packages.update(kept[0])
        held.last_resorts.update(kept[1])
        await red.accept(room)
        await sees(blue, lambda: "red/laptop" in devices_in(blue, room))


async def test_a_new_device_does_not_bring_back_who_left_before(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, is_synced(laptop, room))
            await laptop.leave(room)
            await sees(red, lambda: devices_in(red, room) == {"red/main", "blue/main"})
        await add_device(relay, red, tmp_path / "2", "phone")
        async with device_at(relay, tmp_path / "2", "red") as phone:
            await sees(phone, is_synced(phone, room))
            assert {each.name for each in await phone.devices()} == {"main", "laptop", "phone"}
            await finish_checks(phone)
            # A device that is paired later is brought in by it.
            await add_device(relay, red, tmp_path / "3", "tablet")
            await sees(blue, lambda: "red/tablet" in devices_in(blue, room))
        assert devices_in(blue, room) == {"red/main", "red/phone", "red/tablet", "blue/main"}


# --- rooms that cannot be changed ---


@pytest.mark.parametrize("answers", [False, True])
async def test_a_room_that_cannot_be_read_does_not_keep_a_removed_device_in_the_others(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with relay.client("red") as red:
            rooms = [await room_of(red, blue, title=str(number)) for number in range(3)]
            await add_device(relay, red, tmp_path, "laptop")
            await sees(red, lambda: not red.rooms_to_settle)
            stuck = next(iter(red.sync.rooms))
        monkeypatch.setattr(sibling_rooms, "_AGAIN_SECONDS", 0.1)
        with monkeypatch.context() as fault:
            honest, own = relay.open_stream, red.sync.own_device

            def open_stream(session: Any, device: Any, request: Any) -> None:
                if request.room != stuck or device.key != own:
                    honest(session, device, request)
                elif answers:
                    raise Refusal(Code.STORAGE, "damaged on disk")

            fault.setattr(relay, "open_stream", open_stream)
            async with relay.client("red") as red:
                await red.remove_device("laptop")
                for room in rooms:
                    if room != stuck:
                        await sees(blue, lambda room=room: "red/laptop" not in devices_in(blue, room))  # type: ignore[misc]
                await sees(red, lambda: red.rooms_to_settle == 1)
        async with relay.client("red") as red:
            await sees(blue, lambda: "red/laptop" not in devices_in(blue, stuck))


# --- a primary device that knows less than there is ---


async def test_a_primary_that_is_older_than_its_devices_learns_of_them(tmp_path: Path) -> None:
    home = tmp_path / "main"
    async with MemoryRelay() as relay:
        with Profile(home, "red") as profile:
            async with Client(profile, relay.address, clock=relay.clock, connect=relay.connect):
                pass
        shutil.copytree(home, tmp_path / "backup")
        async with device_at(relay, home, "red") as red:
            await add_device(relay, red, tmp_path / "1", "laptop")
            await add_device(relay, red, tmp_path / "2", "phone")
            await red.remove_device("laptop")
        async with device_at(relay, tmp_path / "backup", "red") as red:
            await sees(red, lambda: red.sync.devices.known.named("phone") is not None)
            assert len(red.sync.devices.known.revoked()) == 1
            room = await room_of(red)
            await sees(red, lambda: devices_in(red, room) == {"red/main", "red/phone"})


async def test_a_relay_that_answers_wrongly_about_devices_keeps_nobody_from_talking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with relay.client("red") as red:
            room = await room_of(red, blue)

        def refuse(_: str) -> None:
            raise Refusal(Code.STORAGE, "damaged on disk")

        monkeypatch.setattr(relay.directory, "revocations", refuse)
        async with relay.client("red") as red:
            told = red.stream(events.Notice)
            assert (await soon(told)).text.startswith("the relay does not say which devices you have: ")
            assert red.sync.devices.siblings.is_asked
            await red.room(room).send("hello")
            await sees(blue, lambda: [line.text for line in blue.history(room)] == ["hello"])


# --- invitations by own devices ---


async def test_who_is_removed_while_this_device_is_away_brings_it_into_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path / "1", "laptop")
        await add_device(relay, red, tmp_path / "2", "phone")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, lambda: laptop.sync.devices.known.named("phone") is not None)
            room = (await laptop.create_room("a trap")).id
            await sees(laptop, lambda: "red/phone" in devices_in(laptop, room))
        await red.remove_device("laptop")
        async with device_at(relay, tmp_path / "2", "red") as phone:
            await sees(phone, lambda: room in phone.rooms)
            await sees(phone, lambda: phone.sync.devices.siblings.is_asked)
            assert len(phone.sync.devices.known.revoked()) == 1
            assert phone.rooms[room].phase is Phase.INVITED


async def test_an_invitation_by_an_unknown_device_of_the_account_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(red, is_here(red, laptop))
            monkeypatch.setattr(red.sync.devices.known, "others", dict)
            room = (await laptop.create_room("of one that is hidden")).id
            told = red.stream(events.Invited)
            assert (await soon(told)).room == room
            assert red.rooms[room].phase is Phase.INVITED
            monkeypatch.undo()
            red.sync.devices.rooms.begin()
            await sees(red, is_in(red, room))


# --- key packages that cannot be used ---


def spoil_packages(relay: MemoryRelay, device: bytes) -> None:
    """Have a device publish key packages that are none."""
    held = relay.directory.devices[device]
    for suite in {*held.packages, *held.last_resorts}:
        held.packages[suite] = []
        held.last_resorts[suite] = b"junk"


async def test_a_device_that_publishes_junk_keeps_only_itself_out(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path / "1", "laptop")
        await add_device(relay, red, tmp_path / "2", "phone")
        spoil_packages(relay, key_of(red, "laptop"))
        told = red.stream(events.Notice)
        own = (await red.create_room("of red")).id
        await sees(red, lambda: devices_in(red, own) == {"red/main", "red/phone"})
        red.sync.devices.rooms.begin()  # as it is tried again, with the one that is left
        refused = "the key package of red is refused"
        while refused not in (await soon(told)).text:
            pass
        theirs = (await blue.create_room("of blue")).id
        told = blue.stream(events.Notice, theirs)
        await blue.invite(theirs, "red")
        assert devices_in(blue, theirs) == {"red/main", "red/phone", "blue/main"}
        assert (await soon(told)).text.startswith(f"red's device laptop stays out: {refused}")
        for device in (red.sync.own_device, key_of(red, "phone")):
            spoil_packages(relay, device)
        third = (await blue.create_room("third")).id
        with pytest.raises(PeerError, match=refused):
            await blue.invite(third, "red")


# --- what a device says of itself ---


@pytest.mark.parametrize(("since", "at"), [(-1, 1), (2**33, 1), (10**18, 1), (1, 1000 * 2**33)])
def test_a_time_that_cannot_be_is_not_taken_from_another_device(since: int, at: int) -> None:
    sender, receiver = DeviceKey.generate(), DeviceKey.generate().public
    data = sign_message(Status(False, since, False, []), sender, receiver, at)
    with pytest.raises(PeerError):
        open_message(data, sender.public, receiver)


async def test_a_stored_time_that_cannot_be_is_not_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        red.sync.devices.known.note_since(10**18)
        lines = device_lines(await red.devices())
        assert [line.split()[0] for line in lines] == ["main", "laptop"]
        assert "since" not in lines[0]


async def test_a_later_device_knows_by_what_is_said_that_both_joined_a_direct_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = (await red.open_direct("blue")).id
        await sees(blue, lambda: room in blue.rooms)
        await blue.accept(room)
        await blue.room(room).send("one")
        await sees(red, lambda: red.sync.rooms[room].is_joint)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: room in laptop.rooms and laptop.sync.rooms[room].synced)
            assert not laptop.sync.rooms[room].is_joint
            await blue.room(room).send("two")
            await sees(laptop, lambda: laptop.sync.rooms[room].is_joint)
