"""Which connections are admitted: behind a proxy, without TLS on loopback, and when many log in."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clave_server.admin.http_endpoints import HttpEndpoints
from clave_server.errors import ProxyError, StartError
from clave_server.limits.connection_limits import ConnectionCaps
from clave_server.net import listener
from clave_server.net.login_slots import LoginSlots
from clave_server.net.proxy_protocol import FIXED_BYTES, Peer, read_peer, rest_length
from clave_wire import messages as m
from relaykit import ConnectionClosed, Participant, RawClient, RelayUnderTest, running_relay

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOOPBACK = frozenset({"127.0.0.1"})


def header(source: str, port: int, *, command: int = 0x21, extension: bytes = b"") -> bytes:
    """Return the PROXY header for a peer."""
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    rest = address.packed * 2 + struct.pack(">HH", port, 7878) + extension
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(rest)) + rest


def peer_of(said: bytes) -> Peer | None:
    fixed, rest = said[:FIXED_BYTES], said[FIXED_BYTES:]
    assert rest_length(fixed) == len(rest)
    return read_peer(fixed, rest)


@pytest.mark.parametrize(
    ("said", "peer"),
    [
        (header("203.0.113.9", 4711), ("203.0.113.9", 4711)),
        (header("2001:db8::9", 4711), ("2001:db8::9", 4711)),
        (header("203.0.113.9", 4711, extension=b"\x04\x00\x01x"), ("203.0.113.9", 4711)),
        (header("203.0.113.9", 4711, command=0x20), None),
    ],
)
def test_a_proxy_header_gives_the_peer(said: bytes, peer: tuple[str, int] | None) -> None:
    assert peer_of(said) == peer


@pytest.mark.parametrize(
    "said",
    [
        b"PROXY TCP4 203.0.113.9 203.0.113.1 4711 7878\r\n",
        b"\x16\x03\x01" + bytes(40),
        header("203.0.113.9", 4711, command=0x31),
        header("203.0.113.9", 4711, command=0x22),
        header("203.0.113.9", 4711, extension=bytes(600)),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    ],
)
def test_an_invalid_proxy_header_is_an_error(said: bytes) -> None:
    with pytest.raises(ProxyError):
        peer_of(said)


async def test_the_mirror_shows_the_client_address_given_by_a_trusted_proxy(tmp_path: Path) -> None:
    async with running_relay(tmp_path, proxies=LOOPBACK) as relay:
        client = await RawClient.connect(relay.port, before_tls=header("203.0.113.9", 4711))
        await client.log_in(Participant("red"))
        await client.close()
        await relay.stop()
        assert "red  203.0.113.9:4711  registered" in relay.mirror_text()
        await relay.start()


async def test_a_proxy_may_end_tls_on_loopback(tmp_path: Path) -> None:
    async with running_relay(tmp_path, proxies=LOOPBACK, plain=("127.0.0.1", 0)) as relay:
        said = header("2001:db8::9", 4711)
        client = await RawClient.connect_plain(relay.plain_port, relay.relay.certificate, before=said)
        await client.log_in(Participant("red"))
        await client.close()
        await relay.stop()
        assert "red  [2001:db8::9]:4711  registered" in relay.mirror_text()
        await relay.start()


async def test_a_login_without_tls_is_bound_to_the_certificate_too(tmp_path: Path) -> None:
    async with running_relay(tmp_path, plain=("127.0.0.1", 0)) as relay:
        client = await RawClient.connect_plain(relay.plain_port, bytes(31) + b"\x01")
        with pytest.raises(ConnectionClosed) as caught:
            await client.log_in(Participant("red"))
        assert caught.value.code is m.Code.BAD_LOGIN
        await client.close()


async def test_a_proxy_header_from_any_other_address_is_refused(relay: RelayUnderTest) -> None:
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await RawClient.connect(relay.port, before_tls=header("203.0.113.9", 4711))
    await relay.join("red")


async def test_a_proxy_connection_without_a_header_is_closed(tmp_path: Path) -> None:
    async with running_relay(tmp_path, proxies=LOOPBACK) as relay:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await RawClient.connect(relay.port)
        client = await RawClient.connect(relay.port, before_tls=header("203.0.113.9", 4711))
        await client.log_in(Participant("red"))
        await client.close()


async def test_connections_above_the_address_rate_are_refused_before_tls(tmp_path: Path) -> None:
    async with running_relay(tmp_path, connections=ConnectionCaps(1000, 1000, 1)) as relay:  # ten at once
        clients = [await relay.connect() for _ in range(10)]
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await relay.connect()
        assert relay.relay.context.counters.rate_refusals == 1
        await clients[0].log_in(Participant("red"))


async def test_each_network_has_its_own_connection_rate(tmp_path: Path) -> None:
    async with running_relay(tmp_path, connections=ConnectionCaps(1000, 1000, 1), proxies=LOOPBACK) as relay:

        async def comes(source: str) -> bool:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await (await RawClient.connect(relay.port, before_tls=header(source, 1))).close()
                return True
            return False

        assert [await comes(f"2001:db8::{host}") for host in range(1, 12)] == [True] * 10 + [False]
        assert await comes("2001:db8:0:1::1")
        assert await comes("203.0.113.9")


async def test_silent_connections_lose_their_login_slot_to_waiting_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LoginSlots", partial(LoginSlots, slots=4))
    monkeypatch.setattr(listener, "SLOT_SECONDS", 0.2)
    async with running_relay(tmp_path, login_seconds=60.0) as relay:
        silent = [await asyncio.open_connection("127.0.0.1", relay.port) for _ in range(8)]
        await relay.join("red")  # they had a minute, but for others that wait
        for reader, writer in silent[:4]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        for _, writer in silent[4:]:
            writer.close()


async def test_many_connections_of_other_networks_do_not_delay_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LoginSlots", partial(LoginSlots, slots=8, of_network=2))
    async with running_relay(tmp_path, login_seconds=60.0, proxies=LOOPBACK) as relay:
        crowd = []
        for number in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(header(f"203.0.113.{number % 3}", number + 1))
            crowd.append((reader, writer))
        async with asyncio.timeout(2.0):  # nobody of the crowd gives way before three seconds
            client = await RawClient.connect(relay.port, before_tls=header("198.51.100.1", 1))
            await client.log_in(Participant("red"))
        await client.close()
        for _, writer in crowd:
            writer.close()


async def test_more_logins_than_slots_all_succeed_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LoginSlots", partial(LoginSlots, slots=4))
    async with running_relay(tmp_path) as relay:
        names = [f"n{number}" for number in range(40)]
        clients = await asyncio.gather(*(relay.join(name) for name in names))
        assert sorted(client.logged_in.name for client in clients) == sorted(names)
        assert relay.relay.listener.waiting == 0


async def test_above_the_waiting_limit_the_longest_queue_loses_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_WAITING", 20)
    monkeypatch.setattr(listener, "LoginSlots", partial(LoginSlots, slots=8, of_network=2))
    async with running_relay(tmp_path, login_seconds=60.0, proxies=LOOPBACK) as relay:
        crowd = []
        for number in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(header("203.0.113.1", number + 1))
            crowd.append((reader, writer))
        client = await RawClient.connect(relay.port, before_tls=header("198.51.100.1", 1))
        await client.log_in(Participant("red"))
        assert relay.relay.listener.waiting <= 21
        await client.close()
        for _, writer in crowd:
            writer.close()


# --- addresses that this machine does not have ---------------------------------------------------------


def found(*addresses: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Return a `getaddrinfo` that finds these IPv4 addresses for any host."""
    kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP

    def find(_host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, kind, protocol, "", (address, port)) for address in addresses]

    return find


def test_an_address_that_cannot_be_assigned_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found("192.0.2.1", "127.0.0.1"))
    (listening,) = listener.open_sockets("localhost", 0)
    assert listening.getsockname()[0] == "127.0.0.1"
    listening.close()


def test_a_host_with_no_address_of_this_machine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found("192.0.2.1"))
    with pytest.raises(StartError, match="cannot listen on localhost, port 1: Cannot assign requested"):
        listener.open_sockets("localhost", 1)


def test_a_port_in_use_at_one_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found("127.0.0.2", "127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError, match="in use"):
        listener.open_sockets("localhost", taken.getsockname()[1])


async def test_metrics_are_served_where_there_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found("192.0.2.1", "127.0.0.1"))
    endpoints = await HttpEndpoints.open("localhost", 0, lambda: b"", ready)
    assert [host for host, _ in endpoints.addresses] == ["127.0.0.1"]
    await endpoints.close()


async def ready() -> str:
    return ""
