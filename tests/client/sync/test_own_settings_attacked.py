"""Settings of an account's devices against faults: other keys, backups, clocks, refusals, full disks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import StoreFull
from clave_client.rooms.restoring import mark_restored
from clave_client.store.profile import Profile
from clave_client.sync import own_settings
from clave_client.testing import MemoryRelay
from clave_wire.messages import Code, Rejected
from devicekit import add_device, device_at, room_of, sees
from settingskit import KEY, has_notes, notes, share_at_once, told_at_either


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    share_at_once(monkeypatch)


async def pinned_otherwise(relay: MemoryRelay, home: Path) -> None:
    """Have an own device, which is not connected, pin blue to another key, as a lying relay had it."""
    with Profile(home, "red") as profile:
        offline = Client(profile, clock=relay.clock, connect=relay.connect)
        offline.open()
        offline.sync.store.add_pin("blue", KEY)
        await offline.close()


async def test_a_new_device_gets_the_verified_key_and_not_one_that_was_refused(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue"):
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, has_notes(laptop))
        found = await red.fingerprint("blue")
        await red.verify("blue")
        await pinned_otherwise(relay, tmp_path / "1")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, lambda: laptop.sync.store.pins("blue") == [("blue", found.account)])
        await add_device(relay, red, tmp_path / "2", "phone")
        async with device_at(relay, tmp_path / "2", "red") as phone:
            await sees(phone, lambda: bool(phone.sync.store.pins("blue")))
            assert phone.sync.store.pins("blue") == red.sync.store.pins("blue") == [("blue", found.account)]


async def test_a_decision_for_the_key_that_was_right_here_is_followed(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue"):
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
        await pinned_otherwise(relay, tmp_path)
        found = await red.fingerprint("blue")
        async with device_at(relay, tmp_path, "red") as laptop:
            await told_at_either("knows blue by another key", red, laptop)
            red.repin("blue", found.account)
            await sees(laptop, lambda: laptop.sync.store.pins("blue") == [("blue", found.account)])


@pytest.mark.parametrize("attempt", range(4))  # which of two rooms has the lower id is left to chance
async def test_a_profile_restored_from_before_it_had_devices_shares_again_and_revives_nothing(
    attempt: int, tmp_path: Path
) -> None:
    here, there, laptops = (tmp_path / each for each in ("main", "backup", "laptop"))
    async with MemoryRelay() as relay:
        with Profile(here, "red") as profile:
            red = Client(profile, relay.address, clock=relay.clock, connect=relay.connect)
            async with red, relay.client("blue") as blue:
                room = await room_of(red, blue)
                red.block("blue")
                red.set_draft(room, "old")
        shutil.copytree(here, there)
        async with device_at(relay, here, "red") as red:
            await add_device(relay, red, laptops, "laptop")
            async with device_at(relay, laptops, "red") as laptop:
                await sees(laptop, lambda: laptop.draft(room) == "old" and bool(laptop.blocked()))
                laptop.unblock("blue")
                laptop.set_draft(room, "new")
                await sees(red, lambda: red.draft(room) == "new" and not red.blocked())
        with Profile(there, "red") as profile:
            restored = Client(profile, clock=relay.clock, connect=relay.connect)
            restored.open()
            mark_restored(restored.sync.store, relay.clock)
            await restored.close()
        async with device_at(relay, there, "red") as red, device_at(relay, laptops, "red") as laptop:
            await sees(red, lambda: red.draft(room) == "new" and not red.blocked())
            assert (laptop.draft(room), laptop.blocked()) == ("new", [])
            red.set_draft(room, "newest")
            await sees(laptop, lambda: laptop.draft(room) == "newest")


async def test_what_was_changed_offline_is_as_old_as_it_is(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    async with MemoryRelay(clock=lambda: now) as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
        with Profile(tmp_path, "red") as profile:
            offline = Client(profile, clock=relay.clock, connect=relay.connect)
            offline.open()
            offline.set_draft(room, "on monday, in a train")
            await offline.close()
        now += 3 * 86_400
        red.set_draft(room, "on thursday")
        red.sync.devices.settings._look()
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: laptop.draft(room) == "on thursday")
        assert red.draft(room) == "on thursday"


async def test_devices_that_have_nothing_to_say_come_to_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            monkeypatch.setattr(own_settings, "_GATHER_SECONDS", 1000.0)
            for each in (red, laptop):
                sharing = each.sync.devices.settings
                await sees(each, lambda each=each: not each.sync.rooms[notes(each)].outbox)  # type: ignore[misc]
                sharing._look()
                sharing._is_due = False
                sharing._look()
                assert not sharing._is_due, "it would look again only because of its own look"


async def test_settings_that_the_relay_refuses_are_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            await sees(red, lambda: not red.sync.rooms[notes(red)].outbox)
            failed = red.stream(events.SendFailed)
            red.set_draft(room, "a thought")
            red.sync.devices.settings._look()
            here = red.sync.rooms[notes(red)]
            number = next(iter(here.in_flight))
            red.sync._read(here.id, [Rejected(here.id, number, Code.LIMIT, "your account is full")])
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: laptop.draft(room) == "a thought")
        red.sync.events.end()
        assert [each.text async for each in failed] == []


async def test_what_cannot_be_applied_as_a_whole_is_not_applied_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            red.set_draft(room, "first")
            await sees(laptop, lambda: laptop.draft(room) == "first")
            with monkeypatch.context() as fault:
                fault.setattr(laptop.sync.devices.settings._known, "note_applied", _fail)
                red.set_draft(room, "second")
                await sees(laptop, lambda: bool(laptop.sync.devices.settings._known.unapplied()))
                with pytest.raises(StoreFull):
                    laptop.sync.devices.settings._look()
                assert laptop.draft(room) == "first"
            laptop.sync.devices.settings._look()
            assert laptop.draft(room) == "second"


def _fail(*_: object) -> None:
    raise StoreFull("the profile's disk is full; free some space, nothing is lost")


async def test_a_client_closes_though_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            monkeypatch.setattr(laptop.sync.devices.settings._known, "note_changes", _fail)
        assert laptop.sync.store.is_closed


async def test_a_device_that_leaves_the_own_room_is_brought_back(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            own = notes(laptop)
            await laptop.room(own).leave()
            await sees(laptop, lambda: own in laptop.sync.rooms and has_notes(laptop)())
            red.set_draft(room, "a thought")
            await sees(laptop, lambda: laptop.draft(room) == "a thought")
