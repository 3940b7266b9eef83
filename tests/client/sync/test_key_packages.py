"""Whoever comes now and then can be invited at any time; and whose clock is off is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from clave_client import events
from clave_client.errors import ClientError, PeerError, UsageError
from clave_client.formats.former_state import FORMER_STATE_EXTENSION
from clave_client.net import transport
from clave_client.rooms.suites import NEW_ROOMS, OFFERED
from clave_client.store.account import POOL_FULL, POOL_LOW
from clave_client.sync.key_packages import CHECK_SECONDS
from clave_client.testing import MemoryRelay
from clave_client.testing.memory_directory import Device
from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import KeyPackageBundle, encode_message
from clave_wire.connection import VERSIONS
from simulation.clock import VirtualLoop, run

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

of_each_version = pytest.mark.parametrize("versions", [VERSIONS, (5, 4), (4,)], ids=["6", "5", "4"])


class Clock:
    """The right time, and the time of clocks that are off by some seconds."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def off_by(self, seconds: float) -> Callable[[], float]:
        return lambda: self.now + seconds


async def come_and_go(relay: MemoryRelay, name: str, clock: Callable[[], float] | None = None) -> list[str]:
    """Connect for a moment; return the notices."""
    async with relay.client(name, clock=clock) as client:
        stream = client.events()
    return [event.text async for event in stream if isinstance(event, events.Notice)]


async def invite(relay: MemoryRelay, name: str, clock: Callable[[], float] | None = None) -> None:
    """Have red invite somebody to a new room; raises what `invite` does."""
    async with relay.client("red", clock=clock) as red:
        room = await red.create_room("friends")
        await room.invite(name)


def held(relay: MemoryRelay, name: str) -> list[int]:
    """Return how many key packages of each suite the relay has."""
    (device,) = relay.directory.find(name)
    return [len(device.packages.get(suite.id, [])) for suite in OFFERED]


async def refusal(relay: MemoryRelay, name: str, clock: Callable[[], float] | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        await invite(relay, name, clock)
    return caught.value


# Lifetimes


@of_each_version
async def test_somebody_online_daily_and_never_invited_can_be_invited_after_95_days(
    versions: tuple[int, ...],
) -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock, versions=versions) as relay:
        for _ in range(96):
            await come_and_go(relay, "blue")
            clock.now += DAY
        assert held(relay, "blue") == [POOL_FULL, POOL_FULL]
        await invite(relay, "blue")
        assert held(relay, "blue")[0] == POOL_FULL - 1, "at the first try"


@of_each_version
@pytest.mark.parametrize("days", [89, 100, 300])
async def test_somebody_away_can_be_invited(versions: tuple[int, ...], days: int) -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock, versions=versions) as relay:
        await come_and_go(relay, "blue")
        clock.now += days * DAY
        await invite(relay, "blue")
        async with relay.client("blue") as blue:
            (invited,) = blue.invitations()
            assert await invited.accept()
            assert held(relay, "blue") == [POOL_FULL, POOL_FULL], "old ones are replaced"


async def test_the_relay_keeps_no_expired_key_package() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue")
        clock.now += 100 * DAY
        await invite(relay, "blue")
        assert held(relay, "blue")[0] == 0, "the last resort was given out"


async def test_key_packages_are_replaced_long_before_they_expire() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue")
        (device,) = relay.directory.find("blue")
        first = {suite.id: list(device.packages[suite.id]) for suite in OFFERED}
        clock.now += 29 * DAY
        await come_and_go(relay, "blue")
        assert device.packages == first
        clock.now += 2 * DAY
        await come_and_go(relay, "blue")
        assert all(not set(first[suite.id]) & set(device.packages[suite.id]) for suite in OFFERED)
        assert [ends for _, ends in device.packages[NEW_ROOMS.id]] == [int(clock.now + 90 * DAY)] * POOL_FULL


async def test_what_was_claimed_before_a_replacement_still_opens() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue")
        await invite(relay, "blue")
        (device,) = relay.directory.find("blue")
        kept, device.invitations = device.invitations, {}
        clock.now += 31 * DAY
        await come_and_go(relay, "blue")
        device.invitations = kept
        async with relay.client("blue") as blue:
            assert [room.title for room in blue.invitations()] == ["friends"]


def test_a_connection_that_lasts_for_months_replaces_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SILENCE_SECONDS", 1e9)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with MemoryRelay(clock=lambda: NOW + loop.time()) as relay:
            async with relay.client("blue"), relay.client("red") as red:
                await asyncio.sleep(95 * DAY)
                assert held(relay, "blue") == [POOL_FULL, POOL_FULL]
                room = await red.create_room("friends")
                await room.invite("blue")
                assert held(relay, "blue")[0] == POOL_FULL - 1
            (device,) = relay.directory.find("blue")
            assert device.published == 2 * 4, "each suite once a month, not once a day"
            assert await come_and_go(relay, "blue") == []
            assert device.published == 2 * 4, "the counts of both agree"

    assert CHECK_SECONDS == DAY
    run(VirtualLoop(), main())


def test_a_connection_that_lasts_tops_up_what_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SILENCE_SECONDS", 1e9)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with MemoryRelay(clock=lambda: NOW + loop.time()) as relay:
            async with relay.client("blue") as blue, relay.client("red") as red:
                for number in range(POOL_FULL - POOL_LOW + 1):
                    room = await red.create_room(f"room {number}")
                    await room.invite("blue")
                    await blue.sync.wait_for(lambda: bool(blue.invitations()))
                    await blue.invitations()[0].accept()
                assert held(relay, "blue")[0] == POOL_LOW - 1
                await asyncio.sleep(1.5 * DAY)
                assert held(relay, "blue")[0] == POOL_FULL
            (device,) = relay.directory.find("blue")
            published = device.published
            await come_and_go(relay, "blue")
            assert device.published == published, "the counts of both agree"

    run(VirtualLoop(), main())


async def test_a_profile_of_the_version_before_replaces_what_it_published() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        async with relay.client("blue") as blue:
            store = blue.sync.store
            for suite in OFFERED:  # what that version stored
                store.run("DELETE FROM meta WHERE key = ?", f"key_packages_replaced_at {suite.id:#06x}")
                store.put(f"last_resort_made_at {suite.id:#06x}", int(NOW).to_bytes(8, "big"))
        (device,) = relay.directory.find("blue")
        before = set(device.packages[NEW_ROOMS.id])
        await come_and_go(relay, "blue")
        assert not before & set(device.packages[NEW_ROOMS.id])
        assert held(relay, "blue") == [POOL_FULL, POOL_FULL]


async def test_after_a_restore_of_the_relay_they_are_replaced() -> None:
    async with MemoryRelay() as relay:
        await come_and_go(relay, "blue")
        (device,) = relay.directory.find("blue")
        before = set(device.packages[NEW_ROOMS.id])
        device.published -= 1
        await come_and_go(relay, "blue")
        assert not before & set(device.packages[NEW_ROOMS.id])


# Expired ones at the relay


def offer(
    identity: bytes, device: DeviceKey, begins: float, ends: float, *, last_resort: bool = False
) -> bytes:
    """Make a key package of a device with this lifetime."""
    bundle = KeyPackageBundle.generate(
        NEW_ROOMS,
        identity,
        device.secret,
        not_before=int(begins),
        not_after=int(ends),
        last_resort=last_resort,
        extension_types=(FORMER_STATE_EXTENSION,),
    )
    return encode_message(bundle.key_package)


@asynccontextmanager
async def blue_with(
    *lifetimes: tuple[float, float], last_resort: tuple[float, float] | None = None
) -> AsyncIterator[MemoryRelay]:
    """Make a relay that does not know when blue's packages expire, with packages of these lifetimes only."""
    async with MemoryRelay(clock=Clock()) as relay:
        async with relay.client("blue") as blue:
            (device,) = relay.directory.find("blue")
            keys = blue.sync.account.identity, blue.sync.account.device
            packages = [(offer(*keys, NOW + begins, NOW + ends), 0) for begins, ends in lifetimes]
            device.packages[NEW_ROOMS.id] = packages
            if last_resort is None:
                device.last_resorts = {}
            else:
                begins, ends = last_resort
                device.last_resorts[NEW_ROOMS.id] = offer(*keys, NOW + begins, NOW + ends, last_resort=True)
        yield relay


VALID, OVER = (-DAY, DAY), (-DAY, -1.0)


async def test_an_inviter_skips_expired_key_packages() -> None:
    async with blue_with(*[OVER] * 3, VALID, VALID) as relay:
        await invite(relay, "blue")
        assert held(relay, "blue")[0] == 1


async def test_an_inviter_skips_expired_key_packages_to_the_last_resort() -> None:
    async with blue_with(*[OVER] * 20, last_resort=VALID) as relay:
        await invite(relay, "blue")


@pytest.mark.parametrize("last_resort", [OVER, None])
async def test_with_expired_ones_only_the_inviter_is_told_what_to_do(
    last_resort: tuple[float, float] | None,
) -> None:
    ends = -120 * DAY
    async with blue_with(
        (-130 * DAY, ends), last_resort=None if last_resort is None else (-130 * DAY, ends)
    ) as relay:
        error = await refusal(relay, "blue")
    assert isinstance(error, PeerError)
    assert str(error) == (
        "blue cannot be invited: their key packages expired 120 days ago; ask them to set their clock if it"
        " is behind, and to start clave, which makes new ones"
    )


async def test_of_several_devices_one_without_a_valid_key_package_stays_out_and_is_named() -> None:
    async with MemoryRelay(clock=Clock()) as relay:
        async with relay.client("blue") as blue:
            secret, account = blue.sync.store.get("account_secret"), blue.sync.account.verified.account
            assert secret is not None
            key = DeviceKey.generate()
            identity = AccountKey.from_secret(Secret(secret)).certify("blue", "phone", key.public)
            phone = Device(key.public, "blue", account, identity)
            phone.last_resorts[NEW_ROOMS.id] = offer(identity, key, NOW - DAY, NOW - HOUR, last_resort=True)
            relay.directory.devices[key.public] = phone
        async with relay.client("red") as red:
            room = await red.create_room("friends")
            stream = red.events()
            await room.invite("blue")
            assert len(red.members(room.id)) == 2
    (told,) = [event.text async for event in stream if isinstance(event, events.Notice)]
    assert told.startswith("blue's device phone stays out: their key packages expired 60 minutes ago; ask")


# Clocks


@pytest.mark.parametrize("off", [2 * HOUR, 12 * HOUR, -12 * HOUR, -10 * DAY])
@of_each_version
async def test_a_clock_that_is_off_by_hours_keeps_nobody_out(versions: tuple[int, ...], off: float) -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock, versions=versions) as relay:
        await come_and_go(relay, "blue", clock.off_by(off))
        await invite(relay, "blue")


async def test_a_guests_clock_that_is_days_ahead_is_named_and_can_be_set() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue", clock.off_by(3 * DAY))
        error = await refusal(relay, "blue")
        assert isinstance(error, PeerError)
        assert str(error) == (
            "blue cannot be invited: the clock of their machine is at least 2 days ahead;"
            " ask them to set it and to start clave again"
        )
        assert held(relay, "blue")[0] == POOL_FULL - 1, "no more are used up"
        await come_and_go(relay, "blue", clock)
        await invite(relay, "blue")


async def test_an_inviters_clock_that_is_behind_is_named() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue")
        error = await refusal(relay, "blue", clock.off_by(-3 * DAY))
        assert isinstance(error, UsageError)
        assert str(error) == (
            "blue cannot be invited: this machine's clock is 3 days behind the relay's; set it first"
        )


async def test_an_inviters_clock_that_is_ahead_is_named_and_uses_up_one_key_package() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue")
        error = await refusal(relay, "blue", clock.off_by(400 * DAY))
        assert isinstance(error, UsageError)
        assert "this machine's clock is 400 days ahead of the relay's; set it first" in str(error)
        assert held(relay, "blue")[0] == POOL_FULL - 1


async def test_without_the_relays_time_both_clocks_are_in_doubt() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock, versions=(4,)) as relay:
        await come_and_go(relay, "blue", clock.off_by(3 * DAY))
        assert "2 days ahead, unless this machine's clock is off; ask" in str(await refusal(relay, "blue"))
        await come_and_go(relay, "green", clock.off_by(-500 * DAY))
        assert "ago, unless this machine's clock is off; ask" in str(await refusal(relay, "green"))


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (6 * MINUTE, "6 minutes ahead of"),
        (-2 * HOUR, "2 hours behind"),
        (-NOW + 30.0, "57 years behind"),
        (4 * MINUTE, ""),
        (-4 * MINUTE, ""),
    ],
)
async def test_a_clock_that_is_not_the_relays_is_told_once_a_connection(off: float, words: str) -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        for _ in range(2):
            told = await come_and_go(relay, "blue", clock.off_by(off))
            assert told == (
                [
                    f"this machine's clock is {words} the relay's: set it, or times are wrong and invitations"
                    " fail; if it is right, tell the relay's operator"
                ]
                if words
                else []
            )


async def test_a_relay_that_tells_no_time_is_compared_with_nothing() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock, versions=(4,)) as relay:
        assert await come_and_go(relay, "blue", clock.off_by(-2 * HOUR)) == []


@pytest.mark.parametrize("at", [0.0, 30.0, -5.0])
async def test_a_clock_at_1970_stops_nothing_and_what_it_made_is_replaced(at: float) -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        async with relay.client("blue", clock=clock.off_by(at - NOW)) as blue:
            room = await blue.create_room("early")
            await room.send("is it so late?")
        assert "expired 5" in str(await refusal(relay, "blue"))
        await come_and_go(relay, "blue", clock)
        await invite(relay, "blue")


async def test_a_clock_that_went_back_a_little_replaces_nothing() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        await come_and_go(relay, "blue", clock.off_by(2 * MINUTE))
        (device,) = relay.directory.find("blue")
        published = device.published
        await come_and_go(relay, "blue", clock)
        assert device.published == published
        await come_and_go(relay, "blue", clock.off_by(-HOUR))
        assert device.published > published, "what was made in the future may not have begun for others"
