"""The relay: its parts put together, started, and stopped in order. Knows no command line."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import Final

import structlog

from clave_server import directory, schema
from clave_server.admission import Admission, Doors
from clave_server.errors import StartError
from clave_server.folder import DataFolder
from clave_server.mirror import Mirror
from clave_server.outbox import MAX_OUTBOX_BYTES, Tick
from clave_server.sequencer import Sequencer
from clave_server.session import Session
from clave_server.tls import ServerTLS, open_tls
from clave_server.transport import ClientTransport, Transports
from clave_server.visit import House, Visit
from clave_server.worker import Worker

__all__ = ["Relay", "Settings"]

_STOP_SECONDS: Final = 3.0
"""How long clients may take to read that the relay shuts down."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """What a relay needs to know. Sizes in bytes, times in seconds."""

    host: str | None
    port: int
    admission: Admission
    max_clients: int
    max_clients_per_ip: int
    login_seconds: float = 10.0
    outbox_bytes: int = MAX_OUTBOX_BYTES


class Relay:
    """A running relay. Made by `start`, on the running loop; `stop` ends it."""

    def __init__(
        self,
        certificate: bytes,
        sequencer: Sequencer,
        transports: Transports,
        workers: tuple[Worker, ...],
        server: asyncio.Server,
    ) -> None:
        self.certificate = certificate
        self._sequencer = sequencer
        self._transports = transports
        self._workers = workers
        self._server = server

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, as (host, port)."""
        return [socket.getsockname()[:2] for socket in self._server.sockets]

    @classmethod
    async def start(cls, settings: Settings, folder: DataFolder, mirror: Mirror) -> Relay:
        """Open the store and listen. Raises `StartError`."""
        loop = asyncio.get_running_loop()
        tls = open_tls(folder.certificate, dt.datetime.now(dt.UTC))
        connection = schema.connect_writer(folder.database)
        highest_ids = directory.highest_ids(connection)
        writer = Worker("log writer", connection, loop)
        reader = Worker("log reader", schema.connect_reader(folder.database), loop)
        house = _build_house(settings, tls, writer, reader, mirror, highest_ids)
        transports, tick = Transports(), Tick(loop)

        def client() -> ClientTransport:
            return ClientTransport(
                Visit(house), transports, tick, settings.login_seconds, settings.outbox_bytes
            )

        try:
            server = await loop.create_server(
                client,
                settings.host,
                settings.port,
                ssl=tls.context,
                ssl_handshake_timeout=settings.login_seconds,
                backlog=1024,
            )
        except OSError as error:
            reader.stop()
            writer.stop()
            where = f"{settings.host or 'any address'}, port {settings.port}"
            raise StartError(f"cannot listen on {where}: {error.strerror}") from None
        return cls(tls.digest, house.sequencer, transports, (reader, writer), server)

    async def stop(self) -> None:
        """Stop accepting, bring what was accepted to disk, tell everyone, close."""
        self._server.close()
        self._transports.hold_reading()
        await self._sequencer.drain()
        self._transports.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._transports.empty.wait()
        for worker in self._workers:
            worker.stop()


def _build_house(
    settings: Settings,
    tls: ServerTLS,
    writer: Worker,
    reader: Worker,
    mirror: Mirror,
    highest_ids: tuple[int, int],
) -> House:
    sessions: dict[bytes, Session] = {}
    sequencer = Sequencer(
        writer=writer,
        reader=reader,
        mirror=mirror,
        sessions=sessions,
        highest_ids=highest_ids,
    )
    doors = Doors(settings.max_clients, settings.max_clients_per_ip)
    return House(settings.admission, doors, tls.digest, reader, sequencer, sessions, mirror)
