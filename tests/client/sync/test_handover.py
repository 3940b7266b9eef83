"""The account's key is handed to another device: never lost, never left, never to somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from clave_client.client import Client
from clave_client.errors import PeerError, UsageError
from clave_client.formats.sibling_message import (
    KeyOffer,
    KeyRequest,
    KeyStored,
    SealedKey,
    SiblingMessage,
    Status,
    open_message,
    sign_message,
)
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.own_devices import Handover
from clave_client.sync import handover
from clave_client.testing import MemoryRelay
from clave_client.testing.memory_directory import Device
from clave_crypto.identity import DeviceKey
from clave_wire import messages as m
from devicekit import add_device, device_at, is_here, room_of, sees


@asynccontextmanager
async def two(relay: MemoryRelay, home: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Enter red's first device and a laptop, which know each other."""
    async with relay.client("red") as red:
        if red.sync.devices.known.named("laptop") is None:
            await add_device(relay, red, home, "laptop")
        async with device_at(relay, home, "red") as laptop:
            await sees(red, is_here(red, laptop))
            await sees(laptop, is_here(laptop, red))
            yield red, laptop


def on_way(
    relay: MemoryRelay, monkeypatch: pytest.MonkeyPatch, change: Callable[[SiblingMessage], bytes | None]
) -> None:
    """Call `change` with all that devices tell each other; what it returns is dropped if that is empty."""
    honest = relay.devices.pass_on

    def pass_on(device: Device, request: m.PassOn) -> None:
        _, message = open_message(request.data, device.key, request.device)
        changed = change(message)
        if changed != b"":
            honest(device, msgspec.structs.replace(request, data=changed or request.data))

    monkeypatch.setattr(relay.devices, "pass_on", pass_on)


def copies(*clients: Client) -> list[bool]:
    return [bool(client.sync.store.get("account_secret")) for client in clients]


async def test_the_other_device_has_it_then_and_this_one_no_more(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with two(relay, tmp_path) as (red, laptop):
            key = red.sync.store.get("account_secret")
            assert (await red.set_primary("laptop")).is_primary
            assert copies(red, laptop) == [False, True]
            assert laptop.sync.store.get("account_secret") == key
            with pytest.raises(UsageError, match="only your primary device adds devices: use laptop"):
                await red.open_pairing()
            await sees(
                laptop, lambda: not any(e.is_primary for e in laptop.sync.devices.known.others().values())
            )
            await add_device(relay, laptop, tmp_path / "phone", "phone")
            await laptop.remove_device("phone")
            with pytest.raises(UsageError, match="this device is the primary one already"):
                await laptop.set_primary("laptop")
        async with two(relay, tmp_path) as (red, laptop):
            assert copies(red, laptop) == [False, True]
            await laptop.set_primary("main")
            assert copies(red, laptop) == [True, False]


async def test_a_device_that_is_away_gets_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        with pytest.raises(UsageError, match="laptop is not connected; open clave there, then try again"):
            await red.set_primary("laptop")
        assert copies(red) == [True]
        assert red.sync.devices.known.handover is None
        with pytest.raises(UsageError, match="you have no other device called phone"):
            await red.set_primary("phone")


@pytest.mark.parametrize("lost", [KeyOffer, KeyRequest])
async def test_what_is_lost_before_the_key_is_sent_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: type
) -> None:
    monkeypatch.setattr(handover, "_ANSWER_SECONDS", 0.2)
    async with MemoryRelay() as relay, two(relay, tmp_path) as (red, laptop):
        on_way(relay, monkeypatch, lambda message: b"" if isinstance(message, lost) else None)
        with pytest.raises(UsageError, match="laptop does not answer; this device is still the primary one"):
            await red.set_primary("laptop")
        assert copies(red, laptop) == [True, False]
        assert red.sync.devices.known.handover is None


@pytest.mark.parametrize("lost", [SealedKey, KeyStored])
@pytest.mark.parametrize("crashes", ["first", "second", "both"])
async def test_after_a_crash_it_goes_on_and_there_is_always_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: type, crashes: str
) -> None:
    monkeypatch.setattr(handover, "_ANSWER_SECONDS", 0.2)
    async with MemoryRelay() as relay:
        async with two(relay, tmp_path) as (red, laptop):
            with monkeypatch.context() as patch:
                on_way(relay, patch, lambda message: b"" if isinstance(message, lost) else None)
                with pytest.raises(UsageError, match="laptop was sent the key, and has not said"):
                    await red.set_primary("laptop")
                assert copies(red, laptop) == [True, lost is KeyStored]
            if crashes == "first":
                relay.sessions[red.sync.own_device].abort()
                await sees(red, lambda: not red.is_primary)
            elif crashes == "second":
                relay.sessions[laptop.sync.own_device].abort()
                await sees(red, lambda: not red.is_primary)
                assert copies(red, laptop) == [False, True]
        if crashes == "both":
            async with two(relay, tmp_path) as (red, laptop):
                await sees(red, lambda: not red.is_primary)
                assert copies(red, laptop) == [False, True]


async def test_a_relay_that_puts_its_own_key_in_place_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "_ANSWER_SECONDS", 0.2)
    _, public = NEW_ROOMS.kem.derive_key_pair(bytes(64))
    sealed: list[SealedKey] = []
    async with MemoryRelay() as relay, two(relay, tmp_path) as (red, laptop):

        def swap(message: SiblingMessage) -> bytes | None:
            if isinstance(message, SealedKey):
                sealed.append(message)
            if not isinstance(message, KeyRequest):
                return None
            own = KeyRequest(message.handover, message.suite, public)
            return sign_message(own, DeviceKey.generate(), red.sync.own_device, 1)

        on_way(relay, monkeypatch, swap)
        with pytest.raises(UsageError, match="laptop does not answer"):
            await red.set_primary("laptop")
        assert sealed == []
        assert copies(red, laptop) == [True, False]


async def test_nobody_has_the_key_deleted_or_sent_by_a_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[SiblingMessage] = []
    async with MemoryRelay() as relay, two(relay, tmp_path) as (red, laptop):
        on_way(relay, monkeypatch, lambda message: said.append(message))
        for number in (bytes(16), b"x" * 16):
            await laptop.sync.devices.siblings.tell(red.sync.own_device, KeyStored(number))
        # Nor does a device that asks for it by itself get it.
        _, public = NEW_ROOMS.kem.derive_key_pair(bytes(64))
        request = KeyRequest(bytes(16), NEW_ROOMS.id, public)
        await laptop.sync.devices.siblings.tell(red.sync.own_device, request)
        await asyncio.gather(*red.sync.tasks)
        assert copies(red, laptop) == [True, False]
        assert not any(isinstance(each, SealedKey) for each in said)
        # A device that was not chosen does not get it either, while another one is.
        red.sync.devices.known.note_handover(Handover(bytes(32), bytes(16)))
        await laptop.sync.devices.siblings.tell(red.sync.own_device, request)
        await asyncio.gather(*red.sync.tasks)
        assert not any(isinstance(each, SealedKey) for each in said)
        assert request in said


async def test_what_is_no_account_key_is_not_stored(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, two(relay, tmp_path) as (red, laptop):
        for secret in (bytes(32), b"short"):
            with pytest.raises(PeerError, match="is not the account's key"):
                laptop.sync.account.take_account_key(secret)  # type: ignore[arg-type]
        assert copies(red, laptop) == [True, False]


def test_a_message_is_of_its_sender_to_its_receiver() -> None:
    sender, other = DeviceKey.generate(), DeviceKey.generate()
    message = Status(True, 5, False, [])
    data = sign_message(message, sender, other.public, 7)
    assert open_message(data, sender.public, other.public) == (7, message)
    for wrong in ((other.public, other.public), (sender.public, sender.public)):
        with pytest.raises(PeerError):
            open_message(data, *wrong)
    for damaged in (b"", data[:-1], data + b"x", bytes([data[0]]) + bytes([data[1] ^ 1]) + data[2:]):
        with pytest.raises(PeerError):
            open_message(damaged, sender.public, other.public)


async def test_strangers_are_not_heard(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, two(relay, tmp_path) as (red, _):
        await room_of(red)
        stranger = DeviceKey.generate()
        data = sign_message(KeyOffer(bytes(16)), stranger, red.sync.own_device, 1)
        red.sync.devices.handle(m.Passed(stranger.public, data))
        red.sync.devices.handle(m.Passed(stranger.public, b""))
        await asyncio.gather(*red.sync.tasks)
        assert stranger.public not in red.sync.devices.known.others()
