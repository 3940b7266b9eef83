"""Accounts and rooms for the load generator, made on a relay by its own protocol and kept for every run.

Every run starts on a copy of the same data folder, so it is as fresh as the first.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.relay.generator import Generator, LoadError
from bench.relay.servers import Relay, running
from clave_crypto.identity import AccountKey, DeviceKey
from clave_wire import messages as m
from clave_wire.connection import VERSIONS, ClientConnection
from clave_wire.header import Header, Seen, digest_names, pack_header
from clave_wire.limits import MAX_BATCH_MEMBERS
from clave_wire.login import certificate_digest

__all__ = ["Population"]


class _Member:
    def __init__(self, number: int, room: bytes) -> None:
        self.name = f"n{number}"
        self.key = DeviceKey.generate()
        self.identity = AccountKey.generate().certify(self.name, "load", self.key.public)
        self.room = room


class _Founder:
    """A logged-in connection that makes a room. Blocks."""

    def __init__(self, port: int, member: _Member) -> None:
        self._member = member
        self._connection = ClientConnection()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["clave/1"])
        plain = socket.create_connection(("127.0.0.1", port), 30.0)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each login waits 40 ms
        self._socket = context.wrap_socket(plain)
        self._socket.sendall(self._connection.hello("bench"))
        self._expect(m.Greeting)
        self.certificate = certificate_digest(self._socket.getpeercert(binary_form=True) or b"")
        signature = member.key.sign(self._connection.transcript(self.certificate, member.identity))
        self._send(m.Login(member.key.public, member.identity, signature, ""))
        self._expect(m.LoggedIn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def make_room(self, others: Sequence[_Member]) -> None:
        """Make the room and add everyone in one commit: afterwards it is at seq 1."""
        devices = [member.key.public for member in others]
        if len(devices) > MAX_BATCH_MEMBERS:
            raise LoadError(f"a room here has at most {MAX_BATCH_MEMBERS + 1} members")
        self._send(m.CreateRoom(1, self._member.room))
        self._expect(m.Done)
        ref = digest_names((member.key.public, member.name) for member in others)
        header = Header(m.Kind.COMMIT, bytes(32), Seen(0, bytes(32)), add=devices, ref=ref)
        self._send(m.Submit(self._member.room, 1, 0, m.Kind.COMMIT, pack_header(header) + b"everyone"))
        self._expect(m.Accepted)

    def _send(self, message: m.ToRelay) -> None:
        self._socket.sendall(self._connection.send(message))

    def _expect(self, kind: type[m.ToClient]) -> None:
        received: list[m.ToClient] = []
        while not received:
            data = self._socket.recv(2**16)
            messages = self._connection.receive_data(data)
            received = [message for message in messages if not isinstance(message, m.AcceptedAt)]
            if not data:
                raise LoadError("the relay closed the connection of a room's founder")
        if not isinstance(received[0], kind):
            raise LoadError(f"the relay answered a room's founder with {received[0]}")


@dataclass(frozen=True)
class Population:
    """A data folder, and what the load generator needs to know of who is in it."""

    data: Path
    accounts: Path
    certificate: bytes

    def options(self) -> list[str]:
        """Return the load generator's options."""
        return [
            f"--accounts={self.accounts}",
            f"--certificate={self.certificate.hex()}",
            f"--version={VERSIONS[0]}",
        ]

    def copy_to(self, folder: Path) -> None:
        """Put a copy of the data where a relay run in `folder` looks for it."""
        shutil.copytree(self.data, folder / "data")

    @classmethod
    def make(cls, generator: Generator, folder: Path, sizes: Sequence[int]) -> Population:
        """Register everyone and make rooms of these sizes, on a relay in `folder`. Raises `LoadError`."""
        rooms: list[list[_Member]] = []
        number = 0
        for size in sizes:
            identifier = os.urandom(16)
            rooms.append([_Member(number + place, identifier) for place in range(size)])
            number += size
        accounts = folder / "accounts"
        with accounts.open("w") as file:
            for member in (member for room in rooms for member in room):
                seed = bytes(member.key.secret).hex()
                file.write(f"{seed} {member.identity.hex()} {member.room.hex()} 1 1\n")
        with running(Relay("relay", tls=True), folder) as relay:
            first = rooms[0][0]
            with _Founder(relay.port, first) as founder:
                population = cls(folder / "data", accounts, founder.certificate)
            enrol = ["--enrol", "--protocol=clave", "--tls", f"--port={relay.port}", *population.options()]
            generator.run([*enrol, "--members=2", f"--idle={number - 2}"])
            for room in rooms:
                with _Founder(relay.port, room[0]) as founder:
                    founder.make_room(room[1:])
        return population
