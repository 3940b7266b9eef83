"""What is sent on a connection that was just lost is dropped, and nothing is logged about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_crypto.identity import DeviceKey
from clave_wire import messages as m
from clave_wire.connection import ALPN, RelayConnection
from client.net.test_transport import certificate_context


class BlockingRelay:
    """Lets one client in, from a thread, and ends the connection when asked: by a reset, or in order."""

    def __init__(self, tls: ssl.SSLContext, *, early: bytes = b"") -> None:
        tls.set_alpn_protocols([ALPN])
        self._tls = tls
        self._early = early
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._end = threading.Event()
        self._resets = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.address = RelayAddress(*self._listener.getsockname())

    def _serve(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # no authority signed the certificate: it comes again
            self._tls.wrap_socket(self._listener.accept()[0], server_side=True).close()
        with self._tls.wrap_socket(self._listener.accept()[0], server_side=True) as connection:
            if self._early:
                connection.sendall(self._early)
            relay = RelayConnection()
            while not self._end.is_set():
                for message in relay.receive_data(connection.recv(65536)):
                    if isinstance(message, m.Hello):
                        connection.sendall(relay.greet(bytes(32), "blocking"))
                    if isinstance(message, m.Login):
                        connection.sendall(relay.send(m.LoggedIn("red", True, [], 0, bytes(16))))
                        self._end.wait(30)
            if self._resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self.end(resets=False)
            self._listener.close()

    def end(self, *, resets: bool) -> None:
        """End the connection; when this returns, the kernel has told the other end."""
        self._resets = self._resets or resets
        self._end.set()
        self._thread.join(30)


@pytest.mark.parametrize("resets", [True, False])
async def test_sending_much_at_the_moment_of_a_loss_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, resets: bool
) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")
    relay = BlockingRelay(certificate_context(tmp_path))
    with relay.running():
        link = await RelayTransport.connect(relay.address, CertificateTrust(), lambda _: None)
        await link.login(b"identity", DeviceKey.generate(), "test", "")
        caplog.clear()
        relay.end(resets=resets)
        for number in range(50):  # this turn of the event loop has not heard of it
            link.send(m.Lookup(number, "blue"))
        await link.closed
        for number in range(50):
            link.send(m.Lookup(number, "blue"))
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_relay_that_speaks_before_it_is_asked_breaks_the_protocol(tmp_path: Path) -> None:
    relay = BlockingRelay(certificate_context(tmp_path), early=RelayConnection().closing(m.Code.FULL, "full"))
    with relay.running():
        link = await RelayTransport.connect(relay.address, CertificateTrust(), lambda _: None)
        await asyncio.wait_for(link.closed, 30)
    assert not link.is_up
