"""What is in the log of connections that come to nothing: looks and scans are no failures, the rest is."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from clave_wire.connection import ALPN
from relaykit import PATIENCE_SECONDS, ConnectionClosed, Participant, RawClient, RelayProcess


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)


def hang_up(port: int) -> None:
    connect(port).close()


def hang_up_within_the_handshake(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"\x16\x03\x01")


def reset_within_the_handshake(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"\x16\x03\x01")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def look_at_the_certificate(port: int) -> None:
    with tls().wrap_socket(connect(port)) as connection:
        assert connection.getpeercert(binary_form=True)


def refuse_the_certificate(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ssl.SSLError), connect(port) as connection:
        context.wrap_socket(connection)


def ask_for_a_page(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.recv(1000)


LOOKS = [
    hang_up,
    hang_up_within_the_handshake,
    reset_within_the_handshake,
    look_at_the_certificate,
    refuse_the_certificate,
    ask_for_a_page,
]


async def log_of(process: RelayProcess) -> list[str]:
    """Stop a relay; return what its log says of connections."""
    process.process.send_signal(signal.SIGTERM)
    _, log = await process.process.communicate()
    return [line for line in log.decode().splitlines() if "  connection" in line]


@pytest.mark.parametrize("look", LOOKS)
async def test_a_look_is_logged_for_debugging_only(tmp_path: Path, look: Callable[[int], None]) -> None:
    async with RelayProcess(tmp_path / "data", "--log-level", "debug") as process:
        await asyncio.to_thread(look, process.port)
        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        await client.close()  # who came before has been handled
        (line,) = await log_of(process)
    assert "  debug  connection " in line


async def test_real_failures_are_in_the_log(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data", "--registration", "closed") as process:
        await asyncio.to_thread(look_at_the_certificate, process.port)
        with pytest.raises(ConnectionClosed):
            await (await RawClient.connect(process.port)).log_in(Participant("red"))
        old = tls()
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES128-SHA")
        with pytest.raises(OSError):  # noqa: PT011  (an alert, or the end)
            await asyncio.to_thread(old.wrap_socket, connect(process.port))
        client = await RawClient.connect(process.port)
        lines = await log_of(process)
        await client.close()
    refused, failed, *rest = lines
    assert "  info  connection ended before login  address=127.0.0.1:" in refused
    assert refused.endswith("reason=login refused: this relay takes no new names")
    assert "  info  connection failed  address=127.0.0.1  reason=[SSL: " in failed
    assert all("shut down" in line for line in rest)
