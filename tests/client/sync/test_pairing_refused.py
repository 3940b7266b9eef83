"""Pairings that meet: two codes at once, lost answers, and a new device that gives up; no ghost is left."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.device_joining import DeviceJoin, JoinedAccount, _Channel
from clave_client.errors import (
    ProfileError,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
    UsageError,
    WrongPassphrase,
)
from clave_client.formats.pairing import Finished, PairingMessage
from clave_client.net.pairing_code import PairingCode
from clave_client.store.own_devices import OwnDevice
from clave_client.store.profile import Profile
from clave_client.sync.pairing import Pairing
from clave_client.testing import MemoryRelay
from clave_client.ui import device_work
from clave_client.values import Phase
from clave_crypto.identity import DeviceKey
from devicekit import SECONDS, Newcomer, add_device, device_at, devices_in, room_of, sees


async def test_a_yes_for_one_pairing_certifies_no_other(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        first = await red.open_pairing()
        laptop = Newcomer(relay, tmp_path / "1", first.code, "laptop")
        offer = await red.pairing_offer(first.pairing)
        assert (offer.pairing, offer.words) == (first.pairing, await laptop.shown())
        second = await red.open_pairing()
        spy = Newcomer(relay, tmp_path / "2", second.code, "spy")
        await red.pairing_offer(second.pairing)
        for same in (True, False):
            with pytest.raises(UsageError, match="that pairing is over: another code was made"):
                await red.finish_pairing(first.pairing, same=same)
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.pairing_offer(first.pairing)
        assert not red.sync.devices.known.others()
        await red.stop_pairing(first.pairing)  # as Ctrl-C in the first window does
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.stop_pairing("0" * 32)
        added = await red.finish_pairing(second.pairing, same=True)
        assert added is not None
        assert added.name == "spy"
        await spy.task
        await red.stop_pairing(second.pairing)
        assert red.sync.devices.known.named("spy") is not None
        with pytest.raises(UsageError, match="another code was made"):
            await laptop.task


async def test_two_codes_at_the_same_time_leave_one_that_works(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await red.open_pairing()
        first, second = await asyncio.gather(red.open_pairing(), red.open_pairing())
        assert len(relay.devices.pairings) == 1
        with pytest.raises(UsageError, match="that pairing is over"):
            await red.pairing_offer(first.pairing)
        newcomer = Newcomer(relay, tmp_path, second.code, "laptop")
        await red.pairing_offer(second.pairing)
        assert await red.finish_pairing(second.pairing, same=True) is not None
        await newcomer.task


async def test_what_was_typed_before_the_question_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = pty.openpty()
    try:
        with os.fdopen(terminal, closefd=False) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            os.write(keyboard, b"yes\n")
            asking = asyncio.create_task(device_work._confirmed("same?"))
            await asyncio.sleep(0)  # it asks now
            os.write(keyboard, b"no\n")
            async with asyncio.timeout(SECONDS):
                assert not await asking
    finally:
        os.close(keyboard)
        os.close(terminal)


async def check_is_a_device(relay: MemoryRelay, red: Client, home: Path, room: bytes) -> None:
    """Check that both the primary and the new machine count the laptop as a device, which is in the room."""
    assert not Profile(home, "red").is_unpaired
    assert [each.name for each in await red.devices()] == ["main", "laptop"]
    async with device_at(relay, home, "red") as laptop:
        await sees(laptop, lambda: room in laptop.rooms and laptop.rooms[room].phase is Phase.JOINED)
        assert devices_in(laptop, room) == {"red/main", "red/laptop"}


@pytest.mark.parametrize("how", ["lost", "interrupted"])
async def test_what_goes_wrong_once_it_is_registered_leaves_a_device_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room, info = await room_of(red), await red.open_pairing()

        async def say_last(channel: _Channel, message: PairingMessage) -> bool:
            assert isinstance(message, Finished)
            channel.transport.abort()
            if how == "interrupted":
                newcomer.task.cancel()
                await asyncio.sleep(0)
            return False

        monkeypatch.setattr(_Channel, "say_last", say_last)
        newcomer = Newcomer(relay, tmp_path, info.code, "laptop")
        await red.pairing_offer(info.pairing)
        async with asyncio.timeout(SECONDS):
            added = await red.finish_pairing(info.pairing, same=True)
            results = await asyncio.gather(newcomer.task, return_exceptions=True)
        assert added is not None
        assert added.name == "laptop"
        assert isinstance(results[0], JoinedAccount if how == "lost" else asyncio.CancelledError)
        await check_is_a_device(relay, red, tmp_path, room)


async def test_a_registered_device_that_gives_up_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted while it waits for the answer to its login: its profile is deleted."""
    async with MemoryRelay() as relay, relay.client("red") as red:
        room, info = await room_of(red), await red.open_pairing()

        async def connect(client: Client) -> None:
            await honest(client)
            await client.close()
            raise RelayUnreachable("the answer was lost")

        honest = Client.connect
        newcomer = Newcomer(relay, tmp_path, info.code, "laptop")
        await red.pairing_offer(info.pairing)
        monkeypatch.setattr(Pairing, "note_login", lambda *_: None)
        monkeypatch.setattr(Client, "connect", connect)
        with pytest.raises(
            UsageError, match="nothing was changed: the new device stopped: the answer was lost"
        ):
            await red.finish_pairing(info.pairing, same=True)
        with pytest.raises(RelayUnreachable):
            await newcomer.task
        assert len(relay.directory.revoked) == 1
        assert not any((tmp_path / "profiles").glob("*"))
        await sees(red, lambda: not red.rooms_to_settle)
        assert devices_in(red, room) == {"red/main"}
        monkeypatch.undo()
        await add_device(relay, red, tmp_path, "laptop")  # its name is free


async def test_a_device_that_may_be_one_keeps_its_profile_if_it_cannot_say_that_it_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room, info = await room_of(red), await red.open_pairing()
        login = PairingCode.parse(info.code).secret.login.public

        async def connect(client: Client) -> None:
            await honest(client)
            relay.sessions[login].abort()
            raise RelayUnreachable("the answer was lost")

        honest = Client.connect
        newcomer = Newcomer(relay, tmp_path, info.code, "laptop")
        await red.pairing_offer(info.pairing)
        monkeypatch.setattr(Client, "connect", connect)
        finishing = asyncio.create_task(red.finish_pairing(info.pairing, same=True))
        with pytest.raises(RelayUnreachable):
            await newcomer.task
        monkeypatch.undo()
        async with device_at(relay, tmp_path, "red"), asyncio.timeout(SECONDS):
            assert await finishing is not None
        await check_is_a_device(relay, red, tmp_path, room)


async def test_a_device_that_is_removed_while_it_registers_is_not_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        pairing = red.sync.devices.pairing
        assert pairing is not None

        async def finished_late(device: OwnDevice) -> None:
            """Have the new device's last word come while another window removes it."""
            await revoke(device)
            pairing.note_login(device.device)

        revoke = red.sync.devices.revoke
        monkeypatch.setattr(red.sync.devices, "revoke", finished_late)

        async def connect(client: Client) -> None:
            await red.remove_device("laptop")
            await honest(client)

        honest = Client.connect
        monkeypatch.setattr(Client, "connect", connect)
        newcomer = Newcomer(relay, tmp_path, info.code, "laptop")
        await red.pairing_offer(info.pairing)
        with pytest.raises(UsageError, match=r"^laptop was removed while it was being added$"):
            await red.finish_pairing(info.pairing, same=True)
        with pytest.raises(RelayRefused, match="your account removed this device"):
            await newcomer.task
        assert not red.sync.devices.known.others()
        assert not any((tmp_path / "profiles").glob("*"))


async def test_an_undecided_device_waits_for_a_relay_that_knows_of_devices() -> None:
    async with MemoryRelay(versions=(6, 5, 4)) as relay:
        async with relay.client("red") as red:
            key = DeviceKey.generate().public
            identity = red.sync.account.account_key().certify("red", "laptop", key)
            red.sync.devices.known.put(OwnDevice(key, identity, is_paired=False))
        async with relay.client("red") as red:
            told = red.stream(events.Notice)
            await asyncio.gather(*red.sync.tasks)
            with pytest.raises(RelayFault, match="this relay is too old for several devices"):
                await red.sync.devices.settle()
            red.sync.emit(events.Notice(b"", "no other before"))
            assert (await anext(told)).text == "no other before"
            assert red.is_online
            assert key in red.sync.devices.known.others()


async def joining(relay: MemoryRelay, home: Path, code: str, ask: Callable[[], str]) -> JoinedAccount:
    """Become a device whose profile has a passphrase."""
    return await DeviceJoin(
        PairingCode.parse(code),
        home,
        "laptop",
        show=lambda _: asyncio.sleep(0),
        new_passphrase=ask,
        quiet=0.0,
        clock=relay.clock,
        connect=relay.connect,
    ).run()


async def test_the_passphrase_is_asked_for_before_anybody_is_certified(tmp_path: Path) -> None:
    def fail() -> str:
        raise UsageError("nobody is here to type it")

    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        with pytest.raises(UsageError, match="nobody is here to type it"):
            await joining(relay, tmp_path, info.code, fail)
        with pytest.raises(WrongPassphrase, match="an empty passphrase protects nothing"):
            await joining(relay, tmp_path, info.code, str)
        assert not (tmp_path / "profiles").exists()
        task = asyncio.create_task(joining(relay, tmp_path, info.code, lambda: "correct horse"))
        await red.pairing_offer(info.pairing)
        assert await red.finish_pairing(info.pairing, same=True) is not None
        assert (await task).name == "red"
        assert Profile(tmp_path, "red").has_passphrase


async def test_a_profile_that_cannot_be_made_leaves_nothing_and_blocks_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(profile: Profile) -> None:
        """As if it was killed, or a disk was full, once the folder is there."""
        (profile.folder / "key.json").write_text("half of a k")
        raise ProfileError("no space left")

    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        newcomer = Newcomer(relay, tmp_path, info.code, "laptop")
        await red.pairing_offer(info.pairing)
        with monkeypatch.context() as patched:
            patched.setattr(Profile, "open", fail)
            with pytest.raises(
                UsageError, match="nothing was changed: the new device stopped: no space left"
            ):
                await red.finish_pairing(info.pairing, same=True)
            with pytest.raises(ProfileError, match="no space left"):
                await newcomer.task
        assert not any((tmp_path / "profiles").glob("*"))
        await add_device(relay, red, tmp_path, "laptop")
