from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clave_client.errors import NotARelay, RelayChanged, RelayUnreachable, UsageError
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_wire.connection import ALPN

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("chat.example.org", "chat.example.org", 7878),
        ("chat.example.org:99", "chat.example.org", 99),
        ("127.0.0.1:7878", "127.0.0.1", 7878),
        ("[::1]:99", "::1", 99),
        ("[::1]", "::1", 7878),
        ("::1", "::1", 7878),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    address = RelayAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert RelayAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", ":99", "host:", "host:0", "host:65536", "host:x", "host:-1"])
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        RelayAddress.parse(text)


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[RelayAddress]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield RelayAddress(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "something else")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(certificate + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


async def _banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-something\r\n" * 20)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("serve", [_banner, _hang_up])
async def test_another_service_on_the_port_is_recognised(serve: Serve) -> None:
    async with serving(serve) as address:
        with pytest.raises(NotARelay, match="check the port"):
            await RelayTransport.connect(address, CertificateTrust(), lambda _: None)


async def test_a_connection_refused_before_tls_is_reported_as_maybe_temporary() -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken: socket.socket = writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with serving(reset) as address:
        with pytest.raises(NotARelay, match=r"wait a minute: .*too many connections from your address"):
            await RelayTransport.connect(address, CertificateTrust(), lambda _: None)


async def test_another_tls_service_is_recognised(tls: ssl.SSLContext) -> None:
    async with serving(_hang_up, tls) as address:
        with pytest.raises(NotARelay, match="speaks TLS, but not as a clave relay"):
            await RelayTransport.connect(address, CertificateTrust(), lambda _: None)


async def test_a_changed_certificate_stops_before_anything_is_sent(tls: ssl.SSLContext) -> None:
    heard: list[bytes] = []
    done = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            heard.append(await reader.read())
        writer.close()
        done.set()

    tls.set_alpn_protocols([ALPN])
    async with serving(listen, tls) as address:
        with pytest.raises(RelayChanged) as caught:
            await RelayTransport.connect(address, CertificateTrust(bytes(32)), lambda _: None)
        await done.wait()
    assert "0000 0000" in str(caught.value), "the expected fingerprint is shown"
    assert str(caught.value).count("; ") == 1
    assert "got " in str(caught.value)
    assert heard in ([], [b""])


async def test_nothing_listening_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RelayUnreachable, match="is it running"):
        await RelayTransport.connect(RelayAddress("127.0.0.1", port), CertificateTrust(), lambda _: None)


async def test_an_unknown_host_is_one_line() -> None:
    with pytest.raises(RelayUnreachable, match="no host"):
        await RelayTransport.connect(
            RelayAddress("no-such-host.invalid", 1), CertificateTrust(), lambda _: None
        )
