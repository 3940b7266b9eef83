"""Relays are reached through a SOCKS5 proxy, and what is wrong with it is told in words without secrets."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import Any

import pytest

from clave_client.errors import RelayUnreachable, UsageError
from clave_client.net import transport
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.proxy import Proxy, proxy_of_environment
from clave_client.net.route import open_connection
from clave_client.net.transport import RelayTransport
from socks5kit import Socks5Server

ONION = RelayAddress("abcdefghijklmnopqrstuvwxyz.onion", 7878)
SECRET = "correct:horse@battery/staple%"


async def opened(address: RelayAddress, proxy: Proxy, seconds: float = 30.0) -> socket.socket:
    return await open_connection(address, asyncio.get_running_loop().time() + seconds, proxy)


async def refusal(
    server: Socks5Server, address: RelayAddress = ONION, user: str = "", password: str = ""
) -> str:
    with pytest.raises(RelayUnreachable) as caught:
        await opened(address, Proxy("127.0.0.1", server.port, user, password))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Reading what was given


@pytest.mark.parametrize(
    ("text", "host", "port", "user", "password"),
    [
        ("socks5://127.0.0.1:9050", "127.0.0.1", 9050, "", ""),
        ("socks5h://proxy.example.org:1080/", "proxy.example.org", 1080, "", ""),
        ("SOCKS5://[::1]:9050", "::1", 9050, "", ""),
        ("socks5://red:p%40ss%3Aword@host:1", "host", 1, "red", "p@ss:word"),
    ],
)
def test_a_proxy_is_read(text: str, host: str, port: int, user: str, password: str) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == (host, port, user, password)
    assert Proxy.parse(proxy.encode()) == proxy


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1:9050", "http://host:1", "socks4://host:1", "socks5://host", "socks5://:1", "socks5://"),
        *("socks5://host:0", "socks5://host:99999", "socks5://host:x", "socks5://[::1", "socks5://a..b:1"),
        *("socks5://h:1/path", "socks5://h:1?q", "socks5://red@h:1", "socks5://:secret@h:1"),
        *("socks5://r\u00f6t:secret@h:1", f"socks5://red:{'secret' * 50}@h:1", "\udcff"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Proxy.parse(text)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_password_never_shows() -> None:
    proxy = Proxy("host", 1, "red", SECRET)
    for shown in (str(proxy), repr(proxy), f"{proxy}"):
        assert SECRET not in shown
        assert "red" not in shown
    assert Proxy.parse(proxy.encode()).password == SECRET


PROXY = {"ALL_PROXY": "socks5://127.0.0.1:9050"}


@pytest.mark.parametrize(
    ("environment", "host", "is_taken"),
    [
        ({}, "chat.example.org", False),
        (PROXY, "chat.example.org", True),
        ({"all_proxy": "socks5://127.0.0.1:9050"}, "chat.example.org", True),
        ({"ALL_PROXY": " "}, "chat.example.org", False),
        (PROXY, "localhost", False),
        (PROXY, "relay.localhost", False),
        (PROXY, "127.3.2.1", False),
        (PROXY, "::1", False),
        (PROXY, "192.0.2.1", True),
        ({**PROXY, "NO_PROXY": "other.org, example.org"}, "chat.example.org", False),
        ({**PROXY, "NO_PROXY": "example.org"}, "example.org", False),
        ({**PROXY, "no_proxy": ".example.org"}, "CHAT.example.org.", False),
        ({**PROXY, "no_proxy": "*.example.org"}, "chat.example.org", False),
        ({**PROXY, "NO_PROXY": "ample.org"}, "chat.example.org", True),
        ({**PROXY, "NO_PROXY": "192.0.2.1"}, "192.0.2.1", False),
        ({**PROXY, "NO_PROXY": "*"}, "chat.example.org", False),
        ({**PROXY, "NO_PROXY": ","}, "chat.example.org", True),
    ],
)
def test_the_environment_names_a_proxy(environment: dict[str, str], host: str, is_taken: bool) -> None:
    found = proxy_of_environment(environment, RelayAddress(host, 7878))
    assert found == (Proxy("127.0.0.1", 9050) if is_taken else None)


def test_a_proxy_of_another_kind_in_the_environment_is_refused_unless_it_is_not_needed() -> None:
    environment = {"ALL_PROXY": "http://user:secret@proxy:3128"}
    with pytest.raises(UsageError, match=r"ALL_PROXY cannot be used: .*only SOCKS5") as caught:
        proxy_of_environment(environment, RelayAddress("chat.example.org", 7878))
    assert "secret" not in str(caught.value)
    assert proxy_of_environment(environment, RelayAddress("127.0.0.1", 7878)) is None


# Ways through it


async def test_the_proxy_looks_the_name_up_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[Any] = []
    real = socket.getaddrinfo

    def note(host: Any, *arguments: Any, **options: Any) -> Any:
        looked_up.append(host)
        return real(host, *arguments, **options)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()
        await writer.wait_closed()

    far = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with far, Socks5Server(names={ONION.host: "127.0.0.1"}) as server:
        monkeypatch.setattr(socket, "getaddrinfo", note)
        port = int(far.sockets[0].getsockname()[1])
        with await opened(RelayAddress(ONION.host, port), Proxy("127.0.0.1", server.port)) as connection:
            assert await asyncio.get_running_loop().sock_recv(connection, 4) == b"here"
    assert server.asked == [(ONION.host, port)]
    assert ONION.host not in looked_up


async def test_the_proxy_is_reached_by_any_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != "proxy.invalid":
            return real(host, port, *arguments, **options)
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    async with Socks5Server(reply=2) as server:
        monkeypatch.setattr(socket, "getaddrinfo", two)
        with pytest.raises(RelayUnreachable, match="does not allow it"):
            await opened(ONION, Proxy("proxy.invalid", server.port))
        assert server.asked == [(ONION.host, ONION.port)]


async def test_a_proxy_may_ask_for_a_user_and_a_password() -> None:
    async with Socks5Server(user="red", password=SECRET, reply=5) as server:
        assert "was refused there" in await refusal(server, user="red", password=SECRET)
        assert server.logins == [("red", SECRET)]


# What is wrong


async def test_a_proxy_that_is_not_there() -> None:
    async with Socks5Server() as server:
        pass
    assert await refusal(server) == f"no proxy at {server.url} (connection refused); is it running?"


async def test_a_proxys_name_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(RelayUnreachable, match=r"no host proxy\.invalid; check the proxy's address"):
        await opened(ONION, Proxy("proxy.invalid", 1))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (1, "General SOCKS server failure); check that it is a SOCKS5 proxy, its user and password, and the"),
        (2, "does not allow it; ask who runs the proxy"),
        (3, "finds no network that leads there; check the relay's address"),
        (4, "finds no such host; check the relay's address"),
        (5, "was refused there; is the relay running?"),
        (6, "got no answer there; is the relay running?"),
        (7, "does not open connections; use another proxy"),
        (8, "does not take such an address; name the relay otherwise"),
        (0xF0, "does not connect there (Invalid reply code: 0XF0)"),
    ],
)
async def test_a_proxy_that_refuses(reply: int, words: str) -> None:
    async with Socks5Server(reply=reply) as server:
        said = await refusal(server)
    assert said.startswith(f"no way to {ONION}: the proxy {server.url} ")
    assert words in said


@pytest.mark.parametrize(("user", "password"), [("red", "wrong-" + SECRET), ("", "")])
async def test_wrong_credentials(user: str, password: str) -> None:
    async with Socks5Server(user="red", password="right") as server:
        said = await refusal(server, user=user, password=password)
    assert "uthentication" in said
    assert "its user and password" in said
    assert SECRET not in said


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05", b"\x04\x5b"])
async def test_something_else_in_the_proxys_place(greeting: bytes) -> None:
    async with Socks5Server(greeting=greeting) as server:
        assert "check that it is a SOCKS5 proxy" in await refusal(server)


async def test_a_proxy_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PROXY_CONNECT_SECONDS", 0.1)
    async with Socks5Server(greeting=b"") as server:
        proxy = Proxy("127.0.0.1", server.port)
        with pytest.raises(RelayUnreachable, match=r"the proxy .* takes too long; check it, or"):
            await RelayTransport.connect(ONION, CertificateTrust(), lambda _: None, proxy=proxy)


def test_without_a_proxy_nothing_for_one_is_loaded() -> None:
    code = "import sys, clave_client.client; sys.exit('python_socks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


async def test_an_onion_service_is_never_looked_up_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a name server was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for host in ("abcdefghijklmnopqrstuvwxyz.onion", "chat.ABCDEFGHIJKLMNOPQRSTUVWXYZ.ONION"):
        with pytest.raises(RelayUnreachable, match="reached through Tor"):
            await RelayTransport.connect(RelayAddress(host, 7878), CertificateTrust(), lambda _: None)
