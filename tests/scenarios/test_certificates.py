"""Stories of a relay whose certificate changes: announced, renewed, or without a word."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from certificatekit import Authority, ec_key, write_pair
from clave_client import events
from clave_client.client import Client
from clave_client.errors import RelayChanged
from clave_client.store.profile import Profile
from scenarios.stage import TIMEOUT, Relay, Somebody, gather_in, people_at, relay_at
from scenarios.terminal import terminal

HOST = "127.0.0.1"


async def order(relay: Relay, *words: str) -> None:
    """Run `clave-relay certificate`."""
    command = ("-m", "clave_server", "certificate", *words, "--data", str(relay.data))
    process = await asyncio.create_subprocess_exec(sys.executable, *command)
    assert await asyncio.wait_for(process.wait(), TIMEOUT) == 0


async def told(*people: Somebody) -> None:
    """Wait until everyone has heard of a certificate to come."""
    async with asyncio.timeout(TIMEOUT):
        for person in people:
            session = person.client.sync
            await session.wait_for(lambda: session.connection.trust.following is not None)  # noqa: B023 (awaited at once)


async def stopped(somebody: Somebody, *fingerprints: str) -> None:
    """Check that somebody's session is over, by an error that shows the fingerprints."""
    async with asyncio.timeout(TIMEOUT), somebody.news:
        await somebody.news.wait_for(lambda: somebody.ended_by is not None)
    assert isinstance(somebody.ended_by, RelayChanged)
    for fingerprint in fingerprints:
        assert fingerprint in str(somebody.ended_by)


async def refused(somebody: Somebody) -> None:
    """Check that somebody stops before a word is said."""
    with pytest.raises(RelayChanged, match="nothing was sent"):
        await somebody.come()
    await somebody.client.close()
    somebody.profile.close()


# --- pinned ----------------------------------------------------------------------------------------------


async def test_everyone_who_was_there_follows_an_announced_change(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue)
        before = relay.fingerprint
        await green.go()
        await order(relay, "next")
        await told(red, blue)
        await blue.go()
        await order(relay, "switch")
        await red.client.send(room, "the connection lives on")
        await blue.come()
        assert blue.client.connected.fingerprint != before
        notice = await blue.sees(events.Notice)
        assert blue.client.connected.fingerprint in notice.text
        await blue.reads("the connection lives on")
        await relay.stop()
        await relay.start()
        await red.sees(events.Notice, lambda notice: relay.fingerprint in notice.text)
        await red.client.send(room, "and the next one too")
        await blue.reads("and the next one too")
        await refused(green)
        with Profile(green.home, "green") as profile:
            pin = bytes.fromhex(relay.fingerprint.replace(" ", ""))
            async with Client(profile, pin=pin) as client:
                assert client.connected.fingerprint == relay.fingerprint
        await green.come()


async def test_a_change_without_a_word_stops_everyone(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        await blue.go()
        before = relay.fingerprint
        await relay.stop()
        (relay.data / "tls.pem").unlink()
        relay.options = ("--new-identity",)
        await relay.start()
        await stopped(red, before, relay.fingerprint)
        await refused(blue)


async def test_a_former_certificate_is_not_believed_again(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
    ):
        former = (relay.data / "tls.pem").read_bytes()
        await order(relay, "next")
        await told(red)
        await order(relay, "switch")
        await red.go()
        await red.come()
        await relay.stop()
        (relay.data / "tls.pem").write_bytes(former)
        await relay.start()
        await stopped(red, relay.fingerprint)


async def test_a_person_is_told_in_one_line(tmp_path: Path) -> None:
    home = {"CLAVE_HOME": str(tmp_path / "home")}
    words = ("-m", "clave_client", "chat", "--name", "red")
    async with relay_at(tmp_path / "relay") as relay:
        async with terminal(*words, "--relay", relay.address, **home) as screen:
            await screen.shows(f"relay fingerprint {relay.fingerprint}")
            await order(relay, "next")
            await order(relay, "switch")
            await relay.stop()
            await relay.start()
            await screen.shows("the relay has another certificate, one that it had announced")
            await screen.shows("online again")
        await relay.stop()
        (relay.data / "tls.pem").unlink()
        relay.options = ("--new-identity",)
        await relay.start()
        async with terminal(*words, **home) as screen:
            assert await screen.ended() == 4
            assert "clave: the relay's key changed, nothing was sent" in screen.text
            assert relay.fingerprint in screen.text.replace("\n", "")


# --- the operator's own ----------------------------------------------------------------------------------


class Operator:
    """Whoever has a certificate of an authority that this machine trusts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.authority = Authority()
        (folder / "authorities.pem").write_bytes(self.authority.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authorities.pem"))
        self.renew()

    def renew(self, host: str = HOST, days: float = 1, authority: Authority | None = None) -> None:
        """Put another certificate where the relay reads it."""
        key = ec_key()
        write_pair(self.folder, (authority or self.authority).vouch(key, host, days), key)

    @property
    def options(self) -> tuple[str, ...]:
        return (
            "--tls-certificate",
            str(self.folder / "chain.pem"),
            "--tls-key",
            str(self.folder / "key.pem"),
        )


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(tmp_path, monkeypatch)


async def reload(relay: Relay) -> None:
    count = sum("certificate reloaded" in line for line in relay.log)
    os.kill(relay.pid, signal.SIGHUP)
    await relay.shows(lambda _: sum("certificate reloaded" in line for line in relay.log) > count)


async def test_renewals_lock_nobody_out_whom_an_authority_convinced_first(
    tmp_path: Path, operator: Operator
) -> None:
    async with (
        relay_at(tmp_path / "relay", *operator.options) as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        assert red.client.connected.vouched
        await blue.go()
        for _ in range(3):
            operator.renew()
            await reload(relay)
        await blue.come()
        notice = await blue.sees(events.Notice)
        assert "one that an authority vouches for: " + blue.client.connected.fingerprint in notice.text
        await red.client.send(room, "nobody noticed")
        await blue.reads("nobody noticed")
        await relay.stop()
        await relay.start()
        await red.sees(events.Notice)
        await red.client.send(room, "still nobody")
        await blue.reads("still nobody")


@pytest.mark.parametrize("fault", ["expired", "another host", "another authority"])
async def test_what_no_authority_vouches_for_is_a_stop_after_all(
    tmp_path: Path, operator: Operator, fault: str
) -> None:
    async with (
        relay_at(tmp_path / "relay", *operator.options) as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
    ):
        await red.go()
        await relay.stop()
        operator.renew(
            "elsewhere.example" if fault == "another host" else HOST,
            -1 if fault == "expired" else 1,
            Authority() if fault == "another authority" else None,
        )
        await relay.start()
        await refused(red)


async def test_the_same_certificate_stays_good_when_it_expires(tmp_path: Path, operator: Operator) -> None:
    async with (
        relay_at(tmp_path / "relay", *operator.options) as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
    ):
        await red.go()
        (tmp_path / "authorities.pem").write_bytes(Authority().pem)  # as good as expired: nobody vouches now
        await red.come()
        assert red.client.connected.fingerprint == relay.fingerprint


async def test_who_gave_the_fingerprint_asks_no_authority(tmp_path: Path, operator: Operator) -> None:
    async with relay_at(tmp_path / "relay", *operator.options) as relay:
        pin = bytes.fromhex(relay.fingerprint.replace(" ", ""))
        with Profile(tmp_path / "home", "red") as profile:
            async with Client(profile, relay.address, pin=pin) as client:
                assert not client.connected.vouched
        await relay.stop()
        operator.renew()
        await relay.start()
        await refused(Somebody(tmp_path / "home", "red", relay))


async def test_who_pinned_follows_a_certificate_that_is_read_again(
    tmp_path: Path, operator: Operator
) -> None:
    (tmp_path / "authorities.pem").write_bytes(Authority().pem)
    async with (
        relay_at(tmp_path / "relay", *operator.options) as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        assert not red.client.connected.vouched
        await blue.go()
        operator.renew()
        await reload(relay)
        await told(red)
        await red.go()
        await red.come()
        assert "had announced" in (await red.sees(events.Notice)).text
        await refused(blue)
