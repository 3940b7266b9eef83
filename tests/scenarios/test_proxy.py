"""The story of people who reach their relay through a proxy, as by Tor, and never without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clave_client.client import Client
from clave_client.errors import RelayUnreachable
from clave_client.net.address import RelayAddress
from clave_client.rpc.session import Session
from clave_client.store.profile import Profile
from scenarios.stage import Relay, relay_at
from scenarios.test_bad_input import Ran, clave
from socks5kit import Socks5Server

ONION = "abcdefghijklmnopqrstuvwxyz.onion"
SECRET = "battery-staple"


@pytest.fixture(autouse=True)
def _no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def port_of(relay: Relay) -> int:
    return RelayAddress.parse(relay.address).port


async def chat(home: Path, *words: str, given: str = "exit\n", **environment: str) -> Ran:
    return await clave("chat", "--name", "red", *words, home=home, given=given, environment=environment)


async def test_a_relay_behind_a_name_that_only_the_proxy_knows(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, Socks5Server(names={ONION: "127.0.0.1"}) as proxy:
        onion = f"{ONION}:{port_of(relay)}"
        came = await chat(home, "--relay", onion, "--proxy", proxy.url, given="/new friends\nhello\nexit\n")
        assert came.status == 0, came.err
        assert relay.fingerprint in came.out, "the relay's own certificate is pinned through it"
        sent = await clave("send", "friends", "again", home=home)
        assert (sent.status, sent.err) == (0, ""), "other commands take the proxy that was remembered"
        assert set(proxy.asked) == {(ONION, port_of(relay))}


async def test_a_profile_that_was_told_a_proxy_never_connects_without(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        async with Socks5Server() as proxy:
            # At this address the relay could be reached without.
            await chat(home, "--relay", relay.address, "--proxy", proxy.url, given="/new friends\nexit\n")
            asked = len(proxy.asked)
            assert asked > 0
        waits = await clave("send", "--wait", "1", "friends", "one", home=home)
        assert waits.status == 5, "it waits for the proxy"
        other = await clave(
            "send",
            "--wait",
            "1",
            "friends",
            "two",
            home=home,
            environment={"ALL_PROXY": "socks5://127.0.0.1:1"},
        )
        assert other.status == 5
        told = await chat(home, given="")
        assert f"no proxy at {proxy.url} (connection refused); is it running?" in told.out
        without = await chat(home, "--proxy", "none", given="/room friends\n/history\nexit\n")
        assert "one" in without.out, "unless it is told so"
        assert (await clave("send", "friends", "three", home=home)).status == 0


async def test_a_proxy_that_fails_at_once_is_remembered_all_the_same(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        assert (await chat(home, "--relay", relay.address, given="/new friends\nexit\n")).status == 0
        gone = "socks5://127.0.0.1:1"
        assert "no proxy at" in (await chat(home, "--proxy", gone, given="")).out
        assert (await clave("send", "--wait", "1", "friends", "hello", home=home)).status == 5
        wrong = await chat(home, "--proxy", "http://127.0.0.1:1")
        assert wrong.status == 2
        assert "only SOCKS5 is supported" in wrong.line
        assert (await clave("send", "--wait", "1", "friends", "hello", home=home)).status == 5


async def test_a_new_profile_whose_proxy_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    words = ("--relay", "chat.example.org:7878")
    for more, environment, line in (
        (("--proxy", "socks4://127.0.0.1:1"), {}, "a proxy is given as socks5://127.0.0.1:9050"),
        (("--proxy", "socks5://127.0.0.1:1"), {}, "no proxy at socks5://127.0.0.1:1"),
        ((), {"ALL_PROXY": "http://127.0.0.1:1"}, "ALL_PROXY cannot be used"),
        ((), {"ALL_PROXY": "socks5h://127.0.0.1:1"}, "no proxy at socks5://127.0.0.1:1"),
    ):
        ran = await chat(home, *words, *more, **environment)
        assert line in ran.line
        assert "no profile" in (await chat(home)).line


async def test_the_environment_names_a_proxy_with_its_credentials(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        Socks5Server(names={ONION: "127.0.0.1"}, user="red", password=SECRET) as proxy,
    ):
        onion = f"{ONION}:{port_of(relay)}"
        wrong = f"socks5://red:wrong-{SECRET}@127.0.0.1:{proxy.port}"
        refused = await chat(home, "--relay", onion, ALL_PROXY=wrong)
        assert refused.status == 4
        assert "its user and password" in refused.line
        assert SECRET not in refused.line
        right = f"socks5h://red:{SECRET}@127.0.0.1:{proxy.port}"
        assert (await chat(home, "--relay", onion, given="/new friends\nexit\n", ALL_PROXY=right)).status == 0
        assert (
            await clave("send", "friends", "hello", home=home, environment={"all_proxy": right})
        ).status == 0
        waits = await clave("send", "--wait", "1", "friends", "hello", home=home)
        assert waits.status == 5, "it is read each time, and nobody here knows the name"
        # Loopback needs no proxy, and the option wins.
        assert (await chat(home, "--relay", relay.address, ALL_PROXY="socks5://127.0.0.1:1")).status == 0
        asked = len(proxy.asked)
        await chat(home, "--relay", onion, "--proxy", right, ALL_PROXY="socks5://127.0.0.1:1")
        assert len(proxy.asked) > asked


async def test_a_proxys_password_is_in_no_file_in_clear(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        Socks5Server(user="red", password=SECRET) as proxy,
    ):
        given = f"socks5://red:{SECRET}@127.0.0.1:{proxy.port}"
        came = await chat(home, "--relay", relay.address, "--proxy", given)
        assert (came.status, SECRET in came.out + came.err) == (0, False)
        files = [path for path in home.rglob("*") if path.is_file()]
        assert len(files) > 1
        assert not any(SECRET.encode() in path.read_bytes() for path in files)


async def test_another_process_that_holds_the_profile_is_not_told_a_proxy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        async with Session(Profile(home, "red"), lambda opened: Client(opened, relay.address)):
            ran = await chat(home, "--proxy", "socks5://127.0.0.1:1")
        assert ran.status == 2
        assert ran.line == (
            f"process {os.getpid()} holds this profile and is connected already; end it,"
            " then give --proxy again"
        )


async def test_a_program_names_a_proxy_for_its_client(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay, Socks5Server() as proxy:
        with Profile(tmp_path / "home", "red") as profile:
            async with Client(profile, relay.address, proxy=proxy.url):
                assert proxy.asked
        with Profile(tmp_path / "home", "blue") as profile, pytest.raises(RelayUnreachable, match="no proxy"):
            async with Client(profile, relay.address, proxy="socks5://127.0.0.1:1"):
                pass


async def test_through_a_proxy_too_another_certificate_is_refused(tmp_path: Path) -> None:
    home, names = tmp_path / "home", {ONION: "127.0.0.1"}
    async with relay_at(tmp_path / "relay") as relay, Socks5Server(names=names) as proxy:
        onion = f"{ONION}:{port_of(relay)}"
        assert (await chat(home, "--relay", onion, "--proxy", proxy.url)).status == 0
        async with relay_at(tmp_path / "other") as other:
            changed = await chat(home, "--relay", f"{ONION}:{port_of(other)}")
            assert changed.status == 4
            assert "the relay's key changed, nothing was sent" in changed.err
