"""Several devices of one account, with whole clients: their rooms, removal, what others see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import PeerError, RelayFault, RelayRefused, UsageError
from clave_client.store.own_devices import OwnDevice
from clave_client.testing import MemoryRelay
from clave_client.ui.display import event_line, plain
from clave_client.values import Phase
from clave_crypto.identity import AccountKey, DeviceKey
from clave_wire.messages import Code, RemoveDevice
from devicekit import add_device, device_at, devices_in, is_here, room_of, sees


def is_in(client: Client, room: bytes) -> Callable[[], bool]:
    return lambda: room in client.rooms and client.rooms[room].phase is Phase.JOINED


async def test_a_new_device_is_in_all_rooms_and_is_read(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        rooms = [await room_of(red, blue, title=title) for title in ("friends", "work")]
        added = await add_device(relay, red, tmp_path, "laptop")
        assert (added.name, added.is_primary, added.is_own) == ("laptop", False, False)
        async with device_at(relay, tmp_path, "red") as laptop:
            for room in rooms:
                await sees(laptop, is_in(laptop, room))
                await sees(laptop, lambda room=room: laptop.sync.rooms[room].may_send)  # type: ignore[misc]
                await laptop.room(room).send("from my laptop")
                await sees(blue, lambda room=room: bool(blue.history(room)))  # type: ignore[misc]
                (line,) = blue.history(room)
                assert blue.sender(line).name == "red"
                assert devices_in(blue, room) == {"red/main", "red/laptop", "blue/main"}
            assert laptop.invitations() == []


async def test_what_is_said_on_one_device_is_read_on_the_other(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, is_in(laptop, room))
            await red.room(room).send("a note")
            await sees(laptop, lambda: [line.text for line in laptop.history(room)] == ["a note"])


async def test_rooms_that_come_later_come_to_all_devices(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            own = await room_of(laptop, title="made on the laptop")
            await sees(red, is_in(red, own))
            theirs = await room_of(blue, title="of blue")
            await blue.invite(theirs, "red")
            await sees(blue, lambda: devices_in(blue, theirs) == {"red/main", "red/laptop", "blue/main"})
            for device in (red, laptop):  # somebody else's invitation is asked about
                await sees(device, lambda device=device: bool(device.invitations()))  # type: ignore[misc]
            link = (await red.create_room("by link")).id
            made = await red.make_link(link, seconds=3600, uses=1)
            await sees(laptop, is_in(laptop, link))
            async with relay.client("green") as green:
                await green.join_link(made.text)


async def test_a_device_that_was_away_finds_its_rooms_when_it_comes(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        rooms = [await room_of(red, title=f"room {number}") for number in range(5)]
        await sees(red, lambda: not red.rooms_to_settle)
        async with device_at(relay, tmp_path, "red") as laptop:
            told = laptop.stream(events.Notice)
            for room in rooms:
                await sees(laptop, is_in(laptop, room))
            notice = await anext(told)
            assert notice.text == "your other device brought you in: you are in 5 rooms now"


async def test_the_work_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            rooms = [await room_of(red, title=f"room {number}") for number in range(6)]
            await add_device(relay, red, tmp_path, "laptop")
            await sees(red, lambda: 0 < red.rooms_to_settle < 6)
        async with relay.client("red") as red:
            await sees(red, lambda: not red.rooms_to_settle)
            async with device_at(relay, tmp_path, "red") as laptop:
                for room in rooms:
                    await sees(laptop, is_in(laptop, room))


async def test_a_device_that_left_a_room_is_not_brought_back(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, is_in(laptop, room))
            await sees(laptop, lambda: laptop.sync.rooms[room].synced)
            await laptop.leave(room)
            await sees(red, lambda: devices_in(red, room) == {"red/main", "blue/main"})
            other = await room_of(red, title="another")
            await sees(laptop, is_in(laptop, other))
            assert devices_in(red, room) == {"red/main", "blue/main"}
            assert red.rooms_to_settle == 0


async def test_others_are_told_which_device_came_and_went(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        told = blue.stream(events.Event, room)
        await add_device(relay, red, tmp_path, "laptop")
        await sees(blue, lambda: "red/laptop" in devices_in(blue, room))
        await red.remove_device("laptop")
        await sees(blue, lambda: "red/laptop" not in devices_in(blue, room))
        said: list[str] = []
        while len(said) < 2:
            event = await anext(told)
            if isinstance(event, events.MemberAdded | events.MemberRemoved):
                line = event_line(event, lambda _: "", elsewhere=False, me=b"")
                assert line is not None
                said.append(plain(line).removeprefix("* "))
        assert said == [
            "red (unverified) added another device, laptop",
            "red (unverified) removed their device laptop",
        ]


async def test_a_removed_device_is_out_at_the_relay_and_in_every_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        rooms = [await room_of(red, blue, title=title) for title in ("friends", "work")]
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            for room in rooms:
                await sees(laptop, is_in(laptop, room))
            removed = await red.remove_device("laptop")
            assert removed.rooms == 2
            with pytest.raises(RelayRefused, match="your account removed this device"):
                await sees(laptop, lambda: False)
        for room in rooms:
            await sees(blue, lambda room=room: devices_in(blue, room) == {"red/main", "blue/main"})  # type: ignore[misc]
        with pytest.raises(RelayRefused) as refused:
            async with device_at(relay, tmp_path, "red"):
                pass
        assert refused.value.code is Code.DEVICE_REMOVED
        assert [each.name for each in await red.devices()] == ["main"]
        with pytest.raises(UsageError, match="no other device called laptop"):
            await red.remove_device("laptop")


async def test_a_device_is_removed_while_the_relay_is_away_and_refused_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            await add_device(relay, red, tmp_path, "laptop")
            known = red.sync.devices.known
            device = known.named("laptop")
            assert device is not None
            # As if the connection had been lost just before the relay was asked.
            known.add_revoked({device.device: red.sync.account.account_key().revoke(device.device)})
        assert not relay.directory.revoked
        async with relay.client("red") as red:
            await sees(red, lambda: bool(relay.directory.revoked))
            with pytest.raises(RelayRefused, match="your account removed this device"):
                async with device_at(relay, tmp_path, "red"):
                    pass


async def test_only_the_primary_device_adds_and_removes(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: "main" in laptop.sync.devices.primary_words())
            with pytest.raises(UsageError, match=r"^only your primary device adds devices: use main$"):
                await laptop.open_pairing()
            with pytest.raises(UsageError, match=r"^only your primary device removes devices: use main$"):
                await laptop.remove_device("main")
            with pytest.raises(UsageError, match=r"^only your primary device hands its role on: use main$"):
                await laptop.set_primary("main")
            assert laptop.sync.store.get("account_secret") in (None, b"")
            # What it signs itself, nobody takes.
            own, main = laptop.sync.account.device, red.sync.own_device
            forged = own.sign(b"clave 1 revoked device\0" + laptop.sync.account.verified.account + main)
            with pytest.raises(RelayRefused, match="the account did not revoke this device"):
                await laptop.sync.transport.request(lambda number: RemoveDevice(number, main, forged))
            red.sync.devices.known.add_revoked({main: forged})
            assert red.sync.devices.known.revoked() == {}


async def test_the_devices_are_listed(tmp_path: Path) -> None:
    async with MemoryRelay(clock=lambda: 1_800_000_000.0) as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, is_in(laptop, room))
            await sees(red, lambda: bool(red.sync.devices.siblings.online))
            await sees(laptop, lambda: bool(laptop.sync.devices.siblings.online))
            main, other = await red.devices()
            assert (main.name, main.is_own, main.is_primary, main.since) == ("main", True, True, 0)
            assert (other.name, other.is_own, other.is_primary) == ("laptop", False, False)
            assert (other.is_online, other.since, other.rooms) == (True, 1_800_000_000, 1)
            own, first = await laptop.devices()
            assert (own.name, own.is_primary, first.name, first.is_primary) == ("laptop", False, "main", True)
        await sees(red, lambda: not red.sync.online.get(room))
        assert not (await red.devices())[1].is_online


async def test_an_inviter_leaves_out_what_was_removed_though_the_relay_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path, "laptop")
        device = red.sync.devices.known.named("laptop")
        assert device is not None
        kept = relay.directory.devices[device.device].packages, relay.directory.devices[device.device]
        packages = {suite: list(waiting) for suite, waiting in kept[0].items()}
        await red.remove_device("laptop")
        relay.directory.devices[device.device].packages.update(packages)
        monkeypatch.setattr(relay.directory, "_live", lambda: [*relay.directory.devices.values()])
        room = (await blue.create_room("friends")).id
        told = blue.stream(events.Notice, room)
        await blue.invite(room, "red")
        assert devices_in(blue, room) == {"red/main", "blue/main"}
        text = "red's device laptop stays out: they have removed it, and the relay names it still"
        assert (await anext(told)).text.startswith(text)
        # Once seen, a revocation cannot be hidden any more.
        relay.directory.revoked.clear()
        second = (await blue.create_room("second")).id
        await blue.invite(second, "red")
        assert devices_in(blue, second) == {"red/main", "blue/main"}
        # Nor can one be invented.
        account = red.sync.account.verified.account
        relay.directory.revoked[account, red.sync.own_device] = bytes(64)
        third = (await blue.create_room("third")).id
        with pytest.raises(RelayFault, match="removed a device, without their signature"):
            await blue.invite(third, "red")
        relay.directory.revoked.clear()
        relay.directory.devices.pop(red.sync.own_device)
        with pytest.raises(PeerError, match="has removed all devices that the relay names"):
            await blue.invite(third, "red")


async def test_a_relay_that_forgets_a_removal_is_told_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            await add_device(relay, red, tmp_path, "laptop")
            await red.remove_device("laptop")
        relay.directory.revoked.clear()
        async with relay.client("red") as red:
            await sees(red, lambda: bool(relay.directory.revoked))
            assert [each.name for each in await red.devices()] == ["main"]


async def test_siblings_hear_of_a_removal_that_the_relay_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path / "1", "laptop")
        await add_device(relay, red, tmp_path / "2", "phone")
        async with device_at(relay, tmp_path / "2", "red") as phone:
            await sees(phone, lambda: phone.sync.devices.known.named("laptop") is not None)
            monkeypatch.setattr(relay.directory, "revocations", lambda _: [])
            await red.remove_device("laptop")
            await sees(phone, lambda: phone.sync.devices.known.named("laptop") is None)
            assert len(phone.sync.devices.known.revoked()) == 1


async def test_a_relay_without_version_7_has_one_device_an_account(tmp_path: Path) -> None:
    async with MemoryRelay(versions=(6, 5, 4)) as relay, relay.client("red") as red:
        with pytest.raises(RelayFault, match="this relay is too old for several devices"):
            await red.open_pairing()
        with pytest.raises(RelayFault, match="this relay is too old for several devices"):
            await red.remove_device("laptop")
        assert [each.name for each in await red.devices()] == ["main"]


async def test_key_packages_of_siblings_are_not_used_up(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await room_of(red)

        def held(device: Any) -> int:
            return sum(len(waiting) for waiting in relay.directory.devices[device].packages.values())

        before = held(red.sync.own_device)
        await add_device(relay, red, tmp_path, "laptop")
        await sees(red, lambda: not red.rooms_to_settle)
        assert held(red.sync.own_device) == before


async def test_a_device_that_comes_into_many_rooms_publishes_more_keys_meanwhile(tmp_path: Path) -> None:
    """So that the last resort, which several rooms would share, is kept for when it is away."""
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(red, is_here(red, laptop))
            device = relay.directory.devices[laptop.sync.own_device]
            least = []
            for number in range(30):
                room = await room_of(red, title=f"room {number}")
                await sees(laptop, is_in(laptop, room))
                least.append(min(len(waiting) for waiting in device.packages.values()))
            assert min(least) > 0


async def test_devices_that_the_account_did_not_certify_come_into_no_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path, "laptop")
        room = await room_of(red)
        await sees(red, lambda: not red.rooms_to_settle)
        (own,) = [each for each in relay.directory.devices.values() if each.key == blue.sync.own_device]
        names = own.name, own.account
        for identity in (own.identity, AccountKey.generate().certify("red", "spy", own.key), b"nonsense"):
            own.name, own.account, own.identity = "red", red.sync.account.verified.account, identity
            await red.sync.devices.siblings.refresh()
            assert own.key not in red.sync.devices.known.others()
            red.sync.devices.rooms.begin()
            await red.room(room).send("still alone")
            assert devices_in(red, room) == {"red/main", "red/laptop"}
        own.name, own.account = names


async def test_a_device_comes_into_rooms_only_once_it_is_registered(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await room_of(red)
        key = DeviceKey.generate().public
        identity = red.sync.account.account_key().certify("red", "laptop", key)
        red.sync.devices.known.put(OwnDevice(key, identity, is_paired=False))
        assert red.rooms_to_settle == 0
        red.sync.devices.known.put(OwnDevice(key, identity))
        assert red.rooms_to_settle == 1


async def test_who_was_removed_brings_nobody_into_a_room_unasked(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(red, is_here(red, laptop))
            device = laptop.sync.own_device
            red.sync.devices.known.add_revoked({device: red.sync.account.account_key().revoke(device)})
            room = (await laptop.create_room("a trap")).id
            await sees(red, lambda: room in {each.id for each in red.invitations()})
            assert red.rooms[room].phase is Phase.INVITED
