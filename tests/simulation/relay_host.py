"""The relay's core on a machine that can crash: everything but sockets, TLS, threads and the mirror."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from clave_server.accounts.registration import RegistrationPolicy
from clave_server.limits.bans import Bans, read_bans
from clave_server.limits.connection_limits import ConnectionCaps
from clave_server.net.send_queue import Tick
from clave_server.net.transport import ClientTransport, Transports
from clave_server.option_values import RegistrationMode
from clave_server.relay.client_handler import ClientHandler
from clave_server.relay.relay import build_context
from clave_server.relay.settings import Settings
from clave_server.rooms import invitations
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.write_batch import WriteBatch
from clave_server.storage import incarnation, schema
from clave_wire.framing import HEADER_BYTES, to_client
from clave_wire.login import certificate_digest
from clave_wire.messages import Entry
from simulation.disk import SimWorker
from simulation.network import Network

__all__ = ["CERTIFICATE", "RelayHost", "ordered_batch"]

CERTIFICATE = b"the certificate of the simulated relay"
_SLOWEST_DISK = 0.02


@cache
def _empty_database() -> bytes:
    """Return a database as the relay makes it at its first start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.db"
        schema.connect_writer(path).close()
        return path.read_bytes()


class _NoMirror:
    """A mirror that is off."""

    capacity = 0

    def show_entries(self, records: Sequence[Any], more: int) -> None: ...

    def show_connection(self, record: Any) -> None: ...


class RelayHost:
    """One relay's machine: its disk stays, its process comes and goes."""

    def __init__(self, folder: Path, network: Network, dice: Random) -> None:
        self.path = folder / "relay.db"
        self.network = network
        self._dice = dice
        self._ports = 0
        self._copy = folder / "copy.db"
        self.restored = 0
        self.up = False
        self.context: Any = None
        self.transports: Transports
        self.writer: SimWorker
        self.reader: SimWorker
        self.path.touch(mode=0o600)
        self.path.write_bytes(_empty_database())

    @property
    def sequencer(self) -> Sequencer:
        return self.context.sequencer  # type: ignore[no-any-return]

    def start(self) -> None:
        """Start the process, and listen."""
        connection = schema.connect_writer(self.path)
        connection.pragma("synchronous", "off")  # a crash is of the process; test_power.py cuts the power
        incarnation.begin_anew(connection)
        present = incarnation.read_incarnation(connection)
        highest_ids, bans = invitations.highest_ids(connection), Bans(read_bans(connection))
        self.writer = SimWorker(connection, self._dice, _SLOWEST_DISK)
        self.reader = SimWorker(schema.connect_reader(self.path), self._dice, _SLOWEST_DISK)
        settings = Settings(None, 0, RegistrationPolicy(RegistrationMode.OPEN), ConnectionCaps(100, 100))
        mirror: Any = _NoMirror()
        self.context = build_context(settings, self.writer, self.reader, mirror, highest_ids, bans, present)
        self.transports, self._tick = (
            Transports(self.context.counters.count_slow_drop),
            Tick(asyncio.get_running_loop()),
        )
        self.transports._open = _Ordered()
        self.settings = settings
        self.up = True
        self.network.accept = self._accept

    def _accept(self, host: str) -> ClientTransport:
        self._ports += 1
        handler = ClientHandler(self.context, lambda: None)
        digest = certificate_digest(CERTIFICATE)
        return ClientTransport(
            handler,
            ("192.0.2.1", 1024 + self._ports),
            digest,
            self.transports,
            self._tick,
            self.settings.login_seconds,
            self.settings.send_queue_bytes,
        )

    def crash(self) -> None:
        """End as `kill -9` does: connections are reset, work that was not begun never happens."""
        self.up = False
        self.network.accept = None
        self.transports._sweeping.cancel()
        self.writer.crash()
        self.reader.crash()
        for wire in tuple(self.network.wires):
            wire.relay.protocol = _Gone()
            wire.relay.abort()

    async def stop(self) -> None:
        """End as `SIGTERM` does."""
        self.up = False
        self.network.accept = None
        self.transports.hold_reading()
        await self.sequencer.drain()
        self.transports.close()
        try:
            async with asyncio.timeout(3):
                await self.transports.empty.wait()
        except TimeoutError:
            pass
        await self.sequencer.drain()
        self.crash()

    def copy(self) -> None:
        """Make a backup's copy of the database, of what is on disk now; the latest one is kept."""
        connection = schema.connect_reader(self.path)
        connection.pragma("query_only", False)
        self._copy.unlink(missing_ok=True)
        try:
            connection.execute("VACUUM INTO ?", (str(self._copy),))
        finally:
            connection.close()
        incarnation.mark_copy(self._copy)

    def put_back(self) -> bool:
        """Have the copy for a database, with the relay down; False if there is none."""
        if self.up or not self._copy.exists():
            return False
        for each in self.path.parent.glob(self.path.name + "-*"):
            each.unlink()
        self.path.write_bytes(self._copy.read_bytes())
        self.restored += 1
        return True

    def log(self, room: bytes) -> list[Entry]:
        """Return all entries of a room that are on disk."""
        connection = schema.connect_reader(self.path)
        try:
            entries: list[Entry] = []
            for (frames,) in connection.execute(
                "SELECT frames FROM segments WHERE room = ? ORDER BY last_seq", (room,)
            ):
                place = 0
                while place < len(frames):
                    end = place + HEADER_BYTES + int.from_bytes(frames[place : place + HEADER_BYTES], "big")
                    entry = to_client.decode(frames[place + HEADER_BYTES : end])
                    assert isinstance(entry, Entry)
                    entries.append(entry)
                    place = end
            return entries
        finally:
            connection.close()


def ordered_batch(showing: int) -> WriteBatch:
    """Return a `WriteBatch` whose set `invited` iterates in insertion order."""
    return WriteBatch(showing, invited=_Ordered())


class _Gone(asyncio.Protocol):
    """What is left of a protocol whose process ended."""


class _Ordered(dict[Any, None]):
    """A set that is gone through in the order things were put in."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)
