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
from clave_client.net import transport
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.proxy import Proxy
from clave_client.net.route import open_connection
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


@pytest.mark.parametrize(
    "host",
    [
        "a..b",
        ".example.org",
        "x" * 70 + ".org",
        "a b",
        "host\x00",
        "\udcff",
        "a/b",
        ".",
        "x." * 140,
        "a@b.org",
    ],
)
@pytest.mark.parametrize("port", [":7878", ""])
def test_what_cannot_be_a_host_is_refused_in_words(host: str, port: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be a host's name: .*; check the relay's address"):
        RelayAddress.parse(host + port)


@pytest.mark.parametrize("text", ["[::g]:1", "1:2:3", "[1.2.3.4]x:1"])
def test_what_is_no_ipv6_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no IPv6 address|is not an address"):
        RelayAddress.parse(text)


@pytest.mark.parametrize("text", ["b\xfccher.example", "\u65e5\u672c.example:99"])
def test_a_name_beyond_ascii_is_looked_up_and_shown_as_ascii(text: str) -> None:
    address = RelayAddress.parse(text)
    assert address.host.startswith("xn--")
    assert RelayAddress.parse(str(address)) == address


def test_a_name_may_end_with_a_dot_and_a_container_may_have_an_underscore() -> None:
    assert RelayAddress.parse("chat.example.org.:1").host == "chat.example.org."
    assert RelayAddress.parse("clave_relay:1").host == "clave_relay"


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
    return certificate_context(tmp_path)


def certificate_context(folder: Path) -> ssl.SSLContext:
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
    (folder / "both.pem").write_bytes(certificate + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
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


async def test_connecting_passes_its_deadline_on_to_the_login(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[float] = []

    async def note(address: RelayAddress, deadline: float, proxy: Proxy | None) -> socket.socket:
        deadlines.append(deadline)
        return await open_connection(address, deadline, proxy)

    monkeypatch.setattr(transport, "open_connection", note)
    tls.set_alpn_protocols([ALPN])
    async with serving(_wait, tls) as address:
        link = await RelayTransport.connect(address, CertificateTrust(), lambda _: None)
        assert [*deadlines, link.deadline] == [deadlines[0]] * 3, "one for both attempts and the login"
        link.abort()
        await link.closed


async def _wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()
