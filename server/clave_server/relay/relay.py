"""Assembles the relay, starts it, and stops its parts in order. Knows no command line."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from functools import partial
from typing import Final

import structlog

from clave_host.clock import now_ms
from clave_server.limits.bans import Bans, read_bans
from clave_server.limits.connection_limits import ConnectionLimits
from clave_server.limits.quotas import QuotaTracker
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.net.listener import Listener, ListeningSocket, open_sockets
from clave_server.net.proxy_protocol import Peer
from clave_server.net.send_queue import Tick
from clave_server.net.systemd import passed_sockets
from clave_server.net.tls import Credentials
from clave_server.net.transport import ClientTransport, Transports
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import Mirror
from clave_server.relay.certificates import Certificates, check_identity
from clave_server.relay.client_handler import ClientHandler
from clave_server.relay.context import RelayContext
from clave_server.relay.settings import Settings
from clave_server.rooms.invitations import highest_ids
from clave_server.rooms.retention_task import RetentionTask
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.session import Session
from clave_server.storage import incarnation, schema
from clave_server.storage.data_dir import DataDir
from clave_server.storage.db_thread import DbThread, in_transaction
from clave_server.storage.run_clock import RunTime, note_time
from clave_wire.connection import State

__all__ = ["Relay", "build_context"]

_STOP_SECONDS: Final = 3.0
"""How long clients may take to read `Closing` when the relay stops."""

_ACCOUNT_BURST_SECONDS: Final = 10
"""An account may make this many seconds' worth of requests at once."""

_MAX_BUCKETS: Final = 100_000
"""Accounts, and pairs of room and account, whose rate is remembered at a time."""

_log = structlog.get_logger()


class Relay:
    """A running relay. Made by `start` on the running loop; ended by `stop`."""

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
        return [each.address for each in self.listener.sockets if each.encrypted]

    @classmethod
    async def start(cls, settings: Settings, folder: DataDir, mirror: Mirror) -> Relay:
        """Open the database and listen. Raises `StartError`."""
        loop = asyncio.get_running_loop()
        if settings.tls is None and not settings.new_identity:
            check_identity(folder.certificate, folder.database)
        certificates = Certificates.open(folder, settings.tls, dt.datetime.now(dt.UTC))
        sockets = _open_sockets(settings)
        connection = schema.connect_writer(folder.database)
        with schema.start_errors(folder.database):
            if incarnation.begin_anew(connection):
                _log.warning("database restored from a backup; clients are told when they log in")
            used_ids, bans = highest_ids(connection), Bans(read_bans(connection))
            present = incarnation.read_incarnation(connection)
            now = now_ms()
            jump = in_transaction(connection, partial(note_time, now=now))
        writer = DbThread("database writer", connection, loop)
        reader = DbThread("database reader", schema.connect_reader(folder.database), loop)
        context = build_context(settings, writer, reader, mirror, used_ids, bans, present)
        context.clock.note(jump, now, RunTime(0, 0))
        transports, tick = Transports(context.counters.count_slow_drop), Tick(loop)

        def make_transport(peer: Peer, shown: Credentials) -> ClientTransport:
            handler = ClientHandler(context, partial(certificates.announcement, shown.digest))
            return ClientTransport(
                handler,
                peer,
                shown.digest,
                transports,
                tick,
                settings.login_seconds,
                settings.send_queue_bytes,
            )

        listener = Listener(
            sockets,
            lambda: certificates.present,
            proxies=settings.proxies,
            admit=context.limits.check_rate,
            make_transport=make_transport,
            login_seconds=settings.login_seconds,
        )
        retention_task = RetentionTask(
            settings.retention, reader, context.sequencer, context.quotas, context.counters, context.clock
        )
        return cls(certificates, context, transports, reader, writer, listener, retention_task)

    def announce(self) -> None:
        """Send every connection the announcement of its next certificate, if there is one."""
        for transport in tuple(self.transports):
            message = self.certificates.announcement(transport.certificate)
            if message is not None and transport.connection.state is State.OPEN:
                transport.send_queue.push(transport.connection.send(message))

    async def stop(self) -> None:
        """Stop accepting and reading, flush what was accepted, close all connections, end the threads."""
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


def _open_sockets(settings: Settings) -> list[ListeningSocket]:
    listening = passed_sockets() or open_sockets(settings.host, settings.port)
    sockets = [ListeningSocket(each, True) for each in listening]
    if settings.plain is not None:
        sockets += [ListeningSocket(each, False) for each in open_sockets(*settings.plain)]
    return sockets


def build_context(
    settings: Settings,
    writer: DbThread,
    reader: DbThread,
    mirror: Mirror,
    used_ids: tuple[int, int],
    bans: Bans,
    incarnation: bytes,
) -> RelayContext:
    """Assemble what client handlers share; `used_ids` are those of `invitations.highest_ids`."""
    sessions: dict[bytes, Session] = {}
    counters, quotas = Counters(), QuotaTracker(settings.quota)
    sequencer = Sequencer(
        writer=writer,
        reader=reader,
        mirror=mirror,
        sessions=sessions,
        highest_ids=used_ids,
        quotas=quotas,
        change_rates=TokenBuckets[tuple[bytes, bytes]](
            settings.changes_per_second, settings.change_burst, _MAX_BUCKETS
        ),
        counters=counters,
    )
    rate = settings.account_rate
    rates = TokenBuckets[bytes](rate, rate * _ACCOUNT_BURST_SECONDS, _MAX_BUCKETS) if rate else None
    limits = ConnectionLimits(settings.connections, bans, counters.count_rate_refusal)
    return RelayContext(
        settings.registration,
        limits,
        reader,
        sequencer,
        sessions,
        mirror,
        counters,
        quotas,
        rates,
        incarnation,
    )
