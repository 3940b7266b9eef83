"""The relay: its parts put together, started, and stopped in order. Knows no command line."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from clave_server.accounts.registration import Admission, Doors
from clave_server.errors import Refusal
from clave_server.limits.bans import Bans, read_bans
from clave_server.limits.quotas import NO_QUOTA, Quota, Usages
from clave_server.limits.token_buckets import Buckets, network_of
from clave_server.net.listener import Entrance, Listener, open_sockets
from clave_server.net.proxy_protocol import Peer
from clave_server.net.send_queue import MAX_OUTBOX_BYTES, Tick
from clave_server.net.systemd import passed_sockets
from clave_server.net.tls import Credentials, TlsFiles
from clave_server.net.transport import ClientTransport, Transports
from clave_server.observe.counters import Tally
from clave_server.observe.mirror import Mirror
from clave_server.relay.certificates import Certificates
from clave_server.relay.client_handler import House, Visit
from clave_server.rooms.invitations import highest_ids
from clave_server.rooms.retention import FOREVER, Keeping
from clave_server.rooms.retention_task import Pruner
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.session import Session
from clave_server.storage import incarnation, schema
from clave_server.storage.data_dir import DataFolder
from clave_server.storage.db_thread import Worker
from clave_wire.connection import State
from clave_wire.messages import Code

__all__ = ["Relay", "Settings"]

_STOP_SECONDS: Final = 3.0
"""How long clients may take to read that the relay shuts down."""

_ACCOUNT_BURST: Final = 10
_ADDRESS_BURST: Final = 10
"""Seconds' worth that may come at once."""

_MAX_COUNTED: Final = 100_000
"""Accounts, and networks, whose pace is remembered at a time."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """What a relay needs to know. Sizes in bytes, times in seconds.

    `address_rate` is connections of one network, `account_rate` requests of one account, per second; 0 is no
    limit.
    """

    host: str | None
    port: int
    admission: Admission
    max_clients: int
    max_clients_per_ip: int
    plain: tuple[str, int] | None = None
    proxies: frozenset[str] = frozenset()
    tls: TlsFiles | None = None
    address_rate: int = 0
    account_rate: int = 0
    quota: Quota = NO_QUOTA
    keeping: Keeping = FOREVER
    login_seconds: float = 10.0
    outbox_bytes: int = MAX_OUTBOX_BYTES


class Relay:
    """A running relay. Made by `start`, on the running loop; `stop` ends it."""

    def __init__(
        self,
        certificates: Certificates,
        house: House,
        transports: Transports,
        reader: Worker,
        writer: Worker,
        listener: Listener,
        pruner: Pruner,
    ) -> None:
        self.certificates = certificates
        self.house = house
        self.transports = transports
        self.reader = reader
        self.writer = writer
        self.listener = listener
        self.pruner = pruner

    @property
    def certificate(self) -> bytes:
        """The digest of the certificate that new connections are shown."""
        return self.certificates.present.digest

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens for TLS, as (host, port)."""
        return [entrance.address for entrance in self.listener.entrances if entrance.encrypted]

    @classmethod
    async def start(cls, settings: Settings, folder: DataFolder, mirror: Mirror) -> Relay:
        """Open the store and listen. Raises `StartError`."""
        loop = asyncio.get_running_loop()
        certificates = Certificates.open(folder, settings.tls, dt.datetime.now(dt.UTC))
        entrances = _open_entrances(settings)
        connection = schema.connect_writer(folder.database)
        with schema.start_errors(folder.database):
            if incarnation.begin_anew(connection):
                _log.warning("restored from a backup; whoever comes back is told so")
            used_ids, bans = highest_ids(connection), Bans(read_bans(connection))
            present = incarnation.read_incarnation(connection)
        writer = Worker("log writer", connection, loop)
        reader = Worker("log reader", schema.connect_reader(folder.database), loop)
        house = _build_house(settings, writer, reader, mirror, used_ids, bans, present)
        transports, tick = Transports(house.tally), Tick(loop)

        def client(peer: Peer, shown: Credentials) -> ClientTransport:
            visit = Visit(house, partial(certificates.announcement, shown.digest))
            return ClientTransport(
                visit, peer, shown.digest, transports, tick, settings.login_seconds, settings.outbox_bytes
            )

        listener = Listener(
            entrances,
            lambda: certificates.present,
            proxies=settings.proxies,
            admit=_Gate(settings.address_rate, house.tally).admit,
            make=client,
            login_seconds=settings.login_seconds,
        )
        pruner = Pruner(settings.keeping, reader, house.sequencer, house.usages, house.tally)
        return cls(certificates, house, transports, reader, writer, listener, pruner)

    def announce(self) -> None:
        """Tell everyone connected which certificate they would be shown if they came back."""
        for transport in tuple(self.transports):
            message = self.certificates.announcement(transport.certificate)
            if message is not None and transport.connection.state is State.OPEN:
                transport.outbox.push(transport.connection.send(message))

    async def stop(self) -> None:
        """Stop accepting, bring what was accepted to disk, tell everyone, close."""
        self.listener.close()
        self.pruner.stop()
        self.transports.hold_reading()
        await self.house.sequencer.drain()
        self.transports.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.transports.empty.wait()
        await self.house.sequencer.drain()
        self.reader.stop()
        self.writer.stop()


class _Gate:
    """Judges a connection before anything is spent on it."""

    def __init__(self, rate: int, tally: Tally) -> None:
        self._rates = Buckets[str](rate, rate * _ADDRESS_BURST, _MAX_COUNTED) if rate else None
        self._tally = tally

    def admit(self, ip: str) -> None:
        """Raise `Refusal` if this address's network connects too often."""
        if self._rates is not None and self._rates.take(network_of(ip), time.monotonic()):
            self._tally.rate_refusals += 1
            raise Refusal(Code.FULL, "too many connections from this address")


def _open_entrances(settings: Settings) -> list[Entrance]:
    listening = passed_sockets() or open_sockets(settings.host, settings.port)
    entrances = [Entrance(found, True) for found in listening]
    if settings.plain is not None:
        entrances += [Entrance(found, False) for found in open_sockets(*settings.plain)]
    return entrances


def _build_house(
    settings: Settings,
    writer: Worker,
    reader: Worker,
    mirror: Mirror,
    used_ids: tuple[int, int],
    bans: Bans,
    incarnation: bytes,
) -> House:
    sessions: dict[bytes, Session] = {}
    tally, usages = Tally(), Usages(settings.quota)
    sequencer = Sequencer(
        writer=writer,
        reader=reader,
        mirror=mirror,
        sessions=sessions,
        highest_ids=used_ids,
        usages=usages,
        tally=tally,
    )
    rate = settings.account_rate
    rates = Buckets[bytes](rate, rate * _ACCOUNT_BURST, _MAX_COUNTED) if rate else None
    doors = Doors(settings.max_clients, settings.max_clients_per_ip, bans)
    return House(
        settings.admission, doors, reader, sequencer, sessions, mirror, tally, usages, rates, incarnation
    )
