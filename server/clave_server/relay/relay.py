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

from clave_server.accounts.registration import ConnectionLimits, RegistrationPolicy
from clave_server.errors import Refusal
from clave_server.limits.bans import Bans, read_bans
from clave_server.limits.quotas import NO_QUOTA, Quota, QuotaTracker
from clave_server.limits.token_buckets import TokenBuckets, network_of
from clave_server.net.listener import Listener, ListeningSocket, open_sockets
from clave_server.net.proxy_protocol import Peer
from clave_server.net.send_queue import MAX_SEND_QUEUE_BYTES, Tick
from clave_server.net.systemd import passed_sockets
from clave_server.net.tls import Credentials, TlsFiles
from clave_server.net.transport import ClientTransport, Transports
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import Mirror
from clave_server.relay.certificates import Certificates
from clave_server.relay.client_handler import ClientHandler, RelayContext
from clave_server.rooms.invitations import highest_ids
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy
from clave_server.rooms.retention_task import RetentionTask
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.session import Session
from clave_server.storage import incarnation, schema
from clave_server.storage.data_dir import DataDir
from clave_server.storage.db_thread import DbThread
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
    admission: RegistrationPolicy
    max_clients: int
    max_clients_per_ip: int
    plain: tuple[str, int] | None = None
    proxies: frozenset[str] = frozenset()
    tls: TlsFiles | None = None
    address_rate: int = 0
    account_rate: int = 0
    quota: Quota = NO_QUOTA
    policy: RetentionPolicy = KEEP_ALL
    login_seconds: float = 10.0
    outbox_bytes: int = MAX_SEND_QUEUE_BYTES


class Relay:
    """A running relay. Made by `start`, on the running loop; `stop` ends it."""

    def __init__(
        self,
        certificates: Certificates,
        context: RelayContext,
        transports: Transports,
        reader: DbThread,
        writer: DbThread,
        listener: Listener,
        retention_task: RetentionTask,
    ) -> None:
        self.certificates = certificates
        self.context = context
        self.transports = transports
        self.reader = reader
        self.writer = writer
        self.listener = listener
        self.retention_task = retention_task

    @property
    def certificate(self) -> bytes:
        """The digest of the certificate that new connections are shown."""
        return self.certificates.present.digest

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens for TLS, as (host, port)."""
        return [entrance.address for entrance in self.listener.entrances if entrance.encrypted]

    @classmethod
    async def start(cls, settings: Settings, folder: DataDir, mirror: Mirror) -> Relay:
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
        writer = DbThread("log writer", connection, loop)
        reader = DbThread("log reader", schema.connect_reader(folder.database), loop)
        context = _build_context(settings, writer, reader, mirror, used_ids, bans, present)
        transports, tick = Transports(context.counters), Tick(loop)

        def client(peer: Peer, shown: Credentials) -> ClientTransport:
            visit = ClientHandler(context, partial(certificates.announcement, shown.digest))
            return ClientTransport(
                visit, peer, shown.digest, transports, tick, settings.login_seconds, settings.outbox_bytes
            )

        listener = Listener(
            entrances,
            lambda: certificates.present,
            proxies=settings.proxies,
            admit=_Gate(settings.address_rate, context.counters).admit,
            make=client,
            login_seconds=settings.login_seconds,
        )
        retention_task = RetentionTask(
            settings.policy, reader, context.sequencer, context.quotas, context.counters
        )
        return cls(certificates, context, transports, reader, writer, listener, retention_task)

    def announce(self) -> None:
        """Tell everyone connected which certificate they would be shown if they came back."""
        for transport in tuple(self.transports):
            message = self.certificates.announcement(transport.certificate)
            if message is not None and transport.connection.state is State.OPEN:
                transport.send_queue.push(transport.connection.send(message))

    async def stop(self) -> None:
        """Stop accepting, bring what was accepted to disk, tell everyone, close."""
        self.listener.close()
        self.retention_task.stop()
        self.transports.hold_reading()
        await self.context.sequencer.drain()
        self.transports.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.transports.empty.wait()
        await self.context.sequencer.drain()
        self.reader.stop()
        self.writer.stop()


class _Gate:
    """Judges a connection before anything is spent on it."""

    def __init__(self, rate: int, counters: Counters) -> None:
        self._rates = TokenBuckets[str](rate, rate * _ADDRESS_BURST, _MAX_COUNTED) if rate else None
        self._counters = counters

    def admit(self, ip: str) -> None:
        """Raise `Refusal` if this address's network connects too often."""
        if self._rates is not None and self._rates.take(network_of(ip), time.monotonic()):
            self._counters.rate_refusals += 1
            raise Refusal(Code.FULL, "too many connections from this address")


def _open_entrances(settings: Settings) -> list[ListeningSocket]:
    listening = passed_sockets() or open_sockets(settings.host, settings.port)
    entrances = [ListeningSocket(found, True) for found in listening]
    if settings.plain is not None:
        entrances += [ListeningSocket(found, False) for found in open_sockets(*settings.plain)]
    return entrances


def _build_context(
    settings: Settings,
    writer: DbThread,
    reader: DbThread,
    mirror: Mirror,
    used_ids: tuple[int, int],
    bans: Bans,
    incarnation: bytes,
) -> RelayContext:
    sessions: dict[bytes, Session] = {}
    counters, quotas = Counters(), QuotaTracker(settings.quota)
    sequencer = Sequencer(
        writer=writer,
        reader=reader,
        mirror=mirror,
        sessions=sessions,
        highest_ids=used_ids,
        quotas=quotas,
        counters=counters,
    )
    rate = settings.account_rate
    rates = TokenBuckets[bytes](rate, rate * _ACCOUNT_BURST, _MAX_COUNTED) if rate else None
    limits = ConnectionLimits(settings.max_clients, settings.max_clients_per_ip, bans)
    return RelayContext(
        settings.admission, limits, reader, sequencer, sessions, mirror, counters, quotas, rates, incarnation
    )
