"""Two people who talk on while a crowd comes and goes, and how long each word took to the other."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

from bench.relay.generator import LoadError
from clave_crypto.identity import DeviceKey
from clave_crypto.keys import Secret
from clave_wire import messages as m
from clave_wire.connection import ClientConnection
from clave_wire.login import certificate_digest

__all__ = ["Voice", "read_voices"]

_EVERY_SECONDS = 0.05
_AGAIN_SECONDS = 0.1


class Voice:
    """One of two in a room; comes back at once whenever the connection ends."""

    def __init__(self, line: str) -> None:
        seed, identity, room, cursor, read = line.split()
        self.key = DeviceKey.from_secret(Secret(bytes.fromhex(seed)))
        self.identity = bytes.fromhex(identity)
        self.room = bytes.fromhex(room)
        self.read = int(read)
        self.delays: list[float] = []
        self._cursor = int(cursor)
        self._submission = 0
        self._here_since = float("inf")

    async def talk(self, port: int) -> None:
        """Connect, talk and listen, again and again, until cancelled."""
        while True:
            with contextlib.suppress(OSError, EOFError):
                await self._visit(port)
            self._here_since = float("inf")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _visit(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["clave/1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        connection = ClientConnection()
        speaking: asyncio.Task[None] | None = None
        try:
            writer.write(connection.hello("bench"))
            while data := await reader.read(2**16):
                for message in connection.receive_data(data):
                    if isinstance(message, m.Greeting):
                        writer.write(connection.send(self._login(connection, writer)))
                    elif isinstance(message, m.LoggedIn):
                        writer.write(connection.send(m.Resume(1, self.room, self._cursor)))
                    elif isinstance(message, m.Resumed):
                        self._submission = message.submission
                        self._here_since = time.monotonic()
                        speaking = asyncio.create_task(self._speak(connection, writer))
                    else:
                        self._hear(message)
        finally:
            if speaking:
                speaking.cancel()
            writer.close()

    def _login(self, connection: ClientConnection, writer: asyncio.StreamWriter) -> m.Login:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        transcript = connection.transcript(certificate_digest(certificate), self.identity)
        return m.Login(self.key.public, self.identity, self.key.sign(transcript), "")

    async def _speak(self, connection: ClientConnection, writer: asyncio.StreamWriter) -> None:
        while True:
            self._submission += 1
            words = b"%.6f" % time.monotonic()
            said = m.Submit(self.room, self._submission, self.read, m.Kind.APPLICATION, words)
            writer.write(connection.send(said))
            await asyncio.sleep(_EVERY_SECONDS)

    def _hear(self, message: m.ToClient) -> None:
        if isinstance(message, m.Entry | m.Accepted):
            self._cursor = message.seq
        if isinstance(message, m.Entry) and (said := float(message.payload)) >= self._here_since:
            self.delays.append(time.monotonic() - said)


def read_voices(accounts: Path) -> tuple[Voice, Voice]:
    """Take the last two accounts of the file, who have a room of their own. Raises `LoadError`."""
    lines = accounts.read_text().splitlines()
    if len(lines) < 2:
        raise LoadError(f"{accounts} holds nobody to talk")
    return Voice(lines[-2]), Voice(lines[-1])
