"""Pairing a device, with whole clients: what stops it, who cannot slip in, and that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clave_client.client import Client
from clave_client.device_joining import DeviceJoin
from clave_client.errors import ClientError, LinkUnusable, PeerError, UsageError
from clave_client.formats.pairing import (
    Certificate,
    Finished,
    PairingMessage,
    PairingTranscript,
    Request,
    Reveal,
    commit_to,
)
from clave_client.net.join_link import JoinLink
from clave_client.net.pairing_code import PairingCode
from clave_client.store.own_devices import OwnDevice
from clave_client.store.profile import Profile
from clave_client.sync import pairing
from clave_client.testing import MemoryRelay
from clave_client.testing.memory_directory import Device
from clave_client.values import PairingInfo
from clave_crypto.identity import AccountKey, DeviceKey
from clave_wire import messages as m
from devicekit import SECONDS, Newcomer, add_device, device_at, sees

Change = Callable[[PairingMessage], PairingMessage | None]


def intercept(
    relay: MemoryRelay, monkeypatch: pytest.MonkeyPatch, code: str, *, by_first: bool, change: Change
) -> None:
    """Have a relay that has seen a code change what one side says; None keeps it back."""
    secret, honest = PairingCode.parse(code).secret, relay.devices.pass_on

    def pass_on(device: Device, request: m.PassOn) -> None:
        is_first = device.key != secret.login.public
        if is_first is not by_first or secret.login.public not in (device.key, request.device):
            honest(device, request)
            return
        changed = change(secret.open(request.data, by_first=by_first))
        if changed is not None:
            honest(device, m.PassOn(request.id, request.device, secret.seal(changed, by_first=by_first)))

    monkeypatch.setattr(relay.devices, "pass_on", pass_on)


def check_nothing_is_left(relay: MemoryRelay, red: Client, home: Path) -> None:
    """Check that a pairing has left no device, no profile and no way in."""
    assert [each.name for each in relay.directory.find("red")] == ["red"]
    assert not relay.devices.pairings
    assert not red.sync.devices.known.others()
    assert not any((home / "profiles").glob("*"))


async def ends(newcomer: Newcomer, words: str) -> None:
    """Wait until a new device stops, with these words."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ClientError, match=words):
            await newcomer.task


async def refuse(red: Client, info: PairingInfo, newcomer: Newcomer, home: Path, relay: MemoryRelay) -> None:
    """Have the user say that the words differ, and check that nothing is left."""
    assert await red.finish_pairing(info.pairing, same=False) is None
    await ends(newcomer, "the other device stopped: the words are not the same")
    check_nothing_is_left(relay, red, home)


async def test_if_the_words_differ_nothing_is_left(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        await refuse(red, info, newcomer, tmp_path, relay)
        with pytest.raises(UsageError, match="no device waits to be paired by this code"):
            await Newcomer(relay, tmp_path, code, "laptop").task


async def test_who_photographed_the_code_and_comes_first_shows_other_words(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        thief = Newcomer(relay, tmp_path / "thief", code, "laptop")
        offer = await red.pairing_offer(info.pairing)
        mine = Newcomer(relay, tmp_path, code, "laptop")
        await ends(mine, "another device uses this code already; make a new one")
        assert mine.words == ()
        assert await thief.shown() == offer.words
        await refuse(red, info, thief, tmp_path / "thief", relay)


async def test_who_comes_again_with_the_code_ends_the_pairing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        mine = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        relay.sessions[PairingCode.parse(code).secret.login.public].abort()
        await ends(mine, "the connection to the relay was lost")
        again = Newcomer(relay, tmp_path, code, "laptop")
        await ends(again, "another device came with the same code")
        with pytest.raises(PeerError, match="another device came with the same code: somebody has seen it"):
            await red.finish_pairing(info.pairing, same=True)
        check_nothing_is_left(relay, red, tmp_path)


async def test_a_relay_with_the_code_that_swaps_the_key_cannot_show_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DeviceKey.generate().public

    def swap(message: PairingMessage) -> PairingMessage:
        return Request(other, message.device_name, message.value) if isinstance(message, Request) else message

    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        intercept(relay, monkeypatch, code, by_first=False, change=swap)
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        offer = await red.pairing_offer(info.pairing)
        assert offer.words != await newcomer.shown()
        await refuse(red, info, newcomer, tmp_path, relay)


async def test_the_first_device_cannot_be_made_to_show_words_that_were_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reveal_another(message: PairingMessage) -> PairingMessage:
        return Reveal(bytes(32)) if isinstance(message, Reveal) else message

    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        intercept(relay, monkeypatch, code, by_first=True, change=reveal_another)
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await ends(newcomer, "somebody stands between the two devices")
        assert newcomer.words == ()
        with pytest.raises(PeerError, match="the new device stopped: somebody stands between"):
            await red.finish_pairing(info.pairing, same=True)
        check_nothing_is_left(relay, red, tmp_path)


def test_the_words_say_all_that_both_have_to_see_alike() -> None:
    request = Request(b"d" * 32, "laptop", b"v" * 32)
    words = PairingTranscript(b"a" * 16, b"h" * 32, b"r" * 32, request).words()
    assert len(words) == 4
    for other in (
        PairingTranscript(b"b" * 16, b"h" * 32, b"r" * 32, request),
        PairingTranscript(b"a" * 16, b"i" * 32, b"r" * 32, request),
        PairingTranscript(b"a" * 16, b"h" * 32, b"s" * 32, request),
        PairingTranscript(b"a" * 16, b"h" * 32, b"r" * 32, Request(b"e" * 32, "laptop", b"v" * 32)),
        PairingTranscript(b"a" * 16, b"h" * 32, b"r" * 32, Request(b"d" * 32, "laptoq", b"v" * 32)),
        PairingTranscript(b"a" * 16, b"h" * 32, b"r" * 32, Request(b"d" * 32, "laptop", b"w" * 32)),
    ):
        assert other.words() != words
    assert len({commit_to(a, h, v) for a in (b"a", b"b") for h in (b"h", b"i") for v in (b"v", b"w")}) == 8


@pytest.mark.parametrize("by_first", [True, False])
async def test_a_relay_without_the_code_gets_nothing_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_first: bool
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        login, honest = PairingCode.parse(code).secret.login.public, relay.devices.pass_on

        def damage(device: Device, request: m.PassOn) -> None:
            if (device.key != login) is by_first:
                request = m.PassOn(request.id, request.device, bytes(len(request.data)))
            honest(device, request)

        monkeypatch.setattr(relay.devices, "pass_on", damage)
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await ends(newcomer, "was not sealed by the device with this code")
        if by_first:
            await red.stop_pairing(info.pairing)
        else:
            with pytest.raises(PeerError, match="was not sealed by the device with this code"):
                await red.pairing_offer(info.pairing)
        check_nothing_is_left(relay, red, tmp_path)


async def test_what_one_side_said_is_not_taken_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        secret = PairingCode.parse(code).secret
        sealed = secret.seal(Finished(), by_first=True)
        with pytest.raises(PeerError):
            secret.open(sealed, by_first=False)
        assert secret.open(sealed, by_first=True) == Finished()


@pytest.mark.parametrize("what", ["other account", "other name", "other key"])
async def test_a_certificate_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        key = red.sync.account.account_key()

        def certify(message: PairingMessage) -> PairingMessage:
            if not isinstance(message, Certificate):
                return message
            (device,) = red.sync.devices.known.others()
            if what == "other account":
                return Certificate(AccountKey.generate().certify("red", "laptop", device))
            if what == "other name":
                return Certificate(key.certify("red", "phone", device))
            return Certificate(key.certify("red", "laptop", DeviceKey.generate().public))

        intercept(relay, monkeypatch, code, by_first=True, change=certify)
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        with pytest.raises(UsageError, match="the pairing did not finish, and nothing was changed"):
            await red.finish_pairing(info.pairing, same=True)
        await ends(newcomer, "the other device (sent what is no certificate|certified something else)")
        check_nothing_is_left(relay, red, tmp_path)
        assert len(relay.directory.revoked) == 1, "the certificate that was made is revoked"


async def test_names_that_a_device_cannot_have_are_refused_on_both_screens(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        for name, words in (
            ("Main", "you have a device called Main already"),
            (" laptop", "no blank at either end"),
        ):
            info = await red.open_pairing()
            code = info.code
            newcomer = Newcomer(relay, tmp_path, code, name)
            with pytest.raises(UsageError, match=words):
                await red.pairing_offer(info.pairing)
            await ends(newcomer, f"the other device stopped: .*{words}")
            check_nothing_is_left(relay, red, tmp_path)
        for name in ("", "x" * 65, "a\nb", "\x1b[31m"):
            with pytest.raises(UsageError, match="say what this device is to be called"):
                DeviceJoin(PairingCode.parse(code), tmp_path, name, show=lambda _: asyncio.sleep(0))


async def test_a_profile_that_is_here_already_is_not_touched(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "phone")
        await ends(newcomer, "there is a profile red here already; choose another --home")
        with pytest.raises(PeerError, match="the new device stopped: there is a profile red here already"):
            await red.pairing_offer(info.pairing)
        async with device_at(relay, tmp_path, "red") as laptop:
            assert laptop.sync.account.verified.device_name == "laptop"


async def test_a_code_is_over_after_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "PAIRING_SECONDS", 0.3)
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        with pytest.raises(UsageError, match="the code was not used within 5 minutes"):
            await red.pairing_offer(info.pairing)
        check_nothing_is_left(relay, red, tmp_path)
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        await newcomer.shown()
        await asyncio.sleep(0.3)
        with pytest.raises(UsageError, match="the code was not used within 5 minutes"):
            await red.finish_pairing(info.pairing, same=True)
        await ends(newcomer, "the other device")
        check_nothing_is_left(relay, red, tmp_path)


async def test_the_new_device_is_interrupted(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await newcomer.shown()
        newcomer.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await newcomer.task
        await sees(red, lambda: red.sync.devices.pairing is not None and red.sync.devices.pairing.is_over)
        check_nothing_is_left(relay, red, tmp_path)


async def test_the_first_device_is_interrupted_or_makes_another_code(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await newcomer.shown()
        other = await red.open_pairing()
        await ends(newcomer, "the other device stopped: another code was made")
        await red.stop_pairing(other.pairing)
        check_nothing_is_left(relay, red, tmp_path)
        await red.stop_pairing(other.pairing)


async def test_the_relay_goes_away(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await newcomer.shown()
        relay.disconnect_all()
        await ends(newcomer, "the connection to the relay was lost")
        with pytest.raises(ClientError, match="the connection was lost, and nothing was changed"):
            await red.finish_pairing(info.pairing, same=True)
        assert not red.sync.devices.known.others()
        assert not any((tmp_path / "profiles").glob("*"))


async def test_the_17th_device_is_refused_before_a_code_is_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        own = relay.directory.devices[red.sync.own_device]
        for number in range(15):
            key = bytes([number + 1]) * 32
            relay.directory.devices[key] = Device(key, own.name, own.account, own.identity)
        with pytest.raises(ClientError, match="an account has at most 16 devices; remove one first"):
            await red.open_pairing()


@pytest.mark.parametrize("step", ["certificate", "registered"])
async def test_the_new_device_dies_after_it_was_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What the relay never had is revoked; what it has is a device."""
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code

        def die(message: PairingMessage) -> PairingMessage | None:
            is_last = isinstance(message, Certificate if step == "certificate" else Finished)
            if is_last:
                relay.sessions[red.sync.own_device].abort()
            return None if is_last else message

        intercept(relay, monkeypatch, code, by_first=step == "certificate", change=die)
        monkeypatch.setattr(pairing.Pairing, "note_login", lambda *_: None)
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        with pytest.raises(ClientError, match="clave devices shows later whether it is one"):
            await red.finish_pairing(info.pairing, same=True)
        newcomer.task.cancel()
        await asyncio.gather(newcomer.task, return_exceptions=True)
        known = red.sync.devices.known
        await sees(red, lambda: all(each.is_paired for each in known.others().values()))
        assert bool(known.others()) is (step == "registered")
        await sees(red, lambda: bool(relay.directory.revoked) is (step == "certificate"))


@pytest.mark.parametrize("is_registered", [True, False])
async def test_the_first_device_dies_after_it_certified(tmp_path: Path, *, is_registered: bool) -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            account, key = red.sync.account, DeviceKey.generate()
            identity = account.account_key().certify("red", "laptop", key.public)
            red.sync.devices.known.put(OwnDevice(key.public, identity, is_paired=False))
            if is_registered:
                account_key = account.verified.account
                relay.directory.devices[key.public] = Device(key.public, "red", account_key, identity)
        async with relay.client("red") as red:
            known = red.sync.devices.known
            await sees(red, lambda: all(each.is_paired for each in known.others().values()))
            assert [known.identity(each).device_name for each in known.others().values()] == (
                ["laptop"] if is_registered else []
            )
            await sees(red, lambda: bool(relay.directory.revoked) is not is_registered)


async def test_codes_and_links_are_not_taken_for_each_other() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        room = (await red.create_room("friends")).id
        link = (await red.make_link(room, seconds=3600, uses=1)).text
        with pytest.raises(LinkUnusable, match="this is a link to join by; run: clave join LINK"):
            PairingCode.parse(link)
        with pytest.raises(LinkUnusable, match=r"this is a code to add a device by; run: clave device join"):
            JoinLink.parse(code)
        assert PairingCode.parse(f"clave device join\n {code}\n").text == code
        for wrong, words in (
            (code[:-3], "this code is cut off: 68 of 71 characters"),
            (code[:-1] + ("A" if code[-1] != "A" else "B"), "this code is mistyped: its checksum"),
            ("nonsense", "this is no code to add a device by"),
        ):
            with pytest.raises(LinkUnusable, match=words):
                PairingCode.parse(wrong)
        assert len(code) < 120, "the QR code fits a screen of 80 by 24"


async def test_a_code_shows_nothing_of_its_secret() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info: Any = await red.open_pairing()
        found = PairingCode.parse(info.code)
        for each in (info, found, found.secret, red.sync.devices.pairing):
            assert info.code[-20:] not in repr(each)
            assert found.secret.seed.hex() not in repr(each)


async def test_a_new_device_that_was_killed_can_be_paired_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        with Profile(tmp_path, "red") as killed:
            killed.note_pairing(done=False)
        assert [path.name for path in killed.folder.glob("pairing")] == ["pairing"]
        await add_device(relay, red, tmp_path, "laptop")
        assert not killed.is_unpaired
        async with device_at(relay, tmp_path, "red") as laptop:
            assert laptop.name == "red"


async def test_a_device_that_the_relay_does_not_register_leaves_no_profile(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        info = await red.open_pairing()
        code = info.code
        newcomer = Newcomer(relay, tmp_path, code, "laptop")
        await red.pairing_offer(info.pairing)
        own = relay.directory.devices[red.sync.own_device]
        others = [bytes([number + 1]) * 32 for number in range(15)]
        for key in others:
            relay.directory.devices[key] = Device(key, own.name, own.account, own.identity)
        with pytest.raises(UsageError, match="the new device stopped: an account has at most 16"):
            await red.finish_pairing(info.pairing, same=True)
        await ends(newcomer, "an account has at most 16 devices")
        for key in others:
            del relay.directory.devices[key]
        check_nothing_is_left(relay, red, tmp_path)
        assert len(relay.directory.revoked) == 1
