"""Rooms of ten at a real relay in which nine members have written messages that the tenth has missed.

The messages are made and submitted beforehand, each in the form that a client sends. Knows no measurement.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from bench.client.population import MEMBERS, Relay
from clave_client import Client, Invited, Profile
from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.payload import header_digest
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_chain import LogChain
from clave_client.rooms.policy import restore_group
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_crypto.mls import Group, GroupState
from clave_wire.header import Header, pack_header
from clave_wire.messages import Accepted, AcceptedAt, Entry, Kind, Submit, ToClient

__all__ = ["QUIET", "Backlog", "Writers"]

QUIET = "quiet"
"""The title of the receiver's other room, in which nobody else is."""

_ROUND = 32
"""Messages that one member submits before another one does."""

_TEXT = "message {}: a line of about the length that people write to each other in a room of their own"


@dataclass(frozen=True)
class Backlog:
    """A room that the profile `name` is in, and the state of its group before the messages it missed.

    `bodies` are the first of those messages as MLS encrypted them.
    """

    name: str
    room: bytes
    cursor: int
    group: GroupState
    bodies: Sequence[bytes]

    def restored_group(self) -> Group:
        """Return the receiver's group as it was before the messages."""
        return restore_group(self.group)


class _Writer:
    """A member that writes: its account, its group and its connection."""

    def __init__(self, account: Account, room: LocalRoom, trust: CertificateTrust) -> None:
        self.account = account
        self.group = room.copy_group()
        self.head = room.head
        self.trust = trust
        self.count = room.record.count
        self.submission = room.record.submission
        self._accepted = asyncio.Event()
        self._accepted_until = room.record.submission
        self._link: RelayTransport | None = None

    async def connect(self, address: RelayAddress) -> None:
        self._link = await RelayTransport.connect(address, self.trust, self._received)
        await self._link.login(self.account.identity, self.account.device, "bench", "")

    def _received(self, messages: list[ToClient]) -> None:
        for message in messages:
            if isinstance(message, AcceptedAt):
                continue
            if not isinstance(message, Accepted):
                raise TypeError(f"the relay answered a message with {message}")
            self._accepted_until = message.submission
        self._accepted.set()

    def send(self, submit: Submit) -> None:
        assert self._link is not None  # noqa: S101 (it was connected)
        self._link.send(submit)

    async def wait_accepted(self) -> None:
        while self._accepted_until < self.submission:
            self._accepted.clear()
            await self._accepted.wait()

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()


class Writers:
    """The nine other members of one room. Make it with `make`; the receiver is offline from then on."""

    def __init__(
        self,
        receiver: LocalRoom,
        writers: Sequence[_Writer],
        chain: LogChain,
        text: Callable[[int], str],
    ) -> None:
        self._text = text
        self._room = receiver.id
        self._seq = receiver.record.cursor
        self._read = receiver.record.read
        self._turns = itertools.cycle(writers)
        self._writers = writers
        self._chain = chain
        self._made = 0

    @classmethod
    async def make(
        cls, home: Path, relay: Relay, name: str, missed: int, text: Callable[[int], str] = _TEXT.format
    ) -> tuple[Backlog, Self]:
        """Make a room and its members, and have the nine others write `missed` messages.

        `text` returns that of a message by its number.
        """
        names = [f"{name}-{number}" for number in range(MEMBERS - 1)]
        profiles = [Profile(home, each) for each in (name, *names)]
        clients = [Client(profile.open(), relay.address) for profile in profiles]
        for client in clients:
            await client.connect()
            await asyncio.gather(*client.sync.tasks)
        receiver, *others = clients
        await receiver.create_room(QUIET)
        room = await receiver.create_room(name)
        for each in others:
            events = each.stream(Invited)
            await room.invite(each.name)
            await anext(events)
            await each.accept(room.id)
        seq = len(others) * 2
        for client in clients:
            here = client.sync.rooms[room.id]
            await client.sync.wait_for(partial(_has_read, here, seq))
        here = receiver.sync.rooms[room.id]
        chain = LogChain(Store(home / f"{name}.db", Secret(bytes(32))), room.id, seq)
        chain.begin(here.chain.seen())
        state = here.group.state()
        writers = cls(
            here,
            [
                _Writer(each.sync.account, each.sync.rooms[room.id], each.sync.connection.trust)
                for each in others
            ],
            chain,
            text,
        )
        for client, profile in zip(clients, profiles, strict=True):
            await client.close()
            profile.close()
        for writer in writers._writers:
            await writer.connect(RelayAddress.parse(relay.address))
        bodies = [body for _ in range(0, missed, _ROUND) for body in await writers.write(_ROUND)]
        return Backlog(name, room.id, seq, state, bodies[:10_000]), writers

    @property
    def last(self) -> int:
        """The last entry of the room."""
        return self._seq

    async def write(self, count: int) -> list[bytes]:
        """Have the next member submit `count` messages; return them as MLS encrypted them."""
        writer = next(self._turns)
        made = [self._make(writer) for _ in range(count)]
        for submit, _ in made:
            writer.send(submit)
        await writer.wait_accepted()
        return [body for _, body in made]

    async def write_evenly(self, count: int, rate: float) -> None:
        """Have the members submit `count` messages by turns, `rate` a second, made beforehand."""
        turns = [
            (writer, self._make(writer)[0]) for writer, _ in zip(self._turns, range(count), strict=False)
        ]
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number, (writer, submit) in enumerate(turns):
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            writer.send(submit)
        for writer in self._writers:
            await writer.wait_accepted()

    async def close(self) -> None:
        """Disconnect all."""
        for writer in self._writers:
            await writer.close()

    def _make(self, writer: _Writer) -> tuple[Submit, bytes]:
        """Return the next message, by a member that has seen all before it, and its MLS part."""
        self._made += 1
        writer.count += 1
        writer.submission += 1
        header = pack_header(Header(Kind.APPLICATION, writer.head, self._chain.seen(), writer.count))
        text = self._text(self._made)
        content = FormerContent(os.urandom(16), FormerKind.TEXT, text, b"", 1_800_000_000_000)
        body = writer.group.encrypt(encode_former(content), authenticated_data=header_digest(header))
        submit = Submit(self._room, writer.submission, self._read, Kind.APPLICATION, header + body, b"")
        self._seq += 1
        sender = writer.account.device.public
        self._chain.extend(
            Entry(self._room, self._seq, sender, writer.submission, Kind.APPLICATION, 0, header + body)
        )
        return submit, body


def _has_read(room: LocalRoom, seq: int) -> bool:
    return room.record.cursor == seq and not room.outbox
